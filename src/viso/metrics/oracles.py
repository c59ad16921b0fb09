"""What the best mask, or the best Wiener filter, of a kind would give: bounds, not estimates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from viso.config import SpectralConfig
from viso.spectral import istft, stft

__all__ = ["oracle", "oracle_wiener"]

Floats = npt.NDArray[np.float32]
Complexes = npt.NDArray[np.complex64]
MaskOf = Callable[[npt.NDArray[Any], npt.NDArray[Any]], Floats]

# Bins filtered at a time, so that the wide numbers of a whole song are never all there.
_BINS = 32


def oracle(
    vocals: Floats, instrumental: Floats, *, config: SpectralConfig, mask_of: MaskOf
) -> Floats:
    """Return the vocals that a mask made from the truth takes out of the mixture.

    Parameters
    ----------
    vocals, instrumental : float32 arrays [shape=(channels, n)]
    config : SpectralConfig
    mask_of : callable
        From the complex spectra of both to a mask, such as `viso.masking.ratio_mask`.

    Returns
    -------
    float32 array [shape=(channels, n)]

    See Also
    --------
    oracle_wiener : a filter that also uses where a source is in the stereo image.
    """
    target, other = stft(vocals, config=config), stft(instrumental, config=config)
    masked = (target + other) * mask_of(target, other)
    return istft(masked, config=config, n_samples=vocals.shape[1])


def oracle_wiener(vocals: Floats, instrumental: Floats, *, config: SpectralConfig) -> Floats:
    """Return the vocals that a multichannel Wiener filter made from the truth takes out.

    Both sources are taken as full-rank local Gaussians: in bin f and frame t the spectrum s of
    a source has the covariance ``v(f, t) R(f)``, v its power and R its place in the image::

        v(f, t) = |s(f, t)|^2 / channels
        R(f)    = sum_t s s^H / sum_t v
        y       = v R (v R + v' R')^-1 x

    with the other source's v' and R', the mixture x, and all of them from the truth. With one
    channel this is the ratio mask of power 2.

    Parameters
    ----------
    vocals, instrumental : float32 arrays [shape=(channels, n)]
    config : SpectralConfig

    Returns
    -------
    float32 array [shape=(channels, n)]

    References
    ----------
    N. Q. K. Duong, E. Vincent, R. Gribonval, "Under-determined reverberant audio source
    separation using a full-rank spatial covariance model", IEEE TASLP 18(7), 2010.
    F.-R. Stoter, A. Liutkus, N. Ito, "The 2018 Signal Separation Evaluation Campaign",
    LVA/ICA 2018 (the oracle MWF).
    """
    target, other = stft(vocals, config=config), stft(instrumental, config=config)
    for first in range(0, target.shape[1], _BINS):
        part = slice(first, first + _BINS)
        target[:, part] = _wiener(target[:, part], other[:, part])
    return istft(target, config=config, n_samples=vocals.shape[1])


def _wiener(target: Complexes, other: Complexes) -> Complexes:
    """Filter the sum of two spectra [shape=(channels, bins, frames)].

    Two covariances can be made diagonal together. Along those directions the filter is a mask
    like any other, so there is no inverse for every bin and frame, and nothing to go wrong
    where a source is mono and its R has no inverse.
    """
    powers, places = zip(*(_gaussian(s) for s in (target, other)), strict=True)
    both = places[0] + places[1]
    size, axes = np.linalg.eigh(both)
    floor = size[:, -1:] * size.shape[1] * np.finfo(np.float64).eps
    scale = np.divide(1, np.sqrt(np.maximum(size, 0)), out=np.zeros_like(size), where=size > floor)
    whitening = axes * scale[:, None, :]
    # In [0, 1]: how much of what lies in a direction is the target's.
    share, turn = np.linalg.eigh(_adjoint(whitening) @ places[0] @ whitening)
    share = np.clip(share, 0, 1)[:, :, None]
    directions = whitening @ turn
    wanted, rest = share * powers[0][:, None], (1 - share) * powers[1][:, None]
    total = wanted + rest
    gain = np.divide(wanted, total, out=np.full_like(total, 0.5), where=total > 0)
    mixture = (target + other).transpose(1, 0, 2)
    filtered = both @ directions @ (gain * (_adjoint(directions) @ mixture))
    return np.asarray(filtered.transpose(1, 0, 2), np.complex64)


def _gaussian(
    source: Complexes,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.complex128]]:
    """Return v [shape=(bins, frames)] and R [shape=(bins, channels, channels)] of a source."""
    wide = source.transpose(1, 0, 2).astype(np.complex128)
    power = np.mean(wide.real**2 + wide.imag**2, axis=1)
    total = power.sum(axis=1)[:, None, None]
    covariance = wide @ _adjoint(wide)
    return power, np.divide(covariance, total, out=np.zeros_like(covariance), where=total > 0)


def _adjoint(matrices: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
    return matrices.conj().swapaxes(1, 2)
