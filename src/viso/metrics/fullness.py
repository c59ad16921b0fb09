"""Bleedless and fullness: how much sound an estimate has in excess, and how much it lacks.

Both compare mel spectrograms in decibels, limited to 80 dB below their maximum. Where the estimate
is louder than the reference, other sound bleeds into it; where it is softer, it has a hole::

    bleedless = 100 / (1 + mean of the positive differences)
    fullness  = 100 / (1 - mean of the negative differences)

References
----------
The training toolkit of R. Solovyev (ZFTurbo), "Music-Source-Separation-Training", defines them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from viso.dsp.stft import Analysis, SpectralConfig

__all__ = ["Fullness", "fullness", "mel_filters"]

Floats = npt.NDArray[np.float32]

_N_FFT, _HOP, _N_MELS = 4096, 1024, 512
_RANGE_DB = 80.0
_SILENCE = 1e-10  # magnitude
_BLOCK = 256 * _HOP  # samples that are transformed at a time


class Fullness(NamedTuple):
    """Both figures, from 0 to 100; 100 is best."""

    bleedless: float
    fullness: float


def fullness(reference: Floats, estimate: Floats, *, rate_hz: int) -> Fullness:
    """Return bleedless and fullness of an estimate.

    Parameters
    ----------
    reference, estimate : float32 arrays [shape=(channels, n)]
    rate_hz : int

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if reference.shape != estimate.shape:
        raise ValueError(f"shapes {reference.shape} and {estimate.shape} differ")
    filters = mel_filters(rate_hz, n_fft=_N_FFT, n_mels=_N_MELS)
    difference = _mel_db(estimate, filters, rate_hz)
    difference -= _mel_db(reference, filters, rate_hz)
    above, below = difference[difference > 0], difference[difference < 0]
    bleed = float(above.mean(dtype=np.float64)) if above.size else 0.0
    holes = -float(below.mean(dtype=np.float64)) if below.size else 0.0
    return Fullness(100 / (1 + bleed), 100 / (1 + holes))


def mel_filters(rate_hz: int, *, n_fft: int, n_mels: int) -> Floats:
    """Return triangular filters of equal area on Slaney's mel scale, from 0 Hz to half the rate.

    Parameters
    ----------
    rate_hz : int
    n_fft : int
    n_mels : int

    Returns
    -------
    float32 array [shape=(n_mels, n_fft // 2 + 1)]

    References
    ----------
    M. Slaney, "Auditory Toolbox", 1998: linear below 1 kHz, logarithmic above.
    """
    edges = _hertz(np.linspace(0.0, _mels(rate_hz / 2), n_mels + 2))
    bins = np.fft.rfftfreq(n_fft, 1 / rate_hz)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rise, fall = (bins - low) / (centre - low), (high - bins) / (high - centre)
    filters = np.maximum(0.0, np.minimum(rise, fall)) * (2 / (high - low))
    return filters.astype(np.float32)


_LINEAR_HZ = 200 / 3  # hertz per mel, below the break
_BREAK_HZ = 1000.0
_STEP = np.log(6.4) / 27  # per mel, above the break


def _mels(hz: float) -> float:
    if hz < _BREAK_HZ:
        return hz / _LINEAR_HZ
    return float(_BREAK_HZ / _LINEAR_HZ + np.log(hz / _BREAK_HZ) / _STEP)


def _hertz(mels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    above = _BREAK_HZ * np.exp(_STEP * (mels - _BREAK_HZ / _LINEAR_HZ))
    hertz: npt.NDArray[np.float64] = np.where(
        mels * _LINEAR_HZ < _BREAK_HZ, mels * _LINEAR_HZ, above
    )
    return hertz


def _mel_db(signal: Floats, filters: Floats, rate_hz: int) -> Floats:
    """Return a mel spectrogram in decibels [shape=(channels, mels, frames)]."""
    config = SpectralConfig(rate_hz=rate_hz, n_fft=_N_FFT, hop=_HOP)
    analysis = Analysis(config, n_channels=len(signal))
    # The spectrum of a whole song takes eight times the memory of its mel spectrogram.
    starts = range(0, signal.shape[1], _BLOCK)
    spectra = (analysis.push(signal[:, start : start + _BLOCK]) for start in starts)
    blocks = [filters @ np.abs(frames) for frames in spectra]
    blocks.append(filters @ np.abs(analysis.finish()))
    levels = np.concatenate(blocks, axis=2)
    np.maximum(levels, _SILENCE, out=levels)
    np.log10(levels, out=levels)
    levels *= 20
    np.maximum(levels, levels.max() - np.float32(_RANGE_DB), out=levels)
    return levels
