"""How fast `viso separate` is, start to end: a FLAC file to two FLAC files.

    python bench/speed.py [--model NAME_OR_PATH] [--minutes 4] [--repeats 3]

Runs the command line as a user would, in a process of its own each time, and prints the
speed in times real time, the start-up included, and the processor time spent.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from memory import make_song
from viso.models import registry


def speeds(model: str, *, minutes: float, repeats: int) -> Iterator[tuple[float, float]]:
    """Separate a made song again and again.

    Parameters
    ----------
    model : str
        Name or file.
    minutes : float
    repeats : int

    Yields
    ------
    wall_s, busy_s : float
        Time on the clock from start to end of the process, and time of the processors.
    """
    with tempfile.TemporaryDirectory() as folder:
        song = Path(folder) / "song.flac"
        make_song(song, minutes)
        words = [sys.executable, "-c", "from viso.cli import main; main()", "separate", str(song)]
        words += ["-o", folder, "--format", "flac", "--bit-depth", "16", "--model", model]
        for _ in range(repeats):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            began = time.perf_counter()
            subprocess.run([*words, "--overwrite", "--quiet"], check=True)
            took = time.perf_counter() - began
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            yield took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure and print a line for every repeat and the median."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=registry.DEFAULT)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    found = []
    for wall_s, busy_s in speeds(options.model, minutes=options.minutes, repeats=options.repeats):
        found.append(options.minutes * 60 / wall_s)
        print(f"{found[-1]:.1f}x real time: {wall_s:.2f} s, {busy_s:.2f} s of processor time")
    print(f"median {np.median(found):.1f}x on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
