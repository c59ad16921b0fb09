"""Songs, folders, disks and manifests that are not as they should be."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sqlite3
from contextlib import closing

import pytest

from helpers.song_archives import Archive
from viso import batch
from viso.audio.isolated._decoder import Decoder
from viso.batch.database import FILE, connected, transaction
from viso.errors import DataError
from viso.separator import Separation, Separator


def states(archive: Archive) -> dict[str, str]:
    with closing(sqlite3.connect(archive.out / FILE)) as database, database:
        return dict(database.execute("SELECT song, state FROM entries"))


def test_a_full_disk_stops_the_batch_which_goes_on_later(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.flac", "b.flac", "c.flac"):
        archive.add(name)
    to_files = Separator.to_files

    def full(self, song, *words, **how):
        if song.name != "a.flac":
            raise OSError(errno.ENOSPC, "No space left on device")
        return to_files(self, song, *words, **how)

    with monkeypatch.context() as patch:
        patch.setattr(Separator, "to_files", full)
        with pytest.raises(batch.DiskFullError, match="goes on where it stopped"):
            archive.run()
    assert set(states(archive).values()) == {"done", "open"}
    found, _ = archive.run()
    assert set(found) == {"b.flac", "c.flac"}
    assert all(result.is_done for result in found.values())


def test_a_manifest_on_a_full_disk(archive: Archive) -> None:
    archive.add("a.flac")
    archive.run()
    with connected(archive.out, is_new=False) as database:
        n_pages = database.execute("PRAGMA page_count").fetchone()[0]
        database.execute(f"PRAGMA max_page_count = {n_pages}")
        long = "INSERT INTO settings VALUES ('a', ?)"
        with pytest.raises(batch.DiskFullError, match="full"), transaction(database):
            database.execute("DELETE FROM entries")
            database.execute(long, ["x" * 100_000])
        with transaction(database):
            database.execute("DELETE FROM batches")
    assert not archive.plan().tasks


def test_a_closed_run_gives_its_claims_back(archive: Archive) -> None:
    for name in ("a.flac", "b.flac"):
        archive.add(name)
    steps = batch.run(archive.plan(), engine=archive.engine())
    next(step for step in steps if step.result)
    steps.close()
    assert sorted(states(archive).values()) == ["done", "open"]
    assert set(archive.run()[0]) == {"b.flac"}


def test_a_song_that_changes_while_it_is_read(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive.add("a.flac")
    to_files = Separator.to_files

    def touched(self, *words, **how):
        def steps():
            with to_files(self, *words, **how) as separation:
                yield from separation
            os.utime(path, ns=(5, 5))
            return separation.report

        return Separation(path, steps())

    with monkeypatch.context() as patch:
        patch.setattr(Separator, "to_files", touched)
        assert "changed while" in archive.run()[0]["a.flac"].reason
    assert archive.run()[0]["a.flac"].is_done


@pytest.mark.parametrize("what", ["changed", "deleted"])
def test_a_song_that_fails_leaves_no_stems(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    path = archive.add("a.wav")
    content = path.read_bytes()
    to_files = Separator.to_files

    def meddled(self, *words, **how):
        def steps():
            with to_files(self, *words, **how) as separation:
                yield next(separation)
                if what == "changed":
                    path.write_bytes(content + content[-4000:])
                else:
                    path.unlink()
                yield from separation
            return separation.report

        return Separation(path, steps())

    with monkeypatch.context() as patch:
        patch.setattr(Separator, "to_files", meddled)
        assert archive.run()[0]["a.wav"].kind == "AudioError"
    assert archive.stems() == set()
    path.write_bytes(content)
    assert archive.run()[0]["a.wav"].is_done
    assert archive.is_whole(path, "a")


def test_an_output_folder_that_is_removed(archive: Archive) -> None:
    """A worker makes it anew; without their manifest its stems would be a stranger's."""
    for name in ("a.flac", "b.flac", "c.flac"):
        archive.add(name)

    def removed(_order) -> bool:
        shutil.rmtree(archive.out)
        return False

    with pytest.raises(DataError, match="its folder is there"):
        archive.run(dies=removed)
    assert archive.stems() == set()
    assert not (archive.out / FILE).exists()
    found, _ = archive.run()
    assert [result.is_done for result in found.values()] == [True] * 3


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_song_that_crashes_its_decoder_ends_no_plan(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.flac", "b.flac", "c.flac"):
        archive.add(name)
    opened = Decoder.open

    def crashed(self, path, **how):
        if path.name == "b.flac":
            os.kill(self.id, signal.SIGSEGV)
        opened(self, path, **how)

    monkeypatch.setattr(Decoder, "open", crashed)
    plan = archive.plan()
    assert len(plan.tasks) == 3
    assert not plan.is_exact
    assert plan.audio_s == pytest.approx(3 * 20_000 / 44_100, rel=0.02)


@pytest.mark.parametrize("what", ["text", "later", "folder"])
def test_a_manifest_that_cannot_be_used(archive: Archive, what: str) -> None:
    archive.add("a.flac")
    archive.out.mkdir()
    path = archive.out / FILE
    if what == "text":
        path.write_text("no database " * 1000, encoding="utf-8")
    elif what == "folder":
        path.mkdir()
    else:
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("PRAGMA user_version = 99")
    with pytest.raises(DataError, match=FILE):
        archive.plan()


def test_an_output_folder_that_cannot_be(archive: Archive) -> None:
    archive.add("a.flac")
    plan = archive.plan()
    archive.out.write_text("in the way", encoding="utf-8")
    with pytest.raises(DataError, match="out"):
        archive.run(plan)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_read_only_folder_fails_its_song_only(archive: Archive) -> None:
    archive.add("a.flac")
    archive.add("b.flac")
    (archive.out / "a").mkdir(parents=True)
    (archive.out / "a").chmod(0o500)
    found, _ = archive.run()
    assert found["b.flac"].is_done
    assert "a" in found["a.flac"].reason
    (archive.out / "a").chmod(0o700)


def test_a_folder_where_a_stem_should_be(archive: Archive) -> None:
    archive.add("a.flac")
    archive.add("b.flac")
    (archive.out / "a/vocals.flac").mkdir(parents=True)
    found, _ = archive.run(overwrite=True)
    assert not found["a.flac"].is_done
    assert found["b.flac"].is_done


def test_a_file_that_was_to_be_replaced_stays_if_the_manifest_is_taken_away(
    archive: Archive,
) -> None:
    archive.add("a.flac")
    plan = archive.plan()
    (task,) = plan.tasks
    mine = archive.out / task.files["vocals"]
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")

    def taken(_order) -> bool:
        (archive.out / FILE).unlink()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        archive.run(plan, dies=taken, overwrite=True)
    assert mine.read_bytes() == b"mine"
