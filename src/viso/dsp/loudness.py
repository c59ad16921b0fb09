"""How loud the stems and their mixture are by ITU-R BS.1770-4, as they come.

The two filters of the standard (K) are applied by Fourier transforms of overlapping pieces
(overlap-save): they ring for some milliseconds, and a fifth of a second of overlap is left out.
The filtered mixture is the sum of the filtered stems.

References
----------
ITU-R BS.1770-4, annex 1; filters for any rate: EBU Tech 3341 and the analogue prototype of
De Man, "Evaluation of implementations of the EBU R128 loudness measurement", AES 145, 2018.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["LoudnessMeter"]

Floats = npt.NDArray[np.float64]

_N_FFT = 1 << 17
_OVERLAP_S = 0.2
_STEP_S = 0.1
_STEPS = 4  # of a gating block
_ABSOLUTE_LUFS, _RELATIVE_LU, _OFFSET = -70.0, -10.0, -0.691


def _k_weights(rate_hz: int) -> npt.NDArray[np.complex64]:
    """The K-weighting's effect on every bin [shape=(_N_FFT // 2 + 1,)]."""
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
    """Takes vocals and instrumental as they come.

    Parameters
    ----------
    rate_hz : int
    n_channels : int
        Of two or fewer each counts once. Of more the standard has other weights: `finish` then
        has nothing to say.
    """

    def __init__(self, *, rate_hz: int, n_channels: int) -> None:
        self._step = max(1, round(_STEP_S * rate_hz))
        # Above 320 kHz the overlap would be more than half of a piece.
        self._overlap = min(_N_FFT // 2, round(_OVERLAP_S * rate_hz))
        self._weights = _k_weights(rate_hz)
        self._n_channels = n_channels
        # Before the sound there is silence.
        self._sound = np.zeros((2, n_channels, self._overlap), np.float32)
        self._squares = np.zeros((3, 0))
        self._steps: list[Floats] = []

    def push(self, stems: npt.NDArray[np.float32]) -> None:
        """Take a block [shape=(2, channels, n), full scale = 1.0] of vocals and instrumental."""
        if self._n_channels > 2:
            return
        self._sound = np.concatenate([self._sound, stems], axis=2)
        while self._sound.shape[2] >= _N_FFT:
            self._take(_N_FFT - self._overlap)

    def _take(self, n: int) -> None:
        """Filter the next `n` samples, behind those that overlap."""
        spectra = np.fft.rfft(self._sound[:, :, :_N_FFT], _N_FFT, axis=2)
        loud = np.fft.irfft(spectra * self._weights, _N_FFT, axis=2)
        loud = loud[:, :, self._overlap : self._overlap + n]
        self._sound = self._sound[:, :, n:]
        loud = np.concatenate([loud.sum(axis=0, keepdims=True), loud])
        squares = np.concatenate([self._squares, np.square(loud).sum(axis=1)], axis=1)
        whole = squares.shape[1] // self._step
        steps = squares[:, : whole * self._step].reshape(3, whole, self._step)
        self._steps.append(steps.mean(axis=2))
        self._squares = squares[:, whole * self._step :]

    def finish(self) -> dict[str, float | None] | None:
        """Return the integrated loudness of mixture, vocals and instrumental in LUFS.

        None for a stem that is silent; None at all for less than 400 ms or more channels.
        """
        if (rest := self._sound.shape[2] - self._overlap) and self._n_channels <= 2:
            self._take(rest)
        steps = np.concatenate(self._steps, axis=1) if self._steps else np.zeros((3, 0))
        if steps.shape[1] < _STEPS:
            return None
        blocks = np.lib.stride_tricks.sliding_window_view(steps, _STEPS, axis=1).mean(axis=2)
        names = ("mixture", "vocals", "instrumental")
        return {name: _gated(row) for name, row in zip(names, blocks, strict=True)}


def _gated(energies: Floats) -> float | None:
    """Return the loudness of the blocks that are neither silence nor pauses."""
    loud = energies[energies > 10 ** ((_ABSOLUTE_LUFS - _OFFSET) / 10)]
    if not loud.size:
        return None
    loud = loud[loud > loud.mean() * 10 ** (_RELATIVE_LU / 10)]
    return round(_OFFSET + 10 * math.log10(loud.mean()), 2)
