"""Normalised SDR: how much better an estimate is than the mixture, over all songs of a set.

The papers below use the SDR of BSSEval version 3, `bss_eval_sources`: whatever filters of 512 taps
can make from the true source counts as correct. P_s e is the closest signal to an estimate e that
such filters make from the channels of s::

    SDR = |P_s e|^2 / |e - P_s e|^2

One set of filters serves the whole song. This is neither the SDR of version 4 (`bss_eval`) nor
`usdr`: here a wrong tone colour or balance costs nothing.

References
----------
P.-S. Huang, M. Kim, M. Hasegawa-Johnson, P. Smaragdis, "Joint optimization of masks and deep
recurrent neural networks for monaural source separation", IEEE/ACM TASLP 23(12), 2015.
K. W. E. Lin, B. T. Balamurali, E. Koh, S. Lui, D. Herremans, "Singing voice separation using a
deep convolutional neural network trained by ideal binary mask and cross entropy", Neural
Computing and Applications, 2018 (arXiv 1812.01278).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from viso.metrics.projection import correlations, filters
from viso.metrics.ratios import decibels, energy

__all__ = ["gnsdr", "nsdr", "sdr_v3"]

Signals = npt.NDArray[Any]

_BLOCK = 1 << 16


def sdr_v3(reference: Signals, estimate: Signals, *, taps: int = 512) -> float:
    """Return the SDR of BSSEval v3 (``bss_eval_sources``) over a whole song, in decibels.

    Parameters
    ----------
    reference, estimate : real arrays [shape=(channels, n)]
        Each channel of the estimate may contain all channels of the reference.
    taps : int
        Length of the filters in samples.

    Returns
    -------
    float
        ``nan`` if the reference is silent; ``-inf`` if the estimate is silent or contains nothing
        of the reference. Above about 120 dB, rounding decides, up to ``inf``.

    Raises
    ------
    ValueError
        If the shapes differ, there are no samples, or some are not finite.
    """
    return _scores([reference, estimate], taps=taps)[0]


def nsdr(reference: Signals, estimate: Signals, mixture: Signals, *, taps: int = 512) -> float:
    """Return the estimate's `sdr_v3` minus the mixture's, in decibels.

    Parameters
    ----------
    reference, estimate, mixture : real arrays [shape=(channels, n)]
    taps : int
        Length of the filters in samples.

    Returns
    -------
    float
        ``nan`` if the reference is silent, ``-inf`` if the estimate is.

    Raises
    ------
    ValueError
        See `sdr_v3`.
    """
    of_estimate, of_mixture = _scores([reference, estimate, mixture], taps=taps)
    return of_estimate - of_mixture


def gnsdr(scores: Iterable[float], n_samples: Iterable[int]) -> float:
    """Return the global NSDR: the mean over songs, weighted by their lengths.

    Parameters
    ----------
    scores : iterable of float
        `nsdr` of every song in decibels.
    n_samples : iterable of int
        Length of every song.

    Returns
    -------
    float
        Songs whose score is ``nan`` are left out; ``nan`` if no song remains.

    Raises
    ------
    ValueError
        If there are not as many lengths as scores, or a length is not positive.
    """
    total = weight = 0.0
    for score, n in zip(scores, n_samples, strict=True):
        if not n > 0:
            raise ValueError(f"n_samples: {n} is not the length of a song")
        if not math.isnan(score):
            total += n * score
            weight += n
    return total / weight if weight else math.nan


def _scores(signals: list[Signals], *, taps: int) -> list[float]:
    """Return the SDR of all signals but the first, which is the reference."""
    shapes = [signal.shape for signal in signals]
    if len(set(shapes)) > 1 or len(shapes[0]) != 2:
        raise ValueError(f"shapes {shapes} are not one shape (channels, samples)")
    if taps < 1:
        raise ValueError(f"taps: {taps} is not positive")

    def blocks() -> Iterator[Signals]:
        for first in range(0, shapes[0][1], _BLOCK):
            yield np.stack([signal[:, first : first + _BLOCK] for signal in signals])[:, None]

    correlated, _ = correlations(blocks(), taps=taps)
    auto, *crosses = correlated[:, 0, :, 0]
    if not auto.any():
        return [math.nan] * len(crosses)
    scores = []
    for signal, cross in zip(signals[1:], crosses, strict=True):
        # The energy of a projection equals its correlation with the projected signal.
        explained = float(np.sum(filters(auto, cross) * cross.transpose(1, 0, 2)))
        scores.append(_ratio(explained, energy(signal)))
    return scores


def _ratio(explained: float, total: float) -> float:
    if explained <= 0:
        return -math.inf
    return decibels(explained, max(0.0, total - explained))
