"""Peak memory of a separation does not grow with the song.

    python bench/memory.py [--model NAME_OR_PATH] [--minutes 1 10 180]

Every length runs in a process of its own, from a FLAC file to two FLAC files; the peak is
the process's largest resident set as the kernel counted it.
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

from viso.audio import AudioWriter
from viso.models import registry


def make_song(path: Path, minutes: float) -> None:
    """Write a noisy chord of this length, 44.1 kHz stereo, 16 bit, block by block."""
    random = np.random.default_rng(0)
    n_left = round(minutes * 60 * 44_100)
    t = np.arange(44_100) / 44_100
    chord = sum(np.sin(2 * np.pi * f * t) for f in (110, 220, 277, 330)) * 0.1
    with AudioWriter(path, rate_hz=44_100, n_channels=2, bit_depth="16") as writer:
        while n_left > 0:
            block = chord + random.standard_normal((2, 44_100)) * 0.02
            writer.write(block[:, :n_left].astype(np.float32))
            n_left -= 44_100


def child(song: Path, model: str) -> None:
    """Separate in this process and print the peak in MB."""
    from viso.separator import Separator

    targets = {stem: song.with_name(f"{stem}.flac") for stem in ("vocals", "instrumental")}
    for _ in Separator(model).to_files(song, targets, bit_depth="16"):
        pass
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Measure each length and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=registry.DEFAULT)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 10, 180])
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.model)
        return
    peaks = []
    for minutes in options.minutes:
        with tempfile.TemporaryDirectory() as folder:
            song = Path(folder) / "song.flac"
            make_song(song, minutes)
            words = [sys.executable, __file__, "--child", str(song), "--model", options.model]
            began = time.perf_counter()
            result = subprocess.run(words, check=True, capture_output=True, text=True)
            took = time.perf_counter() - began
            peaks.append(float(result.stdout))
        speed = minutes * 60 / took
        print(f"{minutes:6g} min: peak {peaks[-1]:6.1f} MB, {speed:5.1f}x real time", flush=True)
    print(f"largest over smallest: {max(peaks) / min(peaks):.3f}")


if __name__ == "__main__":
    main()
