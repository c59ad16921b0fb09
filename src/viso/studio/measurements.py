"""The loudness and peaks that the page shows; a worker measures both in one pass of the stems."""

from __future__ import annotations

import numpy as np

from viso.dsp.loudness import LoudnessMeter
from viso.separator import STEMS
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
        See `LoudnessMeter.finish`.

    Raises
    ------
    AudioError
        If the stems are gone.
    """
    loudness = LoudnessMeter(rate_hz=stems.rate_hz, n_channels=stems.n_channels)
    meter = PeakMeter()
    for start in range(0, stems.n_samples, _BLOCK):
        both = np.stack([stems.integers(stem, start, start + _BLOCK) for stem in STEMS])
        meter.push(np.concatenate([both.sum(axis=0, dtype=np.int32)[None], both]))
        loudness.push((both / np.float32(1 << (BITS - 1))).astype(np.float32).transpose(0, 2, 1))
    np.save(stems.folder / peaks.FILE, meter.finish())
    return loudness.finish()
