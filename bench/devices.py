"""What a device costs and brings: quality, speed and memory of models on it, beside the CPU.

    python bench/devices.py songs/valid --models viso viso-tfc-tdf --devices cpu openvino

For each model and device a process of its own loads the model and separates every song. The table
has the median uSDR of the vocals, the energy of the difference from the first device's vocals,
the speed in times real time (separation alone, after the first song) and the process's peak memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from viso import Separator
from viso.evaluate import songs_of, truth_of
from viso.metrics import usdr


def child(data: Path, model: str, device: str, kept: Path) -> None:
    """Separate all songs in this process, keep the vocals, and print the figures as JSON."""
    separator = Separator(model, device=device)  # type: ignore[arg-type]
    scores, audio_s, took_s = {}, 0.0, 0.0
    for number, (song, files) in enumerate(songs_of(data).items()):
        truth, rate_hz = truth_of(files)
        mixture = truth["vocals"] + truth["instrumental"]
        began = time.perf_counter()
        vocals = separator.separate(mixture, rate_hz=rate_hz).vocals
        if number:  # the first one warms up
            took_s += time.perf_counter() - began
            audio_s += mixture.shape[1] / rate_hz
        scores[song] = usdr(truth["vocals"], vocals)
        np.save(kept / f"{number}.npy", vocals)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    speed = audio_s / took_s
    print(json.dumps({"scores": scores, "device": separator.device, "x": speed, "mb": peak_mb}))


def difference_db(one: Path, other: Path) -> float:
    """Return the energy of the difference of two folders' sounds, in decibels of the first's."""
    missed = total = 0.0
    for path in one.glob("*.npy"):
        a, b = np.load(path), np.load(other / path.name)
        missed += float(np.sum(np.square(a - b, dtype=np.float64)))
        total += float(np.sum(np.square(a, dtype=np.float64)))
    return 10 * float(np.log10(missed / total)) if missed else float("-inf")


def main() -> None:
    """Measure each model on each device, and print a line for both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", nargs="+", default=["viso"])
    parser.add_argument("--devices", nargs="+", default=["cpu", "openvino"])
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        model, device, kept = options.child
        child(options.data, model, device, Path(kept))
        return
    print("| model | ran on | vocals, dB | mean | difference | times real time | peak, MB |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for model in options.models:
        with tempfile.TemporaryDirectory() as folder:
            places = [Path(folder) / device for device in options.devices]
            for device, place in zip(options.devices, places, strict=True):
                place.mkdir()
                words = [sys.executable, __file__, str(options.data), "--child", model, device]
                result = subprocess.run([*words, str(place)], check=True, capture_output=True)
                told = json.loads(result.stdout)
                scores = list(told["scores"].values())
                apart = difference_db(places[0], place)
                cells = [
                    f"`{model}`",
                    f"`{told['device']}`",
                    f"{np.median(scores):.2f}",
                    f"{np.mean(scores):.2f}",
                    f"{apart:.0f} dB" if np.isfinite(apart) else "",
                    f"{told['x']:.1f}",
                    f"{told['mb']:.0f}",
                ]
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
