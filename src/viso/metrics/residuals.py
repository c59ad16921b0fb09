"""The metric of the student design that viso began as: cancel the truth and listen to the rest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from viso.dsp.stft import Analysis, SpectralConfig
from viso.metrics.ratios import usdr

__all__ = ["Residual", "residual"]

Floats = npt.NDArray[np.float32]

_BLOCK = 1 << 16


class Residual(NamedTuple):
    """What remains of an estimate after the truth is subtracted.

    `signal` is a float32 array [shape=(channels, n)]. `level_db` is its energy relative to the
    reference's, in decibels. `spectral_difference` is a mean amplitude (see `residual`).
    """

    signal: Floats
    level_db: float
    spectral_difference: float


def residual(reference: Floats, estimate: Floats, *, config: SpectralConfig) -> Residual:
    """Invert the phase of the true vocals, add the predicted ones, and measure what remains.

    Parameters
    ----------
    reference, estimate : float32 arrays [shape=(channels, n)]
    config : SpectralConfig
        Transform of the spectrograms to compare.

    Returns
    -------
    Residual
        `level_db` is ``10 log10(sum (e - s)^2 / sum s^2)``, which is minus `usdr`. Lower is better:
        ``-inf`` is perfect, ``inf`` is sound against a silent reference, ``nan`` means that both
        are silent. `spectral_difference` is the mean of ``| |S| - |E| |`` over channels, bins and
        frames, in units where a sine of amplitude 1 has a magnitude of 1 in its bin; it ignores
        phases.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    level_db = -usdr(reference, estimate)
    n_channels, n_samples = reference.shape
    analysis = Analysis(config, n_channels=2 * n_channels)
    total, n_values = 0.0, 0
    for first in range(0, n_samples + 1, _BLOCK):
        part = slice(first, first + _BLOCK)
        both = np.concatenate([reference[:, part], estimate[:, part]]).astype(np.float32)
        last = first + _BLOCK > n_samples
        for frames in [analysis.push(both)] + ([analysis.finish()] if last else []):
            magnitudes = np.abs(frames)
            difference = np.abs(magnitudes[:n_channels] - magnitudes[n_channels:])
            total += float(difference.sum(dtype=np.float64))
            n_values += difference.size
    return Residual(estimate - reference, level_db, total / n_values * 4 / config.n_fft)
