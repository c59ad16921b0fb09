"""Intervals, corrections and correlations, in numpy alone."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "FEWEST_GROUPS",
    "Correlation",
    "Interval",
    "binomial_p",
    "correlate",
    "holm",
    "mean_interval",
    "share_interval",
    "t_quantile",
]

Doubles = npt.NDArray[np.float64]

FEWEST_GROUPS = 4
"""With fewer songs, the interval of a correlation holds the truth less often than it claims."""
_PERFECT = 1 - 1e-9  # a correlation of 1, apart from rounding


class Interval(NamedTuple):
    """A figure and its 95 % interval; the bounds are ``nan`` if there is too little data."""

    value: float
    low: float
    high: float


class Correlation(NamedTuple):
    """Correlation of ratings with a measure: Pearson's and Spearman's, over `n` points."""

    pearson: Interval
    spearman: Interval
    n: int


@functools.cache
def t_quantile(p: float, *, freedom: int) -> float:
    """Return the quantile `p` of Student's t distribution.

    The search is a bisection with Simpson's rule over the angle ``atan(t / sqrt(freedom))``, which
    is finite. The result is exact to 1e-9.

    Parameters
    ----------
    p : float
        At least 0.5, below 1.
    freedom : int
        Degrees of freedom, at least 1.

    Examples
    --------
    >>> round(t_quantile(0.975, freedom=9), 4)
    2.2622
    """
    log_scale = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)
    scale = math.exp(log_scale) / math.sqrt(math.pi)
    weights = np.ones(2001)
    weights[1:-1:2], weights[2:-1:2] = 4, 2

    def above_half(angle: float) -> float:
        heights = np.cos(np.linspace(0, angle, 2001)) ** (freedom - 1)
        return scale * angle / 6000 * float(weights @ heights)

    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if above_half(middle) < p - 0.5 else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def mean_interval(values: Doubles) -> Interval:
    """Return the mean of independent values and its 95 % interval, by Student's t.

    Parameters
    ----------
    values : float64 array [shape=(n,)]
    """
    if not values.size:
        return Interval(math.nan, math.nan, math.nan)
    mean = float(values.mean())
    if values.size < 2:
        return Interval(mean, math.nan, math.nan)
    error = float(values.std(ddof=1)) / math.sqrt(values.size)
    half = t_quantile(0.975, freedom=values.size - 1) * error
    return Interval(mean, mean - half, mean + half)


def share_interval(hits: int, n: int) -> Interval:
    """Return a share and its 95 % interval (Wilson 1927)."""
    if not n:
        return Interval(math.nan, math.nan, math.nan)
    z = 1.959963984540054
    share = hits / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At the ends, use the exact bounds, without rounding errors.
    low = middle - half if hits else 0.0
    return Interval(share, low, middle + half if hits < n else 1.0)


def binomial_p(hits: int, n: int) -> float:
    """Return the probability that guessing gives at least `hits` hits of `n`.

    Examples
    --------
    >>> binomial_p(3, 3)
    0.125
    """
    return sum(math.comb(n, k) for k in range(hits, n + 1)) / (1 << n)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979), in the given order.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected = [0.0] * len(p_values)
    so_far = 0.0
    for rank, index in enumerate(order):
        so_far = max(so_far, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = so_far
    return corrected


def _ranks(values: Doubles, weights: Doubles) -> Doubles:
    """Return the rank of every value in each sample; equal values share their rank.

    Parameters
    ----------
    values : float64 array [shape=(n,)]
    weights : float64 array [shape=(samples, n)]
        How often each sample holds each value.

    Returns
    -------
    float64 array [shape=(samples, n)]
    """
    distinct, places = np.unique(values, return_inverse=True)
    counts = weights @ np.eye(distinct.size)[places]
    return np.asarray((np.cumsum(counts, axis=1) - counts / 2)[:, places])


def _pearson(x: Doubles, y: Doubles, weights: Doubles) -> Doubles:
    """Return the correlation in every sample [shape=(samples,)]; ``nan`` without spread."""
    total = weights.sum(axis=1, keepdims=True)
    x = x - (weights * x).sum(axis=1, keepdims=True) / total
    y = y - (weights * y).sum(axis=1, keepdims=True) / total
    power = (weights * x * x).sum(axis=1) * (weights * y * y).sum(axis=1)
    scale = float(np.abs(x).max() * np.abs(y).max()) ** 2
    # Equal values leave only rounding errors.
    power[power <= 1e-24 * scale] = np.nan
    return np.asarray((weights * x * y).sum(axis=1) / np.sqrt(power))


def correlate(x: Doubles, y: Doubles, groups: Sequence[str]) -> Correlation:
    """Return the correlation of two measures, with intervals over groups.

    Points of one song are not independent, so the jackknife leaves out whole songs in turn. It
    works on Fisher's scale, where the spread does not depend on the value. A bootstrap over fewer
    than about 30 songs gives intervals that are far too narrow.

    Parameters
    ----------
    x, y : float64 arrays [shape=(n,)]
    groups : sequence of str
        The group of each point, such as its song.

    Returns
    -------
    Correlation
        ``nan`` if there are fewer than 3 points or no spread. The bounds are ``nan`` if there are
        fewer than `FEWEST_GROUPS` groups, if the correlation is 1 or -1, or if it has no value
        without one of the groups.
    """
    nothing = Interval(math.nan, math.nan, math.nan)
    if x.size < 3:
        return Correlation(nothing, nothing, x.size)
    names = sorted(set(groups))
    of = np.array([names.index(group) for group in groups])
    # The first sample holds all groups; each other sample lacks one.
    lacking = 1 - np.eye(len(names)) if len(names) >= FEWEST_GROUPS else np.empty((0, len(names)))
    weights = np.concatenate([np.ones((1, len(names))), lacking])[:, of]
    pearson = _pearson(x[None], y[None], weights)
    spearman = _pearson(_ranks(x, weights), _ranks(y, weights), weights)
    return Correlation(_jackknifed(pearson), _jackknifed(spearman), x.size)


def _jackknifed(samples: Doubles) -> Interval:
    """Return the first correlation, with its interval from the others."""
    value, n = float(samples[0]), samples.size - 1
    nowhere = Interval(value, math.nan, math.nan)
    if n < FEWEST_GROUPS or not np.isfinite(samples).all() or abs(value) >= _PERFECT:
        return nowhere
    middle, *others = np.arctanh(np.clip(samples, -_PERFECT, _PERFECT))
    spread = np.square(others - np.mean(others)).sum()
    half = t_quantile(0.975, freedom=n - 1) * math.sqrt((n - 1) / n * spread)
    return Interval(value, math.tanh(middle - half), math.tanh(middle + half))
