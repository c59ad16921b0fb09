"""Memory and time of an evaluation of long songs.

    python bench/evaluating.py [--songs 10] [--minutes 4] [--system viso]

Makes songs, scores them with full BSSEval v4 and the ideal masks in a process of its own, and
prints its largest resident set as the kernel counted it.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from memory import make_song
from viso.audio import AudioWriter
from viso.models import registry


def make_voice(path: Path, minutes: float) -> None:
    """Write a trembling tone of this length that comes and goes, 44.1 kHz stereo, 16 bit."""
    n_left, second = round(minutes * 60 * 44_100), 0
    t = np.arange(44_100) / 44_100
    with AudioWriter(path, rate_hz=44_100, n_channels=2, bit_depth="16") as writer:
        while n_left > 0:
            pitch_hz = 220 * 2 ** (second % 12 / 12)
            tone = sum(np.sin(2 * np.pi * k * pitch_hz * t) / k for k in range(1, 9)) * 0.1
            block = np.tile(tone * (second % 5 > 0), (2, 1))
            writer.write(block[:, :n_left].astype(np.float32))
            n_left -= 44_100
            second += 1


def main() -> None:
    """Make the songs, measure, print a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--songs", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--system", default=registry.DEFAULT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.songs):
            song = Path(folder) / f"song {number}"
            song.mkdir()
            make_voice(song / "vocals.flac", options.minutes)
            make_song(song / "instrumental.flac", options.minutes)
        words = ["evaluate", options.system, "--data", folder, "--json"]
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", "from viso.cli import main; main()", *words],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        took = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"{options.songs} songs of {options.minutes:g} min, {options.system}: "
        f"{peak:.0f} MB at most, {took:.0f} s"
    )


if __name__ == "__main__":
    main()
