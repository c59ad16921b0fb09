"""The projection of a signal: what filters can make of the true sources, by least squares.

With L taps and references s_q, the projection of an estimate e is ``sum_q sum_k c_q(k) s_q(n - k)``
with the c that minimise the energy of the error. They solve the normal equations::

    sum_q' sum_b <s_q(n - a), s_q'(n - b)> c_q'(b) = <s_q(n - a), e(n)>     for all q, a

The matrix is Toeplitz in a and b. All of its entries are correlations up to lag L - 1. They add up
over a song block by block; the filters need nothing else of the song.

References
----------
E. Vincent, R. Gribonval, C. Fevotte, "Performance measurement in blind audio source
separation", IEEE Trans. Audio, Speech and Language Processing 14(4), 2006.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from viso.metrics.blocks import Signals, windows_of

__all__ = ["correlations", "fast_length", "filters", "gram"]

Doubles = npt.NDArray[np.float64]

_EPS = float(np.finfo(np.float64).eps)


def correlations(blocks: Iterable[Signals], *, taps: int) -> tuple[Doubles, int]:
    """Return the correlations of references and other signals with the delayed references.

    In the frequency domain, each block of new samples is multiplied with the references in that
    block and in the ``taps - 1`` samples before it. The products of all blocks are added up before
    the only inverse transform, so memory does not depend on the length.

    Parameters
    ----------
    blocks : iterable of arrays [shape=(groups, sources, channels, n)]
        The first group holds the references.
    taps : int

    Returns
    -------
    float64 array [shape=(groups, sources, channels, sources, channels, taps)]
        At [g, p, q, k], the sum over n of ``y_gp(n) y_0q(n - k)``; p and q each stand for a source
        and a channel.
    n_samples : int
        Length of the signals.

    Raises
    ------
    ValueError
        If there are no samples, or some are not finite.
    """
    size, lead = max(1 << 12, 1 << (32 * taps - 1).bit_length()), taps - 1
    total: npt.NDArray[np.complex128] | None = None
    n_samples = 0

    def counted() -> Iterator[Signals]:
        nonlocal n_samples
        for block in blocks:
            n_samples += block.shape[-1]
            yield block

    shape: tuple[int, ...] = ()
    for window in windows_of(counted(), size=size, hop=size - lead, lead=lead, rest=True):
        shape = window.shape[:3]
        new = window.reshape(shape[0], -1, size).copy()
        delayed = np.conj(np.fft.rfft(new[0]))
        new[:, :, :lead] = 0
        spectra = np.fft.rfft(new)
        if total is None:
            total = np.zeros((*spectra.shape[:2], *delayed.shape), np.complex128)
        for q, reference in enumerate(delayed):
            total[:, :, q] += spectra * reference
    if total is None:
        raise ValueError("no samples to score")
    if not np.isfinite(total).all():
        raise ValueError("the song has samples that are not finite")
    found = np.fft.irfft(total, n=size)[..., :taps]
    return found.reshape(*shape, *shape[1:], taps), n_samples


def gram(correlated: Doubles) -> Doubles:
    """Return the matrix of the normal equations.

    Parameters
    ----------
    correlated : float64 array [shape=(q, q, taps)]
        Correlations of the references with each other, from `correlations`.

    Returns
    -------
    float64 array [shape=(q * taps, q * taps)]
    """
    q, _, taps = correlated.shape
    matrix = np.empty((q, taps, q, taps))
    for i in range(q):
        for j in range(q):
            # Lags 1 - taps ... taps - 1 of s_i against s_j; row a starts at lag -a.
            lags = np.concatenate([correlated[j, i, :0:-1], correlated[i, j]])
            matrix[i, :, j] = np.lib.stride_tricks.sliding_window_view(lags, taps)[::-1]
    return matrix.reshape(q * taps, q * taps)


def filters(auto: Doubles, cross: Doubles) -> Doubles:
    """Return the filters that bring references closest to other signals.

    As in museval, a machine epsilon is added to the diagonal; it matters only for very quiet sound.
    Silent references, and those that are a mixture of others, such as a second channel that equals
    the first, get no filter: they would make the matrix singular and add nothing.

    Parameters
    ----------
    auto : float64 array [shape=(references, references, taps)]
        Correlations of the references with each other, from `correlations`.
    cross : float64 array [shape=(signals, references, taps)]
        Correlations of the signals with the references.

    Returns
    -------
    float64 array [shape=(references, signals, taps)]
    """
    taps = auto.shape[2]
    found = np.zeros((auto.shape[0], cross.shape[0], taps))
    needed = _independent(auto[:, :, 0])
    if needed:
        matrix = gram(auto[np.ix_(needed, needed)])
        right = cross[:, needed].reshape(-1, matrix.shape[0]).T
        solved = _solve(matrix, right).reshape(len(needed), taps, -1)
        found[needed] = solved.transpose(0, 2, 1)
    return found


def _independent(energies: Doubles) -> list[int]:
    """Return the references that are not mixtures of earlier ones, apart from rounding."""
    needed: list[int] = []
    for q, row in enumerate(energies):
        weights = np.linalg.solve(energies[np.ix_(needed, needed)], row[needed])
        if row[q] - row[needed] @ weights > 16 * _EPS * row[q]:
            needed.append(q)
    return needed


def _solve(matrix: Doubles, right: Doubles) -> Doubles:
    """Solve the equations; this changes the matrix."""
    diagonal = matrix.reshape(-1)[:: matrix.shape[0] + 1]
    extra = _EPS
    while True:
        diagonal += extra
        try:
            return np.asarray(np.linalg.solve(matrix, right), np.float64)
        except np.linalg.LinAlgError:
            extra = max(extra, _EPS * float(diagonal.max())) * 2


def fast_length(n: int) -> int:
    """Return the smallest even length, at least n, that has no prime factor above 7."""
    length = n + n % 2
    while True:
        rest = length
        for prime in (2, 3, 5, 7):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 2
