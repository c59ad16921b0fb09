"""Batches as they happen: processes that are killed, two batches at once, disks that are full."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from helpers.checkout import ROOT
from helpers.held_songs import Hold
from helpers.held_workers import command_of_batch, install
from helpers.song_archives import Archive
from viso import batch
from viso.batch.database import FILE
from viso.batch.local import LocalEngine

VISO = [sys.executable, "-c", "from viso.cli import main; main()"]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


def words_for(archive: Archive, *words: object) -> list[str]:
    settings = ["--model", archive.model, "--format", "flac", "--bit-depth", "16"]
    start = [*VISO, "separate", "archive", "--recursive", "-o", "out", *settings]
    return [*start, *map(str, words)]


def viso(archive: Archive, *words: object, **how: object) -> subprocess.CompletedProcess[str]:
    where = archive.folder.parent
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        words_for(archive, *words), cwd=where, capture_output=True, text=True, timeout=240, **how
    )


def begin(archive: Archive, *words: object) -> subprocess.Popen[str]:
    """Start a batch in the background; its workers heed a `Hold` beside the output folder."""
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            command_of_batch(Hold(archive.out.parent)),
            *words_for(archive, *words)[len(VISO) :],
        ],
        cwd=archive.folder.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def hidden(archive: Archive) -> list[Path]:
    # Not `rglob`, which fails if a folder is removed meanwhile.
    tree = os.walk(archive.out)
    return [Path(at) / name for at, _, names in tree for name in names if name[:6] == ".viso-"]


def wait_until(is_so: Callable[[], object], *, seconds: float = 250) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.01)


def held_pid(hold: Hold) -> int:
    """Wait until a worker is in the middle of the song that is held; return its process ID."""
    wait_until(hold.pids)
    (pid,) = hold.pids()
    return pid


def send_in_the_song(hold: Hold, number: signal.Signals) -> int:
    """Send a signal to the worker that is held, and open the hold; return its process ID."""
    pid = held_pid(hold)
    os.kill(pid, number)
    hold.open()
    return pid


@pytest.fixture
def hold(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Hold:
    """Holds the first song in its middle until it is opened, whatever the machine's pace."""
    install(archive.out.parent, monkeypatch.setattr)
    hold = Hold(archive.out.parent)
    hold.close(only="0.flac")
    return hold


