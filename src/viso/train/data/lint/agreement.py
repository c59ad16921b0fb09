"""Checks of stems against the mixture of a data set: their alignment and their sum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Disagreement", "Lag", "lag_of", "residual"]

_LONGEST_LAG_S = 2.0
_PIECE_S = 12.0
_SHARP = 8.0
_CLEARLY = 2.0
_SAME = 2


@dataclass(frozen=True)
class Lag:
    """The position of a stem in the mixture.

    `samples` is how many samples the stem is late against the mixture at the start of the song
    (negative: early). `drift` is how many more samples it is late towards the end. `sign` is -1
    if its polarity is inverted.
    """

    samples: int
    drift: int
    sign: int


def lag_of(
    stem: npt.NDArray[np.float32], mixture: npt.NDArray[np.float32], *, rate_hz: int
) -> Lag | None:
    """Find a stem inside its mixture by cross-correlation with flattened spectra.

    Three segments of 12 s (the loudest of each third of the song) are whitened (only the phase
    counts, GCC-PHAT of Knapp and Carter 1976) and correlated over lags of up to 2 s. A segment
    counts if its peak is more than eight standard deviations high; by chance, 0.0001 of the
    88,000 lags exceed six. The peak at a lag other than zero must also be twice as high as at lag
    zero, because music made of repeated samples correlates with itself a bar later.

    Parameters
    ----------
    stem, mixture : float32 arrays [shape=(channels, n)]
    rate_hz : int

    Returns
    -------
    Lag or None
        None if the stem cannot be found: it is silent, too quiet, or not in the mixture.
    """
    n = min(stem.shape[1], mixture.shape[1])
    a, b = (sound[:, :n].mean(axis=0) for sound in (stem, mixture))
    longest = min(int(_LONGEST_LAG_S * rate_hz), n // 2)
    found = [
        lag
        for start, stop in _pieces(a, int(_PIECE_S * rate_hz))
        if (lag := _lag_in(a[start:stop], b[start:stop], longest)) is not None
    ]
    if not found:
        return None
    drift = found[-1][0] - found[0][0]
    return Lag(found[0][0], drift if abs(drift) > _SAME else 0, found[0][1])


def _pieces(wave: npt.NDArray[np.float32], length: int) -> list[tuple[int, int]]:
    """Return the loudest segment of each third, or the whole of a short sound."""
    if wave.size <= length:
        return [(0, wave.size)]
    n_thirds = min(3, wave.size // length)
    energy = np.concatenate([[0.0], np.cumsum(wave.astype(np.float64) ** 2)])
    pieces = []
    for k in range(n_thirds):
        low, high = k * wave.size // n_thirds, (k + 1) * wave.size // n_thirds - length
        gain = energy[low + length : high + length + 1] - energy[low : high + 1]
        start = low + int(np.argmax(gain))
        pieces.append((start, start + length))
    return pieces


def _lag_in(
    stem: npt.NDArray[np.float32], mixture: npt.NDArray[np.float32], longest: int
) -> tuple[int, int] | None:
    if longest < 1:
        return None
    size = 1 << int(np.ceil(np.log2(stem.size + longest)))
    cross = np.fft.rfft(stem, size) * np.fft.rfft(mixture, size).conj()
    strength = np.abs(cross)
    # Where there is almost no sound (above the source's bandwidth), the phase is noise.
    cross = np.where(strength > 1e-8 * strength.max(initial=0), cross / (strength + 1e-30), 0)
    line = np.fft.irfft(cross)
    line = np.concatenate([line[-longest:], line[: longest + 1]])
    best = int(np.argmax(np.abs(line)))
    if not abs(line[best]) > _SHARP * line.std():
        return None
    if best != longest and abs(line[best]) < _CLEARLY * abs(line[longest]):
        best = longest
    return best - longest, 1 if line[best] >= 0 else -1


@dataclass(frozen=True)
class Disagreement:
    """The rest of a mixture after its stems are subtracted.

    `gain_db` is the gain of the stems in the subtraction; `level_db` is the level of the rest
    against the mixture.
    """

    level_db: float
    gain_db: float


def residual(
    total: npt.NDArray[np.float32], mixture: npt.NDArray[np.float32]
) -> Disagreement | None:
    """Subtract the sum of the stems, at its best gain, from the mixture; DC offsets do not count.

    Parameters
    ----------
    total, mixture : float32 arrays [shape=(channels, n)]
        If their numbers of channels differ, both are mixed to mono.

    Returns
    -------
    Disagreement or None
        None for a silent mixture.
    """
    n = min(total.shape[1], mixture.shape[1])
    if len(total) != len(mixture):
        total, mixture = (sound.mean(axis=0, keepdims=True) for sound in (total, mixture))
    s, m = (
        (sound[:, :n] - sound[:, :n].mean(axis=1, keepdims=True)).ravel()
        for sound in (total, mixture)
    )
    power = float(np.dot(m, m))
    # A constant leaves only rounding errors.
    if power <= 1e-12 * max(1, m.size):
        return None
    own = float(np.dot(s, s))
    gain = float(np.dot(m, s)) / own if own > 0 else 0.0
    rest = m - np.float32(gain) * s
    with np.errstate(divide="ignore"):
        return Disagreement(
            level_db=float(10 * np.log10(np.float64(np.dot(rest, rest)) / power)),
            gain_db=float(20 * np.log10(np.float64(abs(gain)))),
        )
