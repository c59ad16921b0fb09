"""What the page shows of a job, measured by its worker in one pass through the stems."""

from __future__ import annotations

import math

import numpy as np

from viso.dsp.loudness import LoudnessMeter
from viso.separator import STEMS
from viso.studio import peaks
from viso.studio.peaks import PeakMeter
from viso.studio.stem_store import ALL_STEMS, BITS, StemStore

__all__ = ["measure"]

_BLOCK = 1 << 18


def measure(stems: StemStore) -> dict[str, float | None] | None:
    """Write the peaks beside the stems and return the loudness.

    Returns
    -------
    dict of str to float or None
        Integrated loudness of mixture, vocals and instrumental in LUFS, to two decimals; None for
        a silent stem. None at all for less than 400 ms, or more than two channels.

    Raises
    ------
    AudioError
        If the stems are gone.
    """
    n_channels = stems.n_channels
    loudness = None
    if n_channels <= 2:
        loudness = LoudnessMeter(
            rate_hz=stems.rate_hz, n_channels=n_channels, n_signals=len(ALL_STEMS)
        )
    peak_meter = PeakMeter()
    for start in range(0, stems.n_samples, _BLOCK):
        both = np.stack([stems.integers(stem, start, start + _BLOCK) for stem in STEMS])
        signals = np.concatenate([both.sum(axis=0, dtype=np.int32)[None], both])
        peak_meter.push(signals)
        if loudness is not None:
            floats = (signals / np.float32(1 << (BITS - 1))).astype(np.float32)
            loudness.push(floats.transpose(0, 2, 1))
    np.save(stems.folder / peaks.FILE, peak_meter.finish())
    levels = None if loudness is None else loudness.finish()
    if levels is None:
        return None
    rounded = (round(level, 2) if math.isfinite(level) else None for level in levels)
    return dict(zip(ALL_STEMS, rounded, strict=True))
