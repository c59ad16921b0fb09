"""What a test hands out: sounds of its own, and no file that a link names."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from helpers.simulated_listeners import make_song
from viso.audio import write
from viso.errors import ConfigError
from viso.listening import (
    Answers,
    BuildSettings,
    ListeningTest,
    build_test,
    export_page,
    export_webmushra,
    load_test,
    read_stimulus,
    sounds,
    stimulus_path,
)

SECRET = b"fLaC\x00\x00\x00\x22 what the maker shows nobody"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    songs = [make_song(folder, "song", {"alpha": 20.0})]
    settings = BuildSettings(duration_s=1.2, seed=7, anchors=False)
    build_test(songs, folder / "test", settings=settings)
    return folder / "test"


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy that may be harmed, and beside it a file of the maker's."""
    (tmp_path / "secret").write_bytes(SECRET)
    return shutil.copytree(made, tmp_path / "test")


def sound_of(folder: Path) -> tuple[str, Path]:
    name = load_test(folder).stimulus_ids[0]
    return name, stimulus_path(folder, name)


def linked_file(folder: Path, path: Path) -> None:
    path.unlink()
    path.symlink_to(folder.parent / "secret")


def linked_sound(folder: Path, path: Path) -> None:
    """The right sound, behind a link: its content says nothing against it."""
    path.rename(folder.parent / "sound")
    path.symlink_to(folder.parent / "sound")


def linked_folder(folder: Path, path: Path) -> None:
    path.parent.rename(folder.parent / "elsewhere")
    path.parent.symlink_to(folder.parent / "elsewhere")


def hard_linked(folder: Path, path: Path) -> None:
    path.unlink()
    os.link(folder.parent / "secret", path)


def a_pipe(folder: Path, path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_text(folder: Path, path: Path) -> None:
    path.write_text("no sound")


def another_sound(folder: Path, path: Path) -> None:
    write(path, np.zeros((2, 1000), np.float32), rate_hz=32_000)


CASES = {
    linked_file: "a link",
    linked_sound: "a link",
    linked_folder: "a link",
    hard_linked: "not the sound that test.toml records",
    a_pipe: "not a regular file",
    a_text: "not a FLAC file",
    another_sound: "not the sound that test.toml records",
}


@pytest.mark.parametrize("harm", list(CASES))
def test_what_is_no_sound_of_the_test_is_refused(
    folder: Path, tmp_path: Path, harm: object
) -> None:
    assert callable(harm)
    name, path = sound_of(folder)
    digest = load_test(folder).sha256[name]
    harm(folder, path)
    before = sorted(path.name for path in tmp_path.iterdir())
    for give in (
        lambda: load_test(folder),
        lambda: read_stimulus(folder, name, sha256=digest),
        lambda: export_page(folder, tmp_path / "page"),
        lambda: export_page(folder, tmp_path / "page", embedded=True),
        lambda: export_webmushra(folder, tmp_path / "page"),
    ):
        with pytest.raises(ConfigError, match=CASES[harm]) as caught:
            give()
        assert "stimuli" in str(caught.value) and "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_link_that_comes_after_the_look(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, path = sound_of(folder)
    # Everything is no link for those who look; the one who opens meets it.
    monkeypatch.setattr(Path, "is_symlink", lambda _: False)
    linked_sound(folder, path)
    with pytest.raises(ConfigError, match="a link"):
        read_stimulus(folder, name)
    shutil.copytree(tmp_path / "test" / "stimuli", tmp_path / "others")
    shutil.rmtree(path.parent)
    path.parent.symlink_to(tmp_path / "others")
    with pytest.raises(ConfigError, match=r"a link|cannot be read"):
        read_stimulus(folder, name)


def test_a_server_hands_out_no_link(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="needs the extra [web]")
    from helpers.listening_server import ask, new_key, running

    test = load_test(folder)
    name, path = sound_of(folder)
    with running(folder, test, tmp_path / "results.sqlite") as base:
        key = new_key()
        assert ask(base, "POST", "/api/session", key=key, body={"agrees": True}).status == 200
        assert ask(base, "GET", f"/stimuli/{name}.flac", key=key).status == 200
        linked_file(folder, path)  # while it runs
        reply = ask(base, "GET", f"/stimuli/{name}.flac", key=key)
        assert reply.status == 404 and SECRET not in reply.body
        assert str(tmp_path).encode() not in reply.body


def test_a_definition_that_is_a_link(folder: Path, tmp_path: Path) -> None:
    (folder / "test.toml").rename(tmp_path / "test.toml")
    (folder / "test.toml").symlink_to(tmp_path / "test.toml")
    with pytest.raises(ConfigError, match=r"test.toml: a link"):
        load_test(folder)


def test_a_test_of_an_earlier_version_records_no_hashes(folder: Path, tmp_path: Path) -> None:
    test = load_test(folder)
    assert set(test.sha256) == set(test.stimulus_ids)
    (folder / "test.toml").write_text(test.model_copy(update={"sha256": {}}).to_toml())
    assert load_test(folder) == test.model_copy(update={"sha256": {}})
    export_page(folder, tmp_path / "page")
    linked_file(folder, sound_of(folder)[1])
    with pytest.raises(ConfigError, match="a link"):
        load_test(folder)


def test_hashes_are_of_all_sounds(folder: Path) -> None:
    test = load_test(folder)
    values = test.model_dump()
    values["sha256"].pop(test.stimulus_ids[0])
    with pytest.raises(ConfigError, match=f"stimulus {test.stimulus_ids[0]}: in one of"):
        ListeningTest.from_mapping(values, origin="test")
    assert sounds.sha256_of_sound(b"").startswith("e3b0c442")


def test_answers_do_not_follow_a_link_of_the_folder(folder: Path, tmp_path: Path) -> None:
    (folder / "results.sqlite").symlink_to(tmp_path / "secret")
    with pytest.raises(ConfigError, match=r"results.sqlite: a link"):
        Answers(folder / "results.sqlite", load_test(folder))
    assert (tmp_path / "secret").read_bytes() == SECRET
