"""BSSEval v4: how much of an estimate is target, filtered target, other sources, and neither.

BSSEval splits an estimate e of the source s into four signals::

    e = s + (P_s e - s) + (P e - P_s e) + (e - P e)
            spatial       interference    artefacts

P_s e is the closest signal to e that filters of 512 taps can make from the channels of s; P e is
the closest that they can make from all sources. The filters are found once for a whole song. Then
every window is filtered as if silence surrounded it, and its energies are compared::

    SDR = |s|^2 / |e - s|^2                  ISR = |s|^2 / |P_s e - s|^2
    SIR = |P_s e|^2 / |P e - P_s e|^2        SAR = |P e|^2 / |e - P e|^2

There are two passes over the song. The first adds up correlations. The second transforms every
window; by Parseval's theorem, the energies need no inverse transform.

Notes
-----
SDR and the undefined windows equal museval's for any song. ISR, SIR and SAR come from filters.
Where the references have frequencies without any sound (lossy files, low rates resampled to high
ones), they depend on rounding: museval gives other numbers for the same song with zeros after it,
and ours differ from both by about as much, even with exact correlations. To avoid this in the most
common case, a channel that is a mixture of the others gets no filters. A mono source that was
panned in single precision scores as if it were in the middle; museval gives it random numbers.

Above about 80 dB, and for estimates that are exact sums of filtered references, ISR, SIR and SAR
measure this rounding too.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from viso.metrics.blocks import Blocks, Signals, blocks_of, stacked, windows_of
from viso.metrics.projection import correlations, fast_length, filters
from viso.metrics.ratios import decibels, energy

__all__ = ["BssScores", "bss_eval", "bss_eval_blocks"]

Doubles = npt.NDArray[np.float64]
Spectra = npt.NDArray[np.complex128]


class BssScores(NamedTuple):
    """Four ratios in decibels, each a float64 array [shape=(sources, windows)].

    The ratios are ``nan`` in windows where a source or an estimate is silent.
    """

    sdr: Doubles
    isr: Doubles
    sir: Doubles
    sar: Doubles

    def medians(self) -> BssScores:
        """Return the median of every source over its windows [shape=(sources,)].

        Windows without a score are left out; the median is ``nan`` if no window has one.
        """
        return BssScores(*(_median(scores) for scores in self))


def _median(scores: Doubles) -> Doubles:
    defined = [row[~np.isnan(row)] for row in scores]
    return np.array([np.median(row) if row.size else np.nan for row in defined])


def bss_eval(
    references: Signals,
    estimates: Signals,
    *,
    rate_hz: int,
    window_s: float = 1.0,
    hop_s: float = 1.0,
    taps: int = 512,
) -> BssScores:
    """Score the estimates of all sources of a song by BSSEval v4.

    Parameters
    ----------
    references, estimates : real arrays [shape=(sources, channels, n)]
        Estimate j belongs to reference j.
    rate_hz : int
    window_s, hop_s : float
        Length of a window, and distance between the starts of two windows, in seconds. An
        incomplete last window is left out, unless it is the only one. ``inf`` means the whole song.
    taps : int
        Length of the distortion filters in samples.

    Returns
    -------
    BssScores
        The numbers of ``museval.evaluate(mode="v4")``. All sources get ``nan`` in a window where
        the channels of any source or estimate add up to zero at every sample: in silence, and where
        two channels are in exact antiphase. A perfect score is ``inf``. The module's notes tell how
        reliable the numbers are.

    Raises
    ------
    ValueError
        If the shapes do not fit, a length is not positive, or there is nothing to score.

    See Also
    --------
    bss_eval_blocks : the same for songs that are not in memory.

    References
    ----------
    F.-R. Stoter, A. Liutkus, N. Ito, "The 2018 Signal Separation Evaluation Campaign",
    LVA/ICA 2018.
    """
    blocks = blocks_of(references, estimates)
    return bss_eval_blocks(blocks, rate_hz=rate_hz, window_s=window_s, hop_s=hop_s, taps=taps)


def bss_eval_blocks(
    blocks: Blocks,
    *,
    rate_hz: int,
    window_s: float = 1.0,
    hop_s: float = 1.0,
    taps: int = 512,
) -> BssScores:
    """Score a song that comes in blocks; memory does not grow with its length.

    Parameters
    ----------
    blocks : callable
        Called twice. Each call returns an iterable of (references, estimates) from the start of the
        song to its end, two real arrays [shape=(sources, channels, n)] with any n. The sizes of the
        blocks do not change a bit of the result.
    rate_hz, window_s, hop_s, taps
        See `bss_eval`.

    Returns
    -------
    BssScores

    Raises
    ------
    ValueError
        See `bss_eval`; also if the second pass differs in shape or length.
    """
    window = _samples("window_s", window_s, rate_hz)
    hop = _samples("hop_s", hop_s, rate_hz)
    if taps < 1:
        raise ValueError(f"taps: {taps} is not positive")
    correlated, n_samples = correlations(stacked(blocks()), taps=taps)
    size, hop = int(min(window, n_samples)), int(min(hop, n_samples))
    projection = _Projection(correlated, size=size)
    scores = []
    for pair in windows_of(stacked(blocks()), size=size, hop=hop):
        if pair.shape[:3] != correlated.shape[:3]:
            raise ValueError(f"{pair.shape[1:3]} sources and channels in the second pass")
        scores.append(projection.scores(pair))
    expected = 1 + (n_samples - size) // hop
    if len(scores) != expected:
        raise ValueError(f"{len(scores)} windows in the second pass, {expected} in the first")
    return BssScores(*np.stack(scores, axis=2))


def _samples(name: str, length_s: float, rate_hz: int) -> float:
    length = length_s * rate_hz
    if not length >= 0.5:
        raise ValueError(f"{name}: {length_s} s is shorter than a sample at {rate_hz} Hz")
    return length if math.isinf(length) else max(1, round(length))


class _Projection:
    """The filters of a song, and the scores of its windows.

    Parameters
    ----------
    correlated : float64 array
        Result of `correlations` for references and estimates.
    size : int
        Length of a window in samples.
    """

    def __init__(self, correlated: Doubles, *, size: int) -> None:
        _, n_sources, n_channels, *_, taps = correlated.shape
        # Leave room for the tails of the filters, so that they do not wrap around.
        self._n_fft = fast_length(size + taps - 1)
        everything = correlated.reshape(2, n_sources * n_channels, -1, taps)
        self._all = self._spectra(filters(everything[0], everything[1]))
        self._own = [
            self._spectra(filters(correlated[0, j, :, j], correlated[1, j, :, j]))
            for j in range(n_sources)
        ]

    def _spectra(self, taps: Doubles) -> Spectra:
        return np.fft.rfft(taps, self._n_fft)

    def scores(self, pair: Doubles) -> Doubles:
        """Return SDR, ISR, SIR and SAR of a window in decibels [shape=(4, sources)].

        Parameters
        ----------
        pair : float64 array [shape=(2, sources, channels, size)]
            References and estimates.
        """
        if not pair.sum(axis=2).any(axis=2).all():
            return np.full((4, pair.shape[1]), np.nan)
        spectra = np.fft.rfft(pair, self._n_fft)
        flat = spectra[0].reshape(-1, spectra.shape[3])
        projected = _filtered(flat, self._all).reshape(spectra.shape[1:])
        columns = []
        for j, own in enumerate(self._own):
            truth, estimate, everything = spectra[0, j], spectra[1, j], projected[j]
            target = _filtered(truth, own)
            signal, error = energy(pair[0, j]), energy(pair[1, j] - pair[0, j])
            spatial, interference = target - truth, everything - target
            columns.append(
                [
                    decibels(signal, error),
                    decibels(signal, self._energy_of(spatial)),
                    decibels(self._energy_of(target), self._energy_of(interference)),
                    decibels(self._energy_of(everything), self._energy_of(estimate - everything)),
                ]
            )
        return np.array(columns).T

    def _energy_of(self, spectra: Spectra) -> float:
        # Every bin except the first and the last also counts for its mirror image.
        edges = energy(spectra[:, :: spectra.shape[1] - 1])
        return (2 * energy(spectra) - edges) / self._n_fft


def _filtered(spectra: Spectra, responses: Spectra) -> Spectra:
    """Filter inputs [shape=(inputs, bins)] by [shape=(inputs, outputs, bins)]; return the sum."""
    total: Spectra = responses[0] * spectra[0]
    for response, spectrum in zip(responses[1:], spectra[1:], strict=True):
        total += response * spectrum
    return total
