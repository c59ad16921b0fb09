"""Songs per hour of a batch, by songs at a time and threads of each network.

    python bench/batch.py [--model NAME_OR_PATH] [--songs 8] [--minutes 4] [--repeats 3]
                          [--jobs 1 2 4] [--threads 1 2]

Every batch takes made songs from FLAC to FLAC, 16 bit, start-up included, in an output folder of
its own. All ways run in turn, again and again, so that what else the machine does meets them
alike; beside the clock stands the processor time, which that changes less.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from memory import make_song
from viso import batch
from viso.batch.local import n_cores
from viso.models import registry


@dataclass
class Way:
    """Songs at a time, threads of each network, and what was measured: seconds of each batch."""

    jobs: int
    threads: int
    wall_s: list[float] = field(default_factory=list)
    busy_s: list[float] = field(default_factory=list)

    def run(self, songs: Path, model: str) -> None:
        """Separate all songs of a folder and note what it took."""
        config = batch.SeparationConfig(model=model, format="flac", bit_depth="16")
        with tempfile.TemporaryDirectory() as out:
            began, before = time.perf_counter(), _busy_s()
            plan = batch.plan([songs], out, config=config, jobs=self.jobs, threads=self.threads)
            last = list(batch.run(plan))[-1]
            self.wall_s.append(time.perf_counter() - began)
            self.busy_s.append(_busy_s() - before)
        if last.n_failed or last.n_done != last.n_songs:
            raise SystemExit("songs failed; is the disk full?")


def _busy_s() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def main() -> None:
    """Measure all ways in turn and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=registry.DEFAULT)
    parser.add_argument("--songs", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    ways = [Way(jobs, threads) for jobs in options.jobs for threads in options.threads]
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "0.flac"
        make_song(first, options.minutes)
        for number in range(1, options.songs):
            shutil.copy(first, first.with_name(f"{number}.flac"))
        for _ in range(options.repeats):
            for way in ways:
                way.run(Path(folder), options.model)
                print(f"{way.jobs} jobs, {way.threads} threads: {way.wall_s[-1]:.1f} s", flush=True)
    print(f"{options.songs} songs of {options.minutes:g} min, {n_cores()} cores, load ", end="")
    print(", ".join(f"{load:.1f}" for load in os.getloadavg()))
    print("jobs  threads  songs/hour  (range)        x real time  processor s/song")
    for way in ways:
        hourly = sorted(3600 * options.songs / wall_s for wall_s in way.wall_s)
        middle = float(np.median(hourly))
        between = f"({hourly[0]:.0f} to {hourly[-1]:.0f})"
        print(
            f"{way.jobs:4d}  {way.threads:7d}  {middle:10.0f}  {between:13s}"
            f"  {middle * options.minutes / 60:11.1f}"
            f"  {np.median(way.busy_s) / options.songs:16.2f}"
        )


if __name__ == "__main__":
    main()
