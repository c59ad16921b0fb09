"""The multichannel Wiener filter: makes estimates agree with their sources' spatial covariance.

Every source j is a local Gaussian. In bin f and frame t it has the covariance v_j(f, t) R_j(f):
v is its power, and R its spatial covariance, its position in the stereo image. Both are computed
from the estimate of the source. Filtering the mixture x with them gives new estimates, from which
the next iteration computes both again::

    v_j = |y_j|^2 / channels
    R_j = sum_t y_j y_j^H / (e + sum_t v_j)
    y_j = v_j R_j (sum_k v_k R_k + sqrt(e) I)^-1 x

e is the rounding unit of float64, for a mixture whose loudest bin is 10. Louder mixtures are
scaled down to that and back up.

References
----------
S. Uhlich et al., "Improving music source separation based on deep neural networks through data
augmentation and network blending", ICASSP 2017.
A. A. Nugraha, A. Liutkus, E. Vincent, "Multichannel music separation with deep neural networks",
EUSIPCO 2016: this form of the expectation-maximisation.
N. Q. K. Duong, E. Vincent, R. Gribonval, "Under-determined reverberant audio source separation
using a full-rank spatial covariance model", IEEE TASLP 18(7), 2010: the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["expectation_maximisation"]

Reals = npt.NDArray[np.float64]
Wide = npt.NDArray[np.complex128]
Spectra = TypeVar("Spectra", npt.NDArray[np.complex64], npt.NDArray[np.complex128])
Filter = Callable[[Wide, Reals, int], Wide]

_EPS = float(np.finfo(np.float64).eps)
_FLOOR = _EPS**0.5
_LOUDEST = 10.0
# Bins times frames processed at a time: these fit in the cache.
_VALUES_AT_ONCE = 1 << 14


def expectation_maximisation(
    estimates: Spectra,
    mixture: Spectra,
    *,
    iterations: int = 1,
    loudest: float | None = None,
    n_wanted: int | None = None,
) -> Spectra:
    """Return the estimates, filtered to agree with their sources' spatial covariance.

    Parameters
    ----------
    estimates : complex array [shape=(sources, channels, bins, frames)]
        Of all sources; their sum is about the mixture.
    mixture : complex array [shape=(channels, bins, frames)]
    iterations : int
    loudest : float, optional
        The magnitude that is scaled to 10. By default that of the mixture's loudest bin, or 10
        if that is more. Sound that is weaker by 98 dB counts as noise and fades.
    n_wanted : int, optional
        How many sources to return, from the first one; all by default.

    Returns
    -------
    complex array [shape=(sources, channels, bins, frames)]
        Of the mixture's dtype; the filter itself works in float64.
    """
    if loudest is None:
        loudest = max(_LOUDEST, float(np.abs(mixture).max(initial=0.0)))
    # From the energy of all channels to their mean, scaled so that the loudest bin is 10.
    unit = (_LOUDEST / loudest) ** 2 / len(mixture)
    x = mixture.swapaxes(1, 2)
    y = np.array(estimates.swapaxes(2, 3), dtype=mixture.dtype, order="C")
    for left in reversed(range(iterations)):
        count = n_wanted if n_wanted and not left else len(y)
        separated = _filter(np.stack([_place(source, unit) for source in y]))
        for part in _portions(x):
            before = y[:, :, part].astype(np.complex128)
            powers = unit * (before.real**2 + before.imag**2).sum(axis=1)
            y[:count, :, part] = separated(x[:, part].astype(np.complex128), powers, count)
    return y[:n_wanted].swapaxes(2, 3)


def _portions(spectrum: npt.NDArray[Any]) -> Iterator[slice]:
    """Yield the frames of a spectrum [shape=(channels, frames, bins)] a few at a time."""
    _, n_frames, n_bins = spectrum.shape
    step = -(-_VALUES_AT_ONCE // max(1, n_bins))
    return (slice(first, first + step) for first in range(0, n_frames, step))


def _place(source: npt.NDArray[Any], unit: float) -> Wide:
    """Return R [shape=(channels, channels, bins)] of a source [shape=(channels, frames, bins)]."""
    n = len(source)
    place = np.zeros((n, n, source.shape[2]), np.complex128)
    for part in _portions(source):
        wide = source[:, part].astype(np.complex128)
        for a in range(n):
            for b in range(a, n):
                place[a, b] += (wide[a] * wide[b].conj()).sum(axis=0)
    for a in range(n):
        for b in range(a):
            place[a, b] = place[b, a].conj()
    place *= unit * n / (_EPS + unit * np.trace(place).real)
    return place


def _filter(places: Wide) -> Filter:
    """Return the filter for the R of all sources.

    Parameters
    ----------
    places : complex128 array [shape=(sources, channels, channels, bins)]

    Returns
    -------
    callable
        Takes a mixture [shape=(channels, frames, bins)], v [shape=(sources, frames, bins)] and
        the number of sources to return, from the first one.
    """
    return {1: _mono, 2: _stereo}.get(places.shape[1], _any_channels)(places)


def _mono(places: Wide) -> Filter:
    place = places[:, 0].real

    def separated(x: Wide, powers: Reals, count: int) -> Wide:
        parts = powers * place
        gains: Reals = parts[:count] / (parts.sum(axis=0) + _FLOOR)
        return gains[:, None] * x

    return separated


def _stereo(places: Wide) -> Filter:
    """Return the filter for two channels; precompute all that does not change in time.

    For C = sum_k v_k R_k + q I and the adjugates A_k = tr(R_k) I - R_k::

        det C = q^2 + sum_j v_j (v_j det R_j + q tr R_j + sum_{k>j} v_k tr(R_j A_k))
        R_j C^-1 = (v_j det R_j I + q R_j + sum_{k!=j} v_k R_j A_k) / det C

    The formula for det C subtracts nothing. So sources in the same position, whose C is nearly
    singular, keep their digits.
    """
    left, right, cross = places[:, 0, 0].real, places[:, 1, 1].real, places[:, 0, 1]
    own = np.maximum(left * right - (cross.real**2 + cross.imag**2), 0)
    adjugates = np.stack([np.stack([right, -cross]), np.stack([-cross.conj(), left])])
    pairs = np.einsum("jabf,bckf->jkacf", places, adjugates)
    traces, shared = left + right, np.maximum(np.trace(pairs, axis1=2, axis2=3).real, 0)
    floors = _FLOOR * places
    sources = range(len(places))

    def separated(x: Wide, powers: Reals, count: int) -> Wide:
        determinant = np.full(powers.shape[1:], _FLOOR**2)
        for j in sources:
            rest = powers[j] * own[j] + _FLOOR * traces[j]
            for k in sources[j + 1 :]:
                rest += powers[k] * shared[j, k]
            determinant += powers[j] * rest
        y = np.empty((count, *x.shape), np.complex128)
        for j in sources[:count]:
            np.multiply(powers[j] * own[j], x, out=y[j])
            y[j] += _product(floors[j], x)
            for k in (k for k in sources if k != j):
                y[j] += powers[k] * _product(pairs[j, k], x)
            y[j] *= powers[j] / determinant
        return y

    return separated


def _product(matrices: Wide, x: Wide) -> Wide:
    """Return the product of [shape=(2, 2, bins)] and [shape=(2, frames, bins)]."""
    product: Wide = matrices[:, 0, None] * x[0]
    product += matrices[:, 1, None] * x[1]
    return product


def _any_channels(places: Wide) -> Filter:
    matrices = places.transpose(0, 3, 1, 2)
    floor = _FLOOR * np.eye(places.shape[1])

    def separated(x: Wide, powers: Reals, count: int) -> Wide:
        parts = powers[..., None, None] * matrices[:, None]
        solved = np.linalg.solve(parts.sum(axis=0) + floor, x.transpose(1, 2, 0)[..., None])
        filtered: Wide = (parts[:count] @ solved)[..., 0].transpose(0, 3, 1, 2)
        return filtered

    return separated
