"""Memory does not grow with the song (the figures for hours come from bench/memory.py)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_eight_times_as_long_in_the_same_memory(mask_model: Path) -> None:
    script = Path(__file__).parents[1] / "bench" / "memory.py"
    words = [sys.executable, str(script), "--model", str(mask_model), "--minutes", "1", "8"]
    result = subprocess.run(words, capture_output=True, text=True, check=True, timeout=280)
    *lines, last = result.stdout.splitlines()
    peaks = [float(line.split("peak")[1].split("MB")[0]) for line in lines]
    assert len(peaks) == 2
    assert max(peaks) < 400
    assert float(last.split(":")[1]) < 1.10
