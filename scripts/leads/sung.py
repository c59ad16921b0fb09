"""Dry solo singing for the validation songs: phrases, and the pitch classes that are sung."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage, signal

from bands.sound import RATE_HZ, Floats

__all__ = ["pitch_classes", "quiet_points", "transposition"]

_FRAME = RATE_HZ // 100


def quiet_points(audio: Floats, *, every_s: float) -> list[int]:
    """Return samples where a voice is softest, about one per `every_s`; the ends are among them.

    Parameters
    ----------
    audio : float32 array [shape=(n,)]
        At 44.1 kHz.
    """
    cut = audio[: len(audio) // _FRAME * _FRAME].reshape(-1, _FRAME)
    level = ndimage.uniform_filter1d(np.log10(np.mean(cut**2, axis=1) + 1e-8), 6)
    points, reach = [0], round(every_s * 50)
    while points[-1] + 4 * reach < len(level):
        start = points[-1] + reach
        points.append(start + int(np.argmin(level[start : start + 2 * reach])))
    return [point * _FRAME for point in points] + [len(audio)]


def pitch_classes(audio: Floats) -> npt.NDArray[np.float64]:
    """Return how often each pitch class (C is 0) is sung, by autocorrelation, [shape=(12,)]."""
    rate = RATE_HZ // 4
    slow = signal.resample_poly(audio, 1, 4)
    counts = np.zeros(12)
    n = 1024
    for start in range(0, len(slow) - n, n // 2):
        frame = slow[start : start + n] - slow[start : start + n].mean()
        if frame.std() < 0.01:
            continue
        power = np.abs(np.fft.rfft(frame * np.hanning(n), 4 * n)) ** 2
        likeness = np.fft.irfft(power)
        shortest, longest = rate // 900, rate // 80
        lag = shortest + int(np.argmax(likeness[shortest:longest]))
        if likeness[lag] > 0.5 * likeness[0]:
            counts[round(69 + 12 * np.log2(rate / lag / 440)) % 12] += 1
    return counts


def transposition(counts: npt.NDArray[np.float64], classes: frozenset[int]) -> int:
    """Return by how many semitones (-6 to 5) a scale must move to hold most of what is sung."""

    def held(shift: int) -> float:
        return float(sum(counts[(c + shift) % 12] for c in classes))

    return max(range(-6, 6), key=held)
