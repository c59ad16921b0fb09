"""Integrated loudness of a stream by ITU-R BS.1770-4.

Fourier transforms of overlapping blocks (overlap-save) apply the two filters of the standard (K).
The filters ring for some milliseconds; the 0.2 s of overlap is dropped.

References
----------
ITU-R BS.1770-4, annex 1; filters for any rate: EBU Tech 3341 and the analogue prototype of
De Man, "Evaluation of implementations of the EBU R128 loudness measurement", AES 145, 2018.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["SHORTEST_S", "LoudnessMeter", "integrated_loudness"]

Floats = npt.NDArray[np.float64]

_N_FFT = 1 << 17
_OVERLAP_S = 0.2
_STEP_S = 0.1
_STEPS = 4  # of a gating block
SHORTEST_S = _STEPS * _STEP_S
"""Length of a gating block in seconds: a shorter sound has no loudness."""
_ABSOLUTE_LUFS, _RELATIVE_LU, _OFFSET = -70.0, -10.0, -0.691


def _k_weights(rate_hz: int) -> npt.NDArray[np.complex64]:
    """Return the K-weighting's factor for every bin [shape=(_N_FFT // 2 + 1,)]."""
    z = np.exp(-2j * np.pi * np.arange(_N_FFT // 2 + 1) / _N_FFT)
    # Shelf: the head's effect.
    k = math.tan(math.pi * min(1681.974450955533, 0.49 * rate_hz) / rate_hz)
    high, q = 10 ** (3.999843853973347 / 20), 0.7071752369554196
    middle = high**0.4996667741545416
    b = (high + middle * k / q + k * k, 2 * (k * k - high), high - middle * k / q + k * k)
    a = (1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k)
    shelf = (b[0] + b[1] * z + b[2] * z * z) / (a[0] + a[1] * z + a[2] * z * z)
    # High-pass: revised low-frequency B curve.
    k, q = math.tan(math.pi * 38.13547087602444 / rate_hz), 0.5003270373238773
    scale = 1 + k / q + k * k
    a = (scale, 2 * (k * k - 1), 1 - k / q + k * k)
    high_pass = (1 - 2 * z + z * z) * scale / (a[0] + a[1] * z + a[2] * z * z)
    return np.asarray(shelf * high_pass, np.complex64)


class LoudnessMeter:
    """Measures the loudness of one or several signals, block by block.

    Parameters
    ----------
    rate_hz : int
    n_channels : int
        One or two for each signal: each channel counts once. (For more channels the standard has
        other weights.)
    n_signals : int

    Raises
    ------
    ValueError
        If there are more than two channels.
    """

    def __init__(self, *, rate_hz: int, n_channels: int, n_signals: int = 1) -> None:
        if not 1 <= n_channels <= 2:
            raise ValueError(f"{n_channels} channels; loudness is for mono and stereo here")
        self._step = max(1, round(_STEP_S * rate_hz))
        # Above 320 kHz the overlap would be more than half of a transform.
        self._overlap = min(_N_FFT // 2, round(_OVERLAP_S * rate_hz))
        self._weights = _k_weights(rate_hz)
        # There is silence before the sound.
        self._sound = np.zeros((n_signals, n_channels, self._overlap), np.float32)
        self._squares = np.zeros((n_signals, 0))
        self._steps: list[Floats] = [np.zeros((n_signals, 0))]

    def push(self, signals: npt.NDArray[np.float32]) -> None:
        """Add a block of all signals [shape=(n_signals, channels, n), full scale = 1.0]."""
        self._sound = np.concatenate([self._sound, signals], axis=2)
        while self._sound.shape[2] >= _N_FFT:
            self._take(_N_FFT - self._overlap)

    def _take(self, n: int) -> None:
        """Filter the `n` samples after the overlap."""
        spectra = np.fft.rfft(self._sound[:, :, :_N_FFT], _N_FFT, axis=2)
        loud = np.fft.irfft(spectra * self._weights, _N_FFT, axis=2)
        loud = loud[:, :, self._overlap : self._overlap + n]
        self._sound = self._sound[:, :, n:]
        squares = np.concatenate([self._squares, np.square(loud).sum(axis=1)], axis=1)
        whole = squares.shape[1] // self._step
        steps = squares[:, : whole * self._step].reshape(len(squares), whole, self._step)
        self._steps.append(steps.mean(axis=2))
        self._squares = squares[:, whole * self._step :]

    def finish(self) -> list[float] | None:
        """Return the integrated loudness of each signal in LUFS.

        It is ``-inf`` if every block is below -70 LUFS. Return None for less than 400 ms.
        """
        if rest := self._sound.shape[2] - self._overlap:
            self._take(rest)
        steps = np.concatenate(self._steps, axis=1)
        if steps.shape[1] < _STEPS:
            return None
        blocks = np.lib.stride_tricks.sliding_window_view(steps, _STEPS, axis=1).mean(axis=2)
        return [_gated(row) for row in blocks]


def integrated_loudness(audio: npt.NDArray[np.float32], *, rate_hz: int) -> float | None:
    """Return the integrated loudness of a sound in LUFS; see `LoudnessMeter.finish`.

    Parameters
    ----------
    audio : float32 array [shape=(channels, n)]
        One or two channels.
    rate_hz : int
    """
    meter = LoudnessMeter(rate_hz=rate_hz, n_channels=len(audio))
    meter.push(audio[None])
    found = meter.finish()
    return None if found is None else found[0]


def _gated(energies: Floats) -> float:
    """Return the loudness of the blocks above the absolute and the relative gate."""
    loud = energies[energies > 10 ** ((_ABSOLUTE_LUFS - _OFFSET) / 10)]
    if not loud.size:
        return -math.inf
    loud = loud[loud > loud.mean() * 10 ** (_RELATIVE_LU / 10)]
    return _OFFSET + 10 * math.log10(loud.mean())
