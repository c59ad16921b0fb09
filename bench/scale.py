"""What a batch costs beside separating: seconds and bytes of plan and manifest for each song.

    python bench/scale.py [--songs 1000 4000] [--workers 100]

Instead of workers there is an engine whose songs are done at once, so that what is measured is the
one process that coordinates: it cannot end more songs a second than this, however many nodes.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from memory import make_song
from viso import batch
from viso.batch.database import FILE
from viso.batch.protocol import Done, Event, Order
from viso.batch.songs import Stamp
from viso.separator import Report


class NoEngine:
    """Says of every song that it is done; its stems are empty."""

    def __init__(self, n_jobs: int) -> None:
        self.n_jobs = n_jobs
        self.pids: Sequence[int] = []
        self._orders: list[Order] = []

    def submit(self, order: Order) -> None:
        """See `Engine.submit`."""
        self._orders.append(order)

    def events(self, *, timeout_s: float) -> list[Event]:
        """See `Engine.events`."""
        orders, self._orders = self._orders, []
        return [self._done(order) for order in orders]

    def stop(self) -> None:
        """See `Engine.stop`."""

    def _done(self, order: Order) -> Done:
        for path in order.targets.values():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        report = Report(
            *(order.song, order.targets, 44_100, 2, 44_100, 44_100, 0.0, 0.0, True, "", "", "cpu")
        )
        return Done(order.number, report, Stamp.of(order.song), "0" * 64, 1.0)


def measure(n_songs: int, n_workers: int) -> None:
    """Plan and note so many songs, and print what each took."""
    with tempfile.TemporaryDirectory() as folder:
        songs, out = Path(folder) / "songs", Path(folder) / "out"
        songs.mkdir()
        make_song(songs / "0.flac", 1 / 60)
        for number in range(1, n_songs):
            shutil.copy(songs / "0.flac", songs / f"{number}.flac")
        began = time.perf_counter()
        plan = batch.plan([songs], out, jobs=n_workers, threads=1)
        planned = time.perf_counter()
        busy_s = time.process_time()
        last = list(batch.run(plan, engine=NoEngine(n_workers)))[-1]
        ended = time.perf_counter()
        busy_s = time.process_time() - busy_s
        n_bytes = (out / FILE).stat().st_size
        again = time.perf_counter()
        batch.plan([songs], out, jobs=n_workers, threads=1)
        again = time.perf_counter() - again
    if last.n_done != n_songs:
        raise SystemExit(f"{last.n_done} of {n_songs} songs were done")
    each = [1000 * value / n_songs for value in (planned - began, ended - planned, busy_s, again)]
    print(f"{n_songs:7d}  " + "  ".join(f"{value:10.2f}" for value in each), end="")
    print(f"  {n_bytes / n_songs:10.0f}", flush=True)


def main() -> None:
    """Measure each number of songs and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--songs", type=int, nargs="+", default=[1000, 4000])
    parser.add_argument("--workers", type=int, default=100)
    options = parser.parse_args()
    print("  songs   plan, ms/song    run, ms   processor    plan again  manifest, B/song")
    for n_songs in options.songs:
        measure(n_songs, options.workers)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MB, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
