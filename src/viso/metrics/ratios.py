"""Ratios of energies in decibels: over a whole song, over each second, at the best scale."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["SegmentSdr", "decibels", "energy", "segment_sdr", "si_sdr", "usdr"]

Doubles = npt.NDArray[np.float64]

_BLOCK = 1 << 16


class SegmentSdr(NamedTuple):
    """The SDR of every window in decibels, and the median over them.

    `sdr` is a float64 array [shape=(windows,)], ``nan`` where the reference is silent. `median`
    leaves these windows out; it is ``nan`` if no window remains.
    """

    sdr: Doubles
    median: float


def decibels(signal: float, noise: float) -> float:
    """Return ``10 log10(signal / noise)`` of two energies.

    ``inf`` for a signal without noise, ``-inf`` for noise alone, ``nan`` if both are zero.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(10 * np.log10(np.float64(signal) / np.float64(noise)))


def energy(signal: npt.NDArray[Any]) -> float:
    """Return the sum of squares of real or complex values."""
    total = 0.0
    for first in range(0, signal.shape[-1], _BLOCK):
        # Convert to double precision block by block: the whole may be a long song.
        part = signal[..., first : first + _BLOCK]
        wide = np.ravel(part.astype(np.result_type(part, np.float64), copy=False))
        total += float(np.vdot(wide, wide).real)
    return total


def usdr(reference: npt.NDArray[np.float32], estimate: npt.NDArray[np.float32]) -> float:
    """Return the signal-to-distortion ratio over a whole song, in decibels.

    ``10 log10(sum s^2 / sum (s - e)^2)`` over all samples and channels, as in the Music
    Demixing Challenge 2021.

    Parameters
    ----------
    reference, estimate : float32 arrays [shape=(channels, n)]

    Returns
    -------
    float
        ``inf`` for a perfect estimate, ``-inf`` for any sound against a silent reference, ``nan``
        if both are silent.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    _check(reference, estimate)
    signal = energy(reference)
    error = math.fsum(energy(one - other) for one, other in _pairs(reference, estimate))
    return decibels(signal, error)


def si_sdr(reference: npt.NDArray[np.float32], estimate: npt.NDArray[np.float32]) -> float:
    """Return the scale-invariant signal-to-distortion ratio over a whole song, in decibels.

    ``10 log10(sum (a s)^2 / sum (a s - e)^2)`` with the ``a = sum e s / sum s^2`` that leaves
    the least error. All channels form one long signal and share one scale, so a wrong balance
    between them counts as an error. Means are not subtracted.

    Parameters
    ----------
    reference, estimate : float32 arrays [shape=(channels, n)]

    Returns
    -------
    float
        ``nan`` if the reference is silent, that is, zero at every sample; ``-inf`` if the estimate
        contains nothing of it, such as silence; ``inf`` if the estimate contains nothing else.

    Raises
    ------
    ValueError
        If the shapes differ.

    References
    ----------
    J. Le Roux, S. Wisdom, H. Erdogan, J. R. Hershey, "SDR - half-baked or well done?",
    ICASSP 2019.
    """
    _check(reference, estimate)
    signal = sum(energy(s) for s, _ in _pairs(reference, estimate))
    if signal == 0:
        return math.nan
    scale = sum(float(np.vdot(s, e)) for s, e in _pairs(reference, estimate)) / signal
    if scale == 0:
        return -math.inf
    error = sum(energy(scale * s - e) for s, e in _pairs(reference, estimate))
    return decibels(scale * scale * signal, error)


def segment_sdr(
    reference: npt.NDArray[np.float32],
    estimate: npt.NDArray[np.float32],
    *,
    rate_hz: int,
    window_s: float = 1.0,
    silence_db: float = -60.0,
) -> SegmentSdr:
    """Return the signal-to-distortion ratio of every second, and its median.

    Parameters
    ----------
    reference, estimate : float32 arrays [shape=(channels, n)]
    rate_hz : int
    window_s : float
        Length of a window in seconds. Windows do not overlap; an incomplete last one is left out.
    silence_db : float
        A window is silent if the energy of its reference is zero, or at most this level in decibels
        relative to the reference's loudest window. ``-inf`` leaves out only zeros.

    Returns
    -------
    SegmentSdr
        ``inf`` for a perfect window. A silent estimate gives 0 dB: its error is as large as the
        reference.

    Raises
    ------
    ValueError
        If the shapes differ or a window is shorter than a sample.

    See Also
    --------
    usdr : the same ratio over the whole song.
    viso.metrics.bss_eval : has the same SDR, but leaves out fewer windows.
    """
    _check(reference, estimate)
    size = round(window_s * rate_hz)
    if size < 1:
        raise ValueError(f"window_s: {window_s} s is shorter than a sample at {rate_hz} Hz")
    parts = [slice(k * size, (k + 1) * size) for k in range(reference.shape[1] // size)]
    signals = [energy(reference[:, part]) for part in parts]
    threshold = max(signals, default=0.0) * 10 ** (silence_db / 10)
    sdr = np.full(len(parts), np.nan)
    for k, (part, signal) in enumerate(zip(parts, signals, strict=True)):
        if signal > threshold:
            error = energy(reference[:, part].astype(np.float64) - estimate[:, part])
            sdr[k] = decibels(signal, error)
    heard = sdr[~np.isnan(sdr)]
    return SegmentSdr(sdr, float(np.median(heard)) if heard.size else math.nan)


def _check(reference: npt.NDArray[Any], estimate: npt.NDArray[Any]) -> None:
    if reference.shape != estimate.shape:
        raise ValueError(f"reference has shape {reference.shape}, estimate {estimate.shape}")


def _pairs(
    reference: npt.NDArray[Any], estimate: npt.NDArray[Any]
) -> Iterator[tuple[Doubles, Doubles]]:
    for first in range(0, reference.shape[1], _BLOCK):
        part = slice(first, first + _BLOCK)
        yield reference[:, part].astype(np.float64), estimate[:, part].astype(np.float64)
