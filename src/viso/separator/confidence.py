"""Estimates the quality of a separation from the two stems alone, second by second.

If a mask m is the probability that a bin belongs to the vocals, the expected error in a bin x
is ``m (1 - m) |x|^2``, which is ``|v| |i|``: the energy that both stems claim is in doubt. Its
sum over a second stands for the energy in the wrong stem, and gives an estimate of both stems'
SDR. `docs/use/confidence.md` compares it with the true SDR.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from viso.dsp.stft import Analysis, SpectralConfig

__all__ = ["ConfidenceMeter", "Second", "as_csv", "confidence"]

Floats = npt.NDArray[np.float32]

_WINDOW_S = 0.093
_BEST_DB = 60.0
_BLOCK = 1 << 16


class Second(NamedTuple):
    """One second of a song: its start, and the estimated SDR of its stems in decibels.

    The SDR is at most 60 dB, and ``nan`` for a silent stem.
    """

    start_s: float
    vocals_sdr_db: float
    instrumental_sdr_db: float


class ConfidenceMeter:
    """Measures the confidence of a song from its stems, block by block.

    Parameters
    ----------
    rate_hz : int
        Sampling rate of the stems.
    n_channels : int
    """

    def __init__(self, *, rate_hz: int, n_channels: int) -> None:
        n_fft = 2 ** max(4, round(math.log2(_WINDOW_S * rate_hz)))
        config = SpectralConfig(rate_hz=rate_hz, n_fft=n_fft, hop=n_fft // 4)
        self._rate_hz, self._hop, self._n_channels = rate_hz, config.hop, n_channels
        self._analysis = Analysis(config, n_channels=2 * n_channels)
        self._n_samples = self._n_frames = 0
        # Energy of the vocals, of the instrumental, and energy that both claim, for each second.
        self._sums = np.zeros((3, 0))

    def push(self, vocals: Floats, instrumental: Floats) -> None:
        """Add a block of both stems, each [shape=(channels, n)]."""
        self._n_samples += vocals.shape[1]
        self._add(np.abs(self._analysis.push(np.concatenate([vocals, instrumental]))))

    def _add(self, magnitudes: Floats) -> None:
        n = magnitudes.shape[2]
        centres = (self._n_frames + np.arange(n)) * self._hop
        self._n_frames += n
        # A frame with its centre after the last sample belongs to the last second.
        seconds = np.minimum(centres, self._n_samples - 1) // self._rate_hz
        # If the last second is shorter than a hop, no frame may cover it: it stays silent.
        missing = -(-self._n_samples // self._rate_hz) - self._sums.shape[1]
        self._sums = np.pad(self._sums, ((0, 0), (0, missing)))
        v, i = magnitudes[: self._n_channels], magnitudes[self._n_channels :]
        for row, product in zip(self._sums, (v * v, i * i, v * i), strict=True):
            np.add.at(row, seconds, product.sum(axis=(0, 1), dtype=np.float64))

    def finish(self, *, start_s: float = 0.0) -> list[Second]:
        """Return the estimates for all seconds that were pushed.

        Parameters
        ----------
        start_s : float
            Where in the song the stems begin, in seconds.
        """
        if self._n_samples:
            self._add(np.abs(self._analysis.finish()))
        vocals, instrumental, doubt = self._sums
        columns = (_ratio_db(vocals, doubt), _ratio_db(instrumental, doubt))
        return [
            Second(start_s + number, float(v), float(i))
            for number, (v, i) in enumerate(zip(*columns, strict=True))
        ]


def _ratio_db(energy: npt.NDArray[np.float64], doubt: npt.NDArray[np.float64]) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = 10 * np.log10(energy) - 10 * np.log10(doubt)
    return np.asarray(np.where(energy > 0, np.minimum(ratio, _BEST_DB), np.nan), np.float32)


def confidence(
    vocals: Floats, instrumental: Floats, *, rate_hz: int, start_s: float = 0.0
) -> list[Second]:
    """Estimate the SDR of two stems in every second, without the true stems.

    Parameters
    ----------
    vocals, instrumental : float32 arrays [shape=(channels, n)]
    rate_hz : int
    start_s : float
        Where in the song the stems begin, in seconds.

    Returns
    -------
    list of Second
        The last one may be shorter than a second.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> stems = Separator().separate("song.mp3")                              # doctest: +SKIP
    >>> confidence(stems.vocals, stems.instrumental, rate_hz=stems.rate_hz)   # doctest: +SKIP
    """
    if vocals.shape != instrumental.shape:
        raise ValueError(f"vocals have shape {vocals.shape}, instrumental {instrumental.shape}")
    meter = ConfidenceMeter(rate_hz=rate_hz, n_channels=vocals.shape[0])
    for first in range(0, vocals.shape[1], _BLOCK):
        part = slice(first, first + _BLOCK)
        meter.push(vocals[:, part], instrumental[:, part])
    return meter.finish(start_s=start_s)


def as_csv(seconds: Sequence[Second]) -> str:
    """Return a table with a header and a line per second; the value of a silent stem is empty."""
    lines = [",".join(Second._fields)]
    for second in seconds:
        figures = ["" if math.isnan(value) else f"{value:.2f}" for value in second[1:]]
        lines.append(",".join([f"{second.start_s:.3f}", *figures]))
    return "\n".join(lines) + "\n"