def records(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def finished(archive: Archive) -> int:
    if not (archive.out / FILE).exists():
        return 0
    try:
        with closing(sqlite3.connect(archive.out / FILE, timeout=60)) as database, database:
            query = "SELECT count(*) FROM entries WHERE state = 'done'"
            return int(database.execute(query).fetchone()[0])
    except sqlite3.OperationalError:  # it is there, but its tables are not yet
        return 0


def long_songs(archive: Archive, n_songs: int = 4) -> None:
    path = archive.add("0.flac", n_samples=44_100 * 20)
    for number in range(1, n_songs):
        (archive.folder / f"{number}.flac").write_bytes(path.read_bytes())


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_an_interrupted_batch_goes_on(archive: Archive, hold: Hold, number: signal.Signals) -> None:
    long_songs(archive)
    process = begin(archive, "--jobs", 2)
    held_pid(hold)
    wait_until(lambda: finished(archive) >= 1)
    # As a terminal does it: to the workers, too.
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    said, errors = process.communicate(timeout=250)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "goes on where it stopped" in errors
    assert "left" in said
    assert not hidden(archive)
    done = finished(archive)
    assert 1 <= done < 4
    result = viso(archive, "--json", "--jobs", 1)
    assert result.returncode == 0, result.stderr
    assert sum(record.get("skipped", False) for record in records(result.stdout)) == done
    assert len(archive.stems()) == 8


@pytest.mark.parametrize("whom", ["coordinator", "all"])
def test_a_killed_batch_goes_on(archive: Archive, hold: Hold, whom: str) -> None:
    long_songs(archive)
    process = begin(archive, "--jobs", 2)
    held_pid(hold)
    wait_until(lambda: finished(archive) >= 1)
    if whom == "all":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.communicate(timeout=250)
    if whom == "coordinator":
        # The workers notice, and clear up.
        wait_until(lambda: not hidden(archive))
    done = finished(archive)
    times = {p: p.stat().st_mtime_ns for p in archive.out.rglob("*.flac") if p.name[0] != "."}
    assert 1 <= done < 4
    result = viso(archive, "--json", "--jobs", 1)
    assert result.returncode == 0, result.stderr
    skipped = [record for record in records(result.stdout) if record.get("skipped")]
    assert len(skipped) == done
    for record in skipped:
        for path in record["stems"].values():
            path = archive.folder.parent / path
            assert path.stat().st_mtime_ns == times[path]
    assert len(archive.stems()) == 8
    assert not hidden(archive)
    assert all(archive.is_whole(archive.folder / f"{n}.flac", str(n)) for n in range(4))


def test_two_batches_share_the_work(archive: Archive) -> None:
    for number in range(10):
        archive.add(f"{number}.flac", n_samples=44_100)
    both = [begin(archive, "--jobs", 1, "--json") for _ in range(2)]
    told = [process.communicate(timeout=280) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    mine = [record for text, _ in told for record in records(text) if record.get("stems")]
    own = [record["song"] for record in mine if not record.get("skipped")]
    assert sorted(own) == sorted({f"archive/{n}.flac" for n in range(10)})
    assert all(archive.is_whole(archive.folder / f"{n}.flac", str(n)) for n in range(10))
    with closing(sqlite3.connect(archive.out / FILE)) as database, database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT count(*) FROM batches").fetchone() == (0,)


def test_a_killed_worker_costs_nothing(archive: Archive, hold: Hold) -> None:
    long_songs(archive, 3)
    engine = LocalEngine(archive.config, n_jobs=1, threads=1)
    with ThreadPoolExecutor(1) as beside:
        killed = beside.submit(send_in_the_song, hold, signal.SIGKILL)
        found, pids = [], set()
        for progress in batch.run(archive.plan(jobs=1), engine=engine):
            found.append(progress.result)
            pids.update(engine.pids)
    # Another took its place.
    assert len(pids - {killed.result()}) == 1
    assert [result.is_done for result in found if result] == [True] * 3, found


def test_a_worker_that_hangs_fails_its_song_only(archive: Archive, hold: Hold) -> None:
    long_songs(archive, 3)
    engine = LocalEngine(archive.config, n_jobs=2, threads=1, patience_s=15)
    with ThreadPoolExecutor(1) as beside:
        stopped = beside.submit(send_in_the_song, hold, signal.SIGSTOP)
        found = [progress.result for progress in batch.run(archive.plan(jobs=2), engine=engine)]
    results = [result for result in found if result]
    (hung,) = (result for result in results if not result.is_done)
    assert len(results) == 3
    assert hung.song.name in hung.reason
    assert "no sign of life for 15 s" in hung.reason
    assert not hidden(archive)
    with pytest.raises(ProcessLookupError):
        os.kill(stopped.result(), 0)
    assert viso(archive, "--jobs", 1).returncode == 0
    assert archive.is_whole(hung.song, hung.song.stem)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("faults", ["kill -9 of", "while it is read", "output folder"])
def test_no_fault_loses_a_song(faults: str) -> None:
    """A short bench/reliability.py: all stems are bit for bit those of a batch without faults."""
    bench = ROOT / "bench/reliability.py"
    words = ["--kills", "2", "--times", "1", "--songs", "4", "--seed", "1", "--only", faults]
    command = [sys.executable, str(bench), *words]
    result = subprocess.run(command, capture_output=True, text=True, timeout=800)
    assert result.returncode == 0, result.stdout + result.stderr
    rows = [
        line.split("|") for line in result.stdout.splitlines() if faults in line and "|" in line
    ]
    assert rows
    for row in rows:
        n_runs, lost, half_made = map(int, row[2:5])
        assert n_runs > 0
        assert lost == half_made == 0


def test_a_full_disk(archive: Archive) -> None:
    """A file system of its own, of 1 MB; only who may mount one can try."""
    archive.add("a.flac")
    archive.add("b.flac", n_samples=44_100 * 30)
    archive.out.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(archive.out)]
    if subprocess.run(mounted, capture_output=True).returncode:
        pytest.skip("may not mount a file system")
    try:
        result = viso(archive, "--jobs", 1)
        assert result.returncode == 1
        assert "the disk is full" in result.stderr
        assert "goes on where it stopped" in result.stderr
        assert "TOO LITTLE" in result.stdout
        assert finished(archive) == 1
        assert not hidden(archive)
        subprocess.run(["mount", "-o", "remount,size=50m", str(archive.out)], check=True)
        result = viso(archive, "--jobs", 1)
        assert result.returncode == 0, result.stderr
        assert "1 done already" in result.stdout
    finally:
        subprocess.run(["umount", "-l", str(archive.out)], check=True)
