"""Batches that read from, and write into, stores: fsspec's own ones, without a network."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import zip_longest
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from helpers.song_archives import Archive, InlineEngine
from viso import batch
from viso.batch import staging
from viso.batch.database import FILE, connected
from viso.batch.output_lease import MARK
from viso.batch.protocol import Done, Order, Step
from viso.batch.worker import separate_order
from viso.cli import app
from viso.errors import ConfigError, DataError
from viso.stores import objects
from viso.stores.address import Address, location_of

fsspec = pytest.importorskip("fsspec")

OUT = "memory://stems/of all"


@pytest.fixture
def memory() -> Iterator[object]:
    store = fsspec.filesystem("memory")
    store.store.clear()
    store.pseudo_dirs[:] = [""]
    yield store
    store.store.clear()
    store.pseudo_dirs[:] = [""]


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The temporary folder, in which nothing may stay."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield folder
    assert not list(folder.glob("viso-*"))


class Remote:
    """An archive in a store, and batches that write into another."""

    def __init__(self, archive: Archive, store: object, folder: Path) -> None:
        self.archive, self.store, self.home = archive, store, folder / "manifest"
        self.songs = "memory://music/archive"

    def send(self, name: str, *, to: str | None = None, **how: int) -> Path:
        """Make a song and put it into the store."""
        path = self.archive.add(f"x{Path(name).suffix}", **how)
        objects.upload(path, location_of(self.songs) / (to or name))  # type: ignore[arg-type]
        return path

    def plan(self, *inputs: object, out: object = OUT, **how: object) -> batch.Plan:
        how = {"manifest": self.home, "recursive": True, "config": self.archive.config, **how}
        return batch.plan(inputs or [self.songs], out, **how)  # type: ignore[arg-type]

    def run(self, plan: batch.Plan | None = None, **how: object) -> dict[str, batch.Result]:
        plan = plan or self.plan()
        engine = InlineEngine(plan.config)
        steps = batch.run(plan, engine=engine, **how)  # type: ignore[arg-type]
        results = [step.result for step in steps if step.result is not None]
        return {result.song.name: result for result in results}


@pytest.fixture
def remote(archive: Archive, memory: object, tmp_path: Path) -> Remote:
    return Remote(archive, memory, tmp_path)


def stems(out: str = OUT) -> dict[str, bytes]:
    place = location_of(out)
    assert isinstance(place, Address)
    found = objects.listing(place, recursive=True)
    return {name: objects.read_bytes(place / name) or b"" for name, _ in found if name != MARK}


def test_a_store_gets_the_bytes_that_a_folder_gets(remote: Remote, archive: Archive) -> None:
    for number, name in enumerate(["a song.flac", "in/ä ö.wav", "in/deep/[x]*.flac"]):
        path = archive.add(name, seed=number)
        objects.upload(path, location_of(remote.songs) / name)  # type: ignore[arg-type]
    results = remote.run()
    assert [result.reason for result in results.values()] == [""] * 3
    report = results["a song.flac"].report
    assert report is not None
    assert str(report.song) == f"{remote.songs}/a song.flac"
    assert str(report.outputs["vocals"]) == f"{OUT}/a song/vocals.flac"
    archive.run()
    here = {name: (archive.out / name).read_bytes() for name in archive.stems()}
    assert stems() == here
    assert (remote.home / FILE).exists()
    again = remote.plan()
    assert (len(again.tasks), len(again.finished), again.free_bytes) == (0, 3, None)


def test_from_a_store_to_a_disk_and_back(remote: Remote, archive: Archive) -> None:
    remote.send("a.flac")
    there = remote.plan(out=archive.out, manifest=None)
    assert remote.run(there)["a.flac"].is_done
    assert archive.is_whole(archive.folder / "x.flac", "a")
    assert len(remote.plan(out=archive.out, manifest=None).finished) == 1
    back = remote.plan(archive.folder)
    assert remote.run(back)["x.flac"].is_done
    assert set(stems()) == {"x/vocals.flac", "x/instrumental.flac"}


def test_what_is_done_is_told_from_the_objects(remote: Remote) -> None:
    remote.send("a.flac", seed=1)
    remote.send("b.flac", seed=2)
    remote.run()
    first = stems()
    # The same content with a later time: hashed, and done.
    remote.send("a.flac", seed=1)
    again = remote.plan()
    assert (len(again.tasks), len(again.renewed)) == (0, 1)
    remote.run(again)
    assert remote.plan().renewed == ()
    # Another content of the same length and size.
    remote.send("b.flac", seed=3)
    changed = remote.plan()
    assert [str(task.song.path) for task in changed.tasks] == [f"{remote.songs}/b.flac"]
    assert changed.n_renewed == 1
    assert remote.run(changed)["b.flac"].is_done
    assert stems()["b/vocals.flac"] != first["b/vocals.flac"]
    # A stem that is gone, and one that was cut short.
    where = location_of(f"{OUT}/a/vocals.flac")
    objects.remove(where)  # type: ignore[arg-type]
    assert [task.song.path.name for task in remote.plan().tasks] == ["a.flac"]
    remote.store.pipe_file(f"{OUT}/a/vocals.flac", first["a/vocals.flac"][:100])  # type: ignore[attr-defined]
    assert remote.run()["a.flac"].is_done
    assert stems()["a/vocals.flac"] == first["a/vocals.flac"]


def test_names_never_collide(remote: Remote) -> None:
    accents = ["\u00e9.flac", "e\u0301.flac"]
    names = ["a.flac", "A.flac", "a.wav", "a .flac", *accents, "b//c.wav", "b/c.wav"]
    for name in names:
        remote.send(name)
    plan = remote.plan()
    assert len(plan.tasks) == len(names)
    paths = [path.as_posix().casefold() for task in plan.tasks for path in task.files.values()]
    assert len(set(paths)) == 2 * len(names)
    results = [step.result for step in batch.run(plan, engine=InlineEngine(plan.config))]
    assert all(result.is_done for result in results if result is not None)
    assert len(stems()) == 2 * len(names)
    assert not remote.plan().tasks


def test_stems_and_hidden_objects_are_no_songs(remote: Remote) -> None:
    remote.send("a.flac")
    remote.send("a.flac", to=".hidden/a.flac")
    remote.send("a.flac", to="../a.flac")
    remote.store.pipe_file(f"{remote.songs}/cover.jpg", b"x")  # type: ignore[attr-defined]
    inside = f"{remote.songs}/stems"
    plan = remote.plan(out=inside)
    assert (len(plan.tasks), plan.n_others) == (1, 1)
    remote.run(plan)
    assert set(stems(inside)) == {"a/vocals.flac", "a/instrumental.flac"}
    assert not remote.plan(out=inside).tasks
    flat = remote.plan(recursive=False, out=inside)
    assert len(flat.finished) == 1


def test_objects_that_no_batch_made_are_kept(remote: Remote) -> None:
    remote.send("a.flac")
    where = f"{OUT}/a/vocals.flac"
    remote.store.pipe_file(where, b"mine")  # type: ignore[attr-defined]
    assert "add --overwrite" in remote.run()["a.flac"].reason
    assert stems() == {"a/vocals.flac": b"mine"}
    assert remote.run(overwrite=True)["a.flac"].is_done
    assert len(stems()["a/vocals.flac"]) > 1000


def test_an_output_has_one_manifest(remote: Remote, tmp_path: Path) -> None:
    remote.send("a.flac")
    remote.run()
    other = remote.plan(manifest=tmp_path / "other", config=batch.SeparationConfig())
    with pytest.raises(DataError, match=rf"another manifest, in {remote.home} on .*--manifest"):
        list(batch.run(other))
    elsewhere = remote.plan(out="memory://stems/elsewhere")
    with pytest.raises(DataError, match="this manifest keeps memory://stems/of all"):
        list(batch.run(elsewhere))
    remote.store.pipe_file(f"{OUT}/{MARK}", b"?")  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="does not say which manifest"):
        remote.run()


def test_two_batches_with_one_manifest_share_the_songs(remote: Remote) -> None:
    for name in ("a.flac", "b.flac", "c.flac"):
        remote.send(name)
    plans = [remote.plan(), remote.plan()]
    both = [batch.run(plan, engine=InlineEngine(plan.config)) for plan in plans]
    # In turn, as two programs would.
    steps = [step for pair in zip_longest(*both) for step in pair if step is not None]
    results = [step.result for step in steps if step.result is not None]
    assert len(results) == 6
    assert sum(result.is_elsewhere for result in results) == 3
    assert len(stems()) == 6


def test_a_failed_upload_leaves_nothing_of_the_song(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote.send("a.flac")
    put, n_put = type(remote.store).put_file, []

    def refused(self: object, path: str, where: str, **how: object) -> None:
        n_put.append(where)
        if len(n_put) == 3:  # behind the mark and the vocals
            raise PermissionError("AccessDenied")
        put(self, path, where, **how)

    with monkeypatch.context() as patch:
        patch.setattr(type(remote.store), "put_file", refused)
        reason = remote.run()["a.flac"].reason
    assert "a/instrumental.flac: cannot be written" in reason
    assert "check the credentials" in reason
    assert stems() == {}
    assert remote.run()["a.flac"].is_done


def test_a_batch_that_is_closed_leaves_nothing(remote: Remote, memory: object) -> None:
    remote.send("a.flac", n_samples=400_000)
    plan = remote.plan()
    separator = plan.config.separator(threads=1)
    targets = {stem: plan.out / path for stem, path in plan.tasks[0].files.items()}
    events = separate_order(separator, plan.config, Order(1, plan.tasks[0].song.path, targets))
    next(events)
    events.close()
    assert stems() == {}


def test_a_slow_line_gives_signs_of_life(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    remote.send("a.flac")
    plan, at_once = remote.plan(), objects.upload
    may_go_on = threading.Semaphore(0)

    def slow(path: Path, address: Address) -> None:
        assert may_go_on.acquire(timeout=250)
        at_once(path, address)

    monkeypatch.setattr(objects, "upload", slow)
    targets = {stem: plan.out / path for stem, path in plan.tasks[0].files.items()}
    order = Order(1, plan.tasks[0].song.path, targets)
    events = []
    for event in separate_order(plan.config.separator(threads=1), plan.config, order):
        events.append(event)
        signs = [one for one in events if isinstance(one, Step) and one.done_s > 0]
        # A stem is on its way for as long as it takes to give two signs.
        if len(signs) % 2 == 0 and signs:
            may_go_on.release()
    assert isinstance(events[-1], Done)
    assert len(signs) >= 4
    assert [event.done_s for event in signs] == sorted(event.done_s for event in signs)


def test_a_bad_song_is_named_by_its_address(remote: Remote) -> None:
    remote.send("good.flac")
    remote.store.pipe_file(f"{remote.songs}/bad.flac", b"la la la")  # type: ignore[attr-defined]
    results = remote.run(remote.plan(remote.songs, "memory://music/none.mp3"))
    assert results["good.flac"].is_done
    assert results["bad.flac"].reason.startswith(f"{remote.songs}/bad.flac: ")
    assert "memory://music/none.mp3: cannot be read" in results["none.mp3"].reason
    assert set(stems()) == {"good/vocals.flac", "good/instrumental.flac"}


def test_a_manifest_of_before_stores_goes_on(archive: Archive) -> None:
    archive.add("a.flac")
    archive.run()
    with closing(sqlite3.connect(archive.out / FILE)) as database, database:
        database.execute("ALTER TABLE entries DROP COLUMN version")
        database.execute("DROP TABLE outputs")
        database.execute("PRAGMA user_version = 1")
    database.close()
    assert len(archive.plan().finished) == 1
    with connected(archive.out, is_new=False) as database:
        assert database.execute("PRAGMA user_version").fetchone()[0] == 2


def test_an_address_needs_a_folder_for_its_manifest(remote: Remote) -> None:
    remote.send("a.flac")
    with pytest.raises(ConfigError, match="name a folder on a disk for its manifest"):
        remote.plan(manifest=None)
    with pytest.raises(ConfigError, match="name a folder on a disk for its manifest"):
        remote.plan(manifest="memory://manifest")


def viso(archive: Archive, *words: object) -> Result:
    settings = ["--model", archive.model, "--format", "flac", "--bit-depth", "16"]
    result = CliRunner().invoke(app, [str(word) for word in ("separate", *words, *settings)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_the_command_line_with_processes(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    songs = [archive.add("a song.flac", seed=1), archive.add("in/ä.wav", seed=2)]
    out = f"file://{tmp_path}/there"
    words = [f"file://{archive.folder}", "--recursive", "-o", out, "--jobs", 1]
    first = viso(archive, *words, "--json")
    assert first.exit_code == 0, first.stderr
    plan, *told, _ = map(json.loads, first.stdout.splitlines())
    home = Path(plan["plan"]["manifest"])
    assert home.parent == tmp_path / "home/viso/manifests"
    assert plan["plan"]["free_bytes"] is None
    assert told[0]["song"] == f"file://{archive.folder}/a song.flac"
    assert told[0]["stems"]["vocals"] == f"{out}/a song/vocals.flac"
    archive.out = tmp_path / "there"
    assert archive.is_whole(songs[0], "a song")
    assert archive.is_whole(songs[1], "in/ä")
    assert "2 done already" in viso(archive, *words).stdout


def test_one_song_by_its_address(archive: Archive, tmp_path: Path) -> None:
    song = archive.add("a.flac")
    result = viso(archive, f"file://{song}", "-o", archive.out, "--jobs", 1)
    assert result.exit_code == 0, result.stderr
    assert archive.is_whole(song, "a")


def test_wrong_usage_of_a_manifest(archive: Archive, tmp_path: Path) -> None:
    result = viso(archive, archive.add("a.flac"), "-o", archive.out, "--manifest", tmp_path)
    assert result.exit_code == 2
    assert "--manifest" in result.stderr
    assert not archive.out.exists()


KILLED = """
import sys, os, signal
from pathlib import Path
from viso.batch.staging import brought
from viso.stores.address import location_of
with brought(location_of(sys.argv[1])) as (path, _):
    assert path.stat().st_size
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="of systems with SIGKILL")
def test_what_a_killed_process_had_brought_here_is_removed(archive: Archive, scratch: Path) -> None:
    address = f"file://{archive.add('a.flac')}"
    killed = subprocess.run([sys.executable, "-c", KILLED, address], env=dict(os.environ))
    assert killed.returncode == -signal.SIGKILL
    assert len(list(scratch.glob("viso-*/song.flac"))) == 1
    viso(archive, address, "-o", archive.out, "--jobs", 1)
    assert not list(scratch.glob("viso-*"))


