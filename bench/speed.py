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
from pathlib import Path

import numpy as np

from memory import make_song
from viso import weights


def main() -> None:
    """Measure and print a line for every repeat and the median."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=weights.DEFAULT)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    speeds = []
    with tempfile.TemporaryDirectory() as folder:
        song = Path(folder) / "song.flac"
        make_song(song, options.minutes)
        words = [sys.executable, "-c", "from viso.cli import main; main()", "separate", str(song)]
        words += ["-o", folder, "--format", "flac", "--bit-depth", "16", "--model", options.model]
        for _ in range(options.repeats):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            began = time.perf_counter()
            subprocess.run([*words, "--overwrite", "--quiet"], check=True)
            took = time.perf_counter() - began
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            speeds.append(options.minutes * 60 / took)
            print(f"{speeds[-1]:.1f}x real time: {took:.2f} s, {busy:.2f} s of processor time")
    print(f"median {np.median(speeds):.1f}x on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
