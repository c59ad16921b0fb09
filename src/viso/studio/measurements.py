"""What the page shows of a job, measured by its worker in one pass through the stems."""

from __future__ import annotations

import numpy as np

from viso.dsp.loudness import LoudnessMeter
from viso.separator import STEMS
from viso.studio import peaks
from viso.studio.peaks import PeakMeter
from viso.studio.stem_store import BITS, Masters

__all__ = ["measure"]

_BLOCK = 1 << 18


def measure(masters: Masters) -> dict[str, float | None] | None:
    """Write the peaks beside the stems, return the loudness.

    Returns
    -------
    dict of str to float or None
        See `LoudnessMeter.finish`.

    Raises
    ------
    AudioError
        If the stems are gone.
    """
    loudness = LoudnessMeter(rate_hz=masters.rate_hz, n_channels=masters.n_channels)
    found = PeakMeter()
    for start in range(0, masters.n_samples, _BLOCK):
        both = np.stack([masters.integers(stem, start, start + _BLOCK) for stem in STEMS])
        found.push(np.concatenate([both.sum(axis=0, dtype=np.int32)[None], both]))
        loudness.push((both / np.float32(1 << (BITS - 1))).astype(np.float32).transpose(0, 2, 1))
    np.save(masters.folder / peaks.FILE, found.finish())
    return loudness.finish()