def test_a_folder_that_only_looks_like_a_dead_process_s_is_left(
    archive: Archive, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "runs", lambda _pid: False)
    address = location_of(f"file://{archive.add('a.flac')}")
    with staging.brought(address) as (path, _):
        left = path.parent
        assert left.name.startswith("viso-")
        mine = left.with_name(f"{left.name}-mine")
        mine.mkdir()
        (mine / "song.wav").write_bytes(b"music")
        with staging.brought(address):
            assert not left.exists(), "its process does not run, as far as is known"
    assert (mine / "song.wav").read_bytes() == b"music"
    shutil.rmtree(mine)


def test_what_was_there_before_a_delivery_that_failed_stays(
    tmp_path: Path, memory: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, first, second = (tmp_path / name for name in ("old", "first", "second"))
    for path in (old, first, second):
        path.write_bytes(path.name.encode())
    vocals, instrumental = (
        location_of(f"{OUT}/{stem}.flac") for stem in ("vocals", "instrumental")
    )
    objects.upload(old, instrumental)
    order = Order(1, tmp_path / "song", {"vocals": vocals, "instrumental": instrumental}, None)
    staged = staging.Staged(
        order, tmp_path / "song", {"vocals": first, "instrumental": second}, None, None
    )
    upload = objects.upload

    def failing(file: Path, address: Address) -> None:
        if address == instrumental:
            raise DataError("the store is full")
        upload(file, address)

    monkeypatch.setattr(objects, "upload", failing)
    with pytest.raises(DataError, match="full"):
        staged.deliver()
    assert objects.read_bytes(vocals) is None
    assert objects.read_bytes(instrumental) == b"old"
