"""Plans and what comes of them: skipped, done again, failed, taken over, stopped."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from helpers.song_archives import Archive
from viso import batch
from viso.batch.database import FILE, connected
from viso.batch.owners import STALE_S, Owner


def states(archive: Archive) -> dict[str, str]:
    with closing(sqlite3.connect(archive.out / FILE)) as database, database:
        return dict(database.execute("SELECT song, state FROM entries"))


def test_all_songs_once_and_never_again(archive: Archive) -> None:
    paths = [archive.add(name) for name in ("a.flac", "b/a.flac", "b/c d.wav")]
    plan = archive.plan()
    assert not archive.out.exists()
    assert (len(plan.tasks), len(plan.finished)) == (3, 0)
    assert plan.is_exact
    assert plan.audio_s == pytest.approx(3 * 20_000 / 44_100)
    assert plan.speed is plan.expected_s is None
    found, _ = archive.run(plan)
    assert all(result.is_done for result in found.values())
    assert archive.is_whole(paths[0], "a")
    assert archive.is_whole(paths[2], "b/c d")
    assert len(archive.stems()) == 6
    again = archive.plan(jobs=plan.n_jobs)
    assert (len(again.tasks), len(again.finished)) == (0, 3)
    assert again.finished[1].files["vocals"] == Path("b/a/vocals.flac")
    assert again.speed
    assert archive.run(again)[0] == {}


def test_progress_adds_up(archive: Archive) -> None:
    for name in ("a.flac", "b.flac"):
        archive.add(name)
    (archive.folder / "bad.mp3").write_text("no song", encoding="utf-8")
    plan = archive.plan()
    assert not plan.is_exact
    seen = list(batch.run(plan))
    last = seen[-1]
    assert (last.n_songs, last.n_done, last.n_failed, last.running) == (3, 2, 1, ())
    assert last.done_s == pytest.approx(2 * 20_000 / 44_100)
    assert last.left_audio_s == pytest.approx(0, abs=1e-6)
    assert last.left_s == pytest.approx(0, abs=1e-6)
    assert last.speed > 0
    assert last.songs_per_hour > 0
    assert sum(one.result is not None for one in seen) == 3


def test_one_bad_song_stops_nothing_and_is_tried_again(archive: Archive) -> None:
    archive.add("a.flac")
    bad = archive.folder / "0 bad.flac"
    bad.write_bytes((archive.folder / "a.flac").read_bytes()[:-9000])
    (archive.folder / "empty.wav").touch()
    found, _ = archive.run(archive.plan(archive.folder, archive.folder / "gone.mp3"))
    assert found["a.flac"].is_done
    for name in ("0 bad.flac", "empty.wav", "gone.mp3"):
        assert found[name].kind == "AudioError"
        assert name in found[name].reason
    assert archive.stems() == {"a/vocals.flac", "a/instrumental.flac"}
    archive.add("0 bad.flac")
    found, _ = archive.run()
    assert found["0 bad.flac"].is_done
    assert not found["empty.wav"].is_done
    assert set(found) == {"0 bad.flac", "empty.wav"}


def test_what_is_gone_or_cut_short_is_made_again(archive: Archive) -> None:
    for name in ("a.flac", "b.flac", "c.flac"):
        archive.add(name)
    archive.run()
    (archive.out / "a/vocals.flac").unlink()
    cut = archive.out / "b/vocals.flac"
    cut.write_bytes(cut.read_bytes()[:-1])
    tagged = archive.out / "c/vocals.flac"
    tagged.write_bytes(tagged.read_bytes() + b"tag")
    plan = archive.plan()
    assert [task.song.path.name for task in plan.tasks] == ["a.flac", "b.flac"]
    assert plan.n_renewed == 2
    found, _ = archive.run(plan)
    assert all(result.is_done for result in found.values())
    assert archive.is_whole(archive.folder / "b.flac", "b")
    assert tagged.read_bytes().endswith(b"tag")


def test_a_touched_song_is_done_a_changed_one_is_not(archive: Archive) -> None:
    touched, changed = archive.add("a.flac"), archive.add("b.wav")
    archive.run()
    os.utime(touched, ns=(1, 1))
    size = changed.stat().st_size
    archive.add("b.wav", seed=99)
    assert changed.stat().st_size == size
    plan = archive.plan()
    assert [task.song.path.name for task in plan.tasks] == ["b.wav"]
    assert len(plan.renewed) == 1
    found, _ = archive.run(plan)
    assert found["b.wav"].is_done
    assert archive.is_whole(changed, "b")
    assert not archive.plan().renewed


def test_other_settings_are_other_work(archive: Archive) -> None:
    path = archive.add("a.flac")
    archive.run()
    wav = batch.SeparationConfig(model=archive.model, format="wav", bit_depth="16")
    assert len(archive.plan(config=wav).tasks) == 1
    archive.run(archive.plan(config=wav))
    assert len(archive.stems()) == 4
    assert not archive.plan(config=wav).tasks
    assert not archive.plan().tasks
    before = (archive.out / "a/vocals.flac").read_bytes()
    other = batch.SeparationConfig(model="viso-cnn", format="flac", bit_depth="16")
    found, _ = archive.run(archive.plan(config=other))
    assert found["a.flac"].is_done
    assert (archive.out / "a/vocals.flac").read_bytes() != before
    assert archive.is_whole(path, "a")
    assert len(archive.plan().tasks) == 1


def test_files_that_no_batch_made_are_kept(archive: Archive) -> None:
    archive.add("a.flac")
    mine = archive.out / "a/vocals.flac"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine", encoding="utf-8")
    for _ in range(2):
        found, _ = archive.run()
        assert "--overwrite" in found["a.flac"].reason
        assert mine.read_text(encoding="utf-8") == "mine"
    found, _ = archive.run(overwrite=True)
    assert found["a.flac"].is_done
    assert archive.is_whole(archive.folder / "a.flac", "a")


def test_a_stem_made_larger_since_is_kept(archive: Archive) -> None:
    archive.add("a.flac")
    archive.run()
    larger = archive.out / "a/vocals.flac"
    larger.write_bytes(larger.read_bytes() + b"tag")
    archive.add("a.flac", seed=5)
    assert "changed since" in archive.run()[0]["a.flac"].reason
    assert larger.read_bytes().endswith(b"tag")
    assert archive.run(overwrite=True)[0]["a.flac"].is_done


def test_names_stay_when_songs_come(archive: Archive) -> None:
    archive.add("song.mp3")
    archive.run()
    archive.add("song.flac")
    archive.add("song.wav")
    found, _ = archive.run()
    assert set(found) == {"song.flac", "song.wav"}
    folders = {name.rpartition("/")[0] for name in archive.stems()}
    assert folders == {"song", "song.flac", "song.wav"}
    assert archive.is_whole(archive.folder / "song.wav", "song.wav")
    assert not archive.plan().tasks


@pytest.mark.skipif(os.name == "nt", reason="names are no bytes there")
def test_names_of_all_kinds(archive: Archive) -> None:
    strange = os.fsdecode(b"caf\xe9 [b] %20?#.flac")
    names = [
        strange,
        "Ünï/日本 🎵.flac",
        "x" * 250 + ".flac",
        " .flac",
        "{name}.flac",
        "a'b\"c\n.flac",
    ]
    for name in names:
        archive.add(name)
    found, _ = archive.run()
    assert set(found) == set(names)
    assert all(result.is_done for result in found.values()), found
    assert not archive.plan().tasks


def test_stems_beside_their_songs(archive: Archive) -> None:
    archive.add("a.flac")
    archive.add("b/vocals.flac")
    archive.add("b.flac")
    archive.out = archive.folder
    found, _ = archive.run()
    assert all(result.is_done for result in found.values()), found
    assert len(found) == 3
    assert archive.is_whole(archive.folder / "a.flac", "a")
    # b.flac may not have b/vocals.flac, which is a song.
    assert (archive.folder / "b.flac/vocals.flac").exists() is False
    plan = archive.plan()
    assert (len(plan.tasks), len(plan.finished)) == (0, 3)


def test_an_archive_that_moved_is_known_again(archive: Archive) -> None:
    archive.add("b/a.flac")
    archive.add("c.flac")
    archive.run()
    archive.folder = archive.folder.rename(archive.folder.with_name("elsewhere"))
    plan = archive.plan()
    assert (len(plan.tasks), len(plan.renewed)) == (0, 2)
    assert archive.run(plan)[0] == {}
    plan = archive.plan()
    assert (len(plan.tasks), len(plan.renewed)) == (0, 0)


# Processes that die, and other batches


def test_a_death_is_tried_once_more(archive: Archive) -> None:
    for name in ("a.flac", "b.flac", "c.flac"):
        archive.add(name)
    dead: list[str] = []

    def dies(order) -> bool:
        dead.append(order.song.name)
        return order.song.name == "b.flac" or dead == ["a.flac"]

    found, engine = archive.run(dies=dies)
    assert found["a.flac"].is_done
    assert found["c.flac"].is_done
    assert "SIGKILL" in found["b.flac"].reason
    assert sorted(engine.tried) == ["a.flac", "a.flac", "b.flac", "b.flac", "c.flac"]


def claimed_by_another(archive: Archive, *, age_s: float, pid: int) -> None:
    """Let the manifest look as if another batch had claimed everything."""
    with connected(archive.out, is_new=False) as database:
        host = Owner(archive.out).host
        database.execute("DELETE FROM batches")
        database.execute(
            "INSERT INTO batches VALUES ('other', ?, ?, '', ?)", (host, pid, time.time() - age_s)
        )
        database.execute("UPDATE entries SET state = 'claimed', owner = 'other'")


@pytest.mark.parametrize(
    "how",
    [
        "dead",
        "silent",
        pytest.param("zombie", marks=pytest.mark.skipif(sys.platform != "linux", reason="/proc")),
    ],
)
def test_claims_of_the_dead_are_free(archive: Archive, how: str) -> None:
    archive.add("a.flac")
    archive.run()
    zombie = None
    if how == "dead":
        claimed_by_another(archive, age_s=0, pid=2**22 + 1)
    elif how == "silent":
        claimed_by_another(archive, age_s=STALE_S + 1, pid=os.getpid())
    else:  # killed, but its parent has not noticed yet
        zombie = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
        zombie.stdout.read()
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        # Its signs of life are as good as endless.
        claimed_by_another(archive, age_s=-1e6, pid=zombie.pid)
    found, _ = archive.run()
    if zombie is not None:
        zombie.communicate()
    assert found["a.flac"].is_done
    assert not found["a.flac"].is_elsewhere


def test_unfinished_files_of_a_living_worker_are_kept(archive: Archive) -> None:
    """After a jump of the clock a batch may seem dead while its workers write."""
    archive.add("a.flac")
    archive.run()
    mine, dead = (archive.out / f"a/.viso-{pid}-0.flac" for pid in (os.getpid(), 2**22 + 1))
    claimed_by_another(archive, age_s=STALE_S + 1, pid=os.getpid())
    with connected(archive.out, is_new=False) as database:
        database.execute("UPDATE batches SET workers = ?", (f"{os.getpid()} {2**22 + 1}",))
    mine.touch()
    dead.touch()
    (archive.out / "a/vocals.flac").unlink()
    found, _ = archive.run()
    assert found["a.flac"].is_done
    assert mine.exists()
    assert not dead.exists()
    mine.unlink()


@pytest.mark.parametrize("end", ["done", "failed"])
def test_a_song_of_another_batch_is_waited_for(archive: Archive, end: str) -> None:
    archive.add("a.flac")
    archive.add("b.flac")
    archive.run()
    for name in ("a", "b"):
        (archive.out / name / "vocals.flac").unlink()
    plan = archive.plan()
    claimed_by_another(archive, age_s=0, pid=os.getpid())
    results = {}
    began = time.monotonic()
    for progress in batch.run(plan, engine=archive.engine()):
        if progress.result:
            results[progress.result.song.name] = progress.result
        if time.monotonic() - began > 0.5:
            with connected(archive.out, is_new=False) as database:
                database.execute(
                    "UPDATE entries SET state = ?, kind = 'Error', reason = 'bad', ended_s = ?",
                    (end, 5.0),  # its clock is far behind
                )
    assert all(result.is_elsewhere for result in results.values())
    assert [result.is_done for result in results.values()] == [end == "done"] * 2


def test_a_name_that_another_batch_was_faster_to_take(archive: Archive) -> None:
    mine = archive.add("mine/song.flac")
    theirs = archive.add("theirs/song.flac")
    plan = archive.plan(mine)
    archive.run(archive.plan(theirs))
    found, _ = archive.run(plan)
    assert found["mine/song.flac"].is_done
    assert len(archive.stems()) == 4
    assert archive.is_whole(theirs, "song")
    assert not archive.plan(mine, theirs).tasks
