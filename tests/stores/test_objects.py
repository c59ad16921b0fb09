"""Objects of a store: whole or not there, tried again within bounds, said plainly when it fails."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from viso.errors import ConfigError, DataError
from viso.stores import objects
from viso.stores.address import Address, location_of

fsspec = pytest.importorskip("fsspec")
from fsspec.registry import _registry  # noqa: E402

NAMES = ["a b.mp3", "ä/ö ü.flac", "[x]*?.wav", "a::b.wav", "a/b#c%20+.wav", "日本語/歌.mp3"]


@pytest.fixture
def memory() -> Iterator[object]:
    store = fsspec.filesystem("memory")
    store.store.clear()
    store.pseudo_dirs[:] = [""]
    yield store
    store.store.clear()
    store.pseudo_dirs[:] = [""]


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


@pytest.fixture(params=["memory", "file"])
def folder(request: pytest.FixtureRequest, memory: object, tmp_path: Path) -> Address:
    text = "memory://bucket/in" if request.param == "memory" else f"file://{tmp_path}/in"
    return location_of(text)  # type: ignore[return-value]


def content(folder: Address) -> dict[str, int | None]:
    return {name: facts.n_bytes for name, facts in objects.listing(folder, recursive=True)}


def file_of(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "file"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("text", ["song.mp3", "/a/b", "a:b", "C:/x", "C://x", "./s3://b", "://x"])
def test_paths_are_paths(text: str) -> None:
    assert location_of(text) == Path(text)


def test_an_address_has_the_names_of_a_path() -> None:
    place = location_of("S3://bucket/archive/a song.flac/")
    assert str(place) == "s3://bucket/archive/a song.flac"
    assert (place.name, place.stem, place.suffix) == ("a song.flac", "a song", ".flac")
    assert str(place.parent / Path("b/c")) == "s3://bucket/archive/b/c"


def test_an_address_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="s3://bucket/folder"):
        location_of("s3://")


def test_any_name_goes_there_and_back(folder: Address, tmp_path: Path) -> None:
    for name in NAMES:
        objects.upload(file_of(tmp_path, name.encode()), folder / name)
    assert content(folder) == {name: len(name.encode()) for name in sorted(NAMES)}
    assert list(objects.listing(folder, recursive=False)) == [
        (name, facts) for name, facts in objects.listing(folder, recursive=True) if "/" not in name
    ]
    for name in NAMES:
        facts = objects.download(folder / name, tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == name.encode()
        assert facts == objects.object_info(folder / name)
        assert facts.mtime_ns or facts.version
        objects.remove(folder / name)
    assert content(folder) == {}


def test_an_object_is_replaced(folder: Address, tmp_path: Path) -> None:
    for data in (b"old", b"newer"):
        objects.upload(file_of(tmp_path, data), folder / "a")
        assert objects.read_bytes(folder / "a") == data
    assert content(folder) == {"a": 5}


def test_what_is_not_there(folder: Address, tmp_path: Path) -> None:
    nothing = folder / "nothing"
    assert objects.object_info(nothing) is None
    assert objects.read_bytes(nothing) is None
    assert not objects.is_folder(nothing)
    assert content(nothing) == {}
    objects.remove(nothing)
    with pytest.raises(DataError, match=r"nothing: cannot be read .* check the name"):
        objects.download(nothing, tmp_path / "x")


def test_a_failure_by_chance_is_tried_again(
    memory: object, monkeypatch: pytest.MonkeyPatch, no_pause: list[float], tmp_path: Path
) -> None:
    place, left = location_of("memory://b/a"), [1, 2]
    put = type(memory).put_file

    def shaky(self: object, *words: object, **how: object) -> None:
        if left:
            left.pop()
            raise ConnectionError("reset by peer")
        put(self, *words, **how)

    monkeypatch.setattr(type(memory), "put_file", shaky)
    objects.upload(file_of(tmp_path, b"whole"), place)
    assert objects.read_bytes(place) == b"whole"
    assert len(no_pause) == 2
    left.extend(range(100))
    with pytest.raises(DataError, match=r"memory://b/a: cannot be written .*reset.* tried 3 times"):
        objects.upload(file_of(tmp_path, b"other"), place)
    assert len(left) == 97
    assert objects.read_bytes(place) == b"whole"


def test_what_no_try_can_help_is_tried_once(
    memory: object, monkeypatch: pytest.MonkeyPatch, no_pause: list[float], tmp_path: Path
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError("AccessDenied")

    monkeypatch.setattr(type(memory), "put_file", refused)
    with pytest.raises(DataError, match="check the credentials"):
        objects.upload(file_of(tmp_path, b"x"), location_of("memory://b/a"))
    assert not no_pause


def test_an_object_cut_short_never_shows(
    memory: object, monkeypatch: pytest.MonkeyPatch, no_pause: list[float], tmp_path: Path
) -> None:
    put = type(memory).put_file

    def cut(self: object, path: str, where: str, **how: object) -> None:
        Path(path).with_suffix(".cut").write_bytes(Path(path).read_bytes()[:2])
        put(self, str(Path(path).with_suffix(".cut")), where, **how)

    monkeypatch.setattr(type(memory), "put_file", cut)
    with pytest.raises(DataError, match="2 of 5 bytes"):
        objects.upload(file_of(tmp_path, b"whole"), location_of("memory://b/in/a"))
    assert content(location_of("memory://b")) == {}


def test_an_object_that_changes_meanwhile_is_read_again(
    memory: object, monkeypatch: pytest.MonkeyPatch, no_pause: list[float], tmp_path: Path
) -> None:
    place, get = location_of("memory://b/a"), type(memory).get_file
    objects.upload(file_of(tmp_path, b"old"), place)

    def slow(self: object, where: str, path: str, **how: object) -> None:
        get(self, where, path, **how)
        if not no_pause:
            self.pipe_file(where, b"newer")

    monkeypatch.setattr(type(memory), "get_file", slow)
    assert objects.download(place, tmp_path / "x").n_bytes == 5
    assert (tmp_path / "x").read_bytes() == b"newer"


def test_a_folder_that_cannot_be_read_is_no_empty_one(
    monkeypatch: pytest.MonkeyPatch, no_pause: list[float], tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.mp3").touch()
    store = fsspec.filesystem("file")
    ls = type(store).ls

    def shut(self: object, path: str, **how: object) -> object:
        if str(path).endswith("in"):
            raise PermissionError(13, "Permission denied", path)
        return ls(self, path, **how)

    monkeypatch.setattr(type(store), "ls", shut)
    with pytest.raises(DataError, match="cannot be listed"):
        list(objects.listing(location_of(f"file://{tmp_path}"), recursive=True))


def test_missing_packages_and_unknown_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"nosuch://b/a: .*Protocol not known"):
        objects.object_info(location_of("nosuch://b/a"))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "s3fs", None)
        patch.delitem(_registry, "s3", raising=False)
        with pytest.raises(ConfigError, match=r'pip install -c constraints\.txt "\.\[cloud\]"'):
            objects.object_info(location_of("s3://bucket/a"))
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(ConfigError, match=r"need the extra \[cloud\]: pip install -c"):
        objects.object_info(location_of("s3://bucket/a"))
