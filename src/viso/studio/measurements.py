"""What the page shows of a job, measured by its worker in one pass through the stems."""

from __future__ import annotations

import math

import numpy as np

from viso.dsp.loudness import LoudnessMeter
from viso.studio import peaks
from viso.studio.peaks import PeakMeter
from viso.studio.stem_store import BITS, StemStore

__all__ = ["measure"]

_BLOCK = 1 << 18


def measure(stems: StemStore) -> dict[str, float | None] | None:
    """Write the peaks beside the stems and return the loudness.

    Returns
    -------
    dict of str to float or None
        Integrated loudness of the mixture and of each stem in LUFS, to two decimals; None for a
        silent stem. None at all for less than 400 ms, or more than two channels.

    Raises
    ------
    AudioError
        If the stems are gone.
    """
    n_channels = stems.n_channels
    loudness = None
    if n_channels <= 2:
        loudness = LoudnessMeter(
            rate_hz=stems.rate_hz, n_channels=n_channels, n_signals=len(stems.drawn)
        )
    peak_meter = PeakMeter()
    for start in range(0, stems.n_samples, _BLOCK):
        parts = np.stack([stems.integers(stem, start, start + _BLOCK) for stem in stems.names])
        signals = np.concatenate([parts.sum(axis=0, dtype=np.int32)[None], parts])
        peak_meter.push(signals)
        if loudness is not None:
            floats = (signals / np.float32(1 << (BITS - 1))).astype(np.float32)
            loudness.push(floats.transpose(0, 2, 1))
    np.save(stems.folder / peaks.FILE, peak_meter.finish())
    levels = None if loudness is None else loudness.finish()
    if levels is None:
        return None
    rounded = (round(level, 2) if math.isfinite(level) else None for level in levels)
    return dict(zip(stems.drawn, rounded, strict=True))
