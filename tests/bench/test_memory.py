"""Memory does not grow with the song (the figures for hours come from bench/memory.py)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from helpers.checkout import ROOT


@pytest.mark.slow
def test_eight_times_as_long_in_the_same_memory(mask_model: Path) -> None:
    script = ROOT / "bench" / "memory.py"
    words = [sys.executable, str(script), "--model", str(mask_model), "--minutes", "1", "8"]
    result = subprocess.run(words, capture_output=True, text=True, check=True, timeout=280)
    *lines, last = result.stdout.splitlines()
    peaks = [float(line.split("peak")[1].split("MB")[0]) for line in lines]
    assert len(peaks) == 2
    assert max(peaks) < 400
    assert float(last.split(":")[1]) < 1.10


@pytest.mark.slow
def test_a_filtered_blend_in_the_same_memory(mask_model: Path, tmp_path: Path) -> None:
    """The peak is that of 1 minute after 8 more, in one process: it only ever grows."""
    script = """
import resource, sys
import numpy as np
from viso import Separator

def minutes(n):
    random = np.random.default_rng(0)
    for _ in range(60 * n):
        yield (random.standard_normal((2, 44_100)) * 0.1).astype(np.float32)

separator = Separator([sys.argv[1], "viso-cnn"], wiener=1, threads=1)
for n in (1, 8):
    for _ in separator.stream(minutes(n), rate_hz=44_100, n_channels=2):
        pass
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
    # By way of a small process: what is started has the peak of what starts it.
    launcher = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"
    words = [sys.executable, "-c", launcher, script, str(mask_model)]
    result = subprocess.run(words, capture_output=True, text=True, check=True, timeout=280)
    short, long = map(float, result.stdout.split())
    assert long < 700
    assert long < 1.10 * short
