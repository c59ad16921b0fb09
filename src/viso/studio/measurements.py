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


def measure(stem_store: StemStore) -> dict[str, float | None] | None:
    """Write the peaks beside the stems, return the loudness.

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
    n_channels = stem_store.n_channels
    meter = None
    if n_channels <= 2:
        meter = LoudnessMeter(
            rate_hz=stem_store.rate_hz, n_channels=n_channels, n_signals=len(ALL_STEMS)
        )
    found = PeakMeter()
    for start in range(0, stem_store.n_samples, _BLOCK):
        both = np.stack([stem_store.integers(stem, start, start + _BLOCK) for stem in STEMS])
        signals = np.concatenate([both.sum(axis=0, dtype=np.int32)[None], both])
        found.push(signals)
        if meter is not None:
            floats = (signals / np.float32(1 << (BITS - 1))).astype(np.float32)
            meter.push(floats.transpose(0, 2, 1))
    np.save(stem_store.folder / peaks.FILE, found.finish())
    levels = None if meter is None else meter.finish()
    if levels is None:
        return None
    rounded = (round(level, 2) if math.isfinite(level) else None for level in levels)
    return dict(zip(ALL_STEMS, rounded, strict=True))
