"""BSSEval v4: ours beside museval's, in time and memory, on the same made song.

    python bench/metrics.py [--minutes 4] [--ours-only]

Each runs in a process of its own with one thread. The time is the processor's, for the scoring
alone; the peak is the process's largest resident set as the kernel counted it, less what it
had before. Ours gets the song in blocks that are made as they are asked for, museval as arrays
(which are not counted).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np

RATE_HZ = 44_100
Pair = tuple[np.ndarray, np.ndarray]


def museval_metrics() -> ModuleType:
    """Load museval's metrics without its package, which asks for ffmpeg when imported."""
    package = importlib.util.find_spec("museval")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("museval is not installed: pip install museval")
    path = Path(package.submodule_search_locations[0]) / "metrics.py"
    spec = importlib.util.spec_from_file_location("museval_metrics", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def song(minutes: float) -> Iterator[Pair]:
    """Yield second after second of two stereo sources and estimates with leaks and noise."""
    for second in range(round(minutes * 60)):
        noise = np.random.default_rng(second).standard_normal((5, 2, RATE_HZ), np.float32)
        noise[1] += np.roll(noise[1], 1, axis=1)
        references = 0.1 * noise[:2]
        estimates = references + 0.3 * references[::-1] + 0.02 * noise[2:4]
        estimates += 0.1 * np.roll(references, 3, axis=2)
        yield references, estimates


def made(minutes: float) -> float:
    """Return how many seconds it takes to make the song once."""
    began = time.process_time()
    for _ in song(minutes):
        pass
    return time.process_time() - began


def peak_mb() -> float:
    """Return this process's largest resident set so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(system: str, minutes: float) -> None:
    """Score the song in this process and print the time, the peak and the scores."""
    if system == "viso":
        from viso.metrics import bss_eval_blocks

        # Making the song twice is not the scoring's work.
        making_s = 2 * min(made(minutes) for _ in range(2))
        before = peak_mb()
        began = time.process_time()
        scores = [*bss_eval_blocks(lambda: song(minutes), rate_hz=RATE_HZ)]
        took = time.process_time() - began - making_s
    else:
        bss_eval = museval_metrics().bss_eval
        parts = zip(*song(minutes), strict=True)
        arrays = [np.concatenate(part, axis=2).transpose(0, 2, 1) for part in parts]
        before = peak_mb()
        began = time.process_time()
        scores = [*bss_eval(*arrays, window=RATE_HZ, hop=RATE_HZ)[:4]]
        took = time.process_time() - began
    peak = peak_mb() - before
    lists = [np.asarray(score).tolist() for score in scores]
    print(json.dumps({"took_s": took, "peak_mb": peak, "scores": lists}))


def measure(system: str, minutes: float) -> tuple[float, float, np.ndarray]:
    """Run a child; return its seconds, its megabytes and its scores."""
    words = [sys.executable, __file__, "--child", system, "--minutes", str(minutes)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    result = subprocess.run(
        words, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **threads}
    )
    found = json.loads(result.stdout)
    print(
        f"{system:8} {minutes:5g} min: {found['took_s']:7.1f} s, "
        f"{minutes * 60 / found['took_s']:5.1f}x real time, {found['peak_mb']:6.0f} MB",
        flush=True,
    )
    return found["took_s"], found["peak_mb"], np.array(found["scores"])


def main() -> None:
    """Measure both and print how they compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--ours-only", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.minutes)
        return
    measure("viso", options.minutes / 4)
    ours = measure("viso", options.minutes)
    if options.ours_only:
        return
    theirs = measure("museval", options.minutes)
    print(f"time {theirs[0] / ours[0]:.1f} to 1, memory {theirs[1] / ours[1]:.1f} to 1")
    for name, a, b in zip(("SDR", "ISR", "SIR", "SAR"), ours[2], theirs[2], strict=True):
        print(f"largest difference in {name}: {np.nanmax(np.abs(a - b)):.1e} dB")


if __name__ == "__main__":
    main()
