"""How loud the stems and their mixture are by ITU-R BS.1770-4, from spectra, in one pass.

The standard weights the sound with two filters (K) and averages its square over 400 ms, every
100 ms. Here the weights are those filters' gains on the spectrum of every 100 ms: by Parseval
the same energies but for what the filters ring on into the next 100 ms. The spectrum of the
mixture is the sum of the stems'. `docs/studio.md` says how far that lies from the standard.

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

_STEP_S = 0.1
_STEPS = 4  # of a gating block
_ABSOLUTE_LUFS, _RELATIVE_LU, _OFFSET = -70.0, -10.0, -0.691


def _k_gains(rate_hz: int, n: int) -> Floats:
    """Squared gains of the K-weighting [shape=(n // 2 + 1,)]."""
    z = np.exp(-2j * np.pi * np.arange(n // 2 + 1) / n)
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
    return np.asarray(np.abs(shelf * high_pass) ** 2)


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
        self._n = max(1, round(_STEP_S * rate_hz))
        self._gains = _k_gains(rate_hz, self._n)
        self._n_channels = n_channels
        self._rest = np.zeros((2, n_channels, 0), np.float32)
        self._steps: list[Floats] = []

    def push(self, stems: npt.NDArray[np.float32]) -> None:
        """Take a block [shape=(2, channels, n), full scale = 1.0] of vocals and instrumental."""
        if self._n_channels > 2:
            return
        sound = np.concatenate([self._rest, stems], axis=2)
        n = sound.shape[2] // self._n
        whole, self._rest = sound[:, :, : n * self._n], sound[:, :, n * self._n :]
        spectra = np.fft.rfft(whole.reshape(2, self._n_channels, n, self._n), axis=3)
        spectra = np.concatenate([spectra.sum(axis=0, keepdims=True), spectra])
        power = (spectra.real**2 + spectra.imag**2) @ (self._weights() / self._n**2)
        self._steps.append(power.sum(axis=1))

    def _weights(self) -> Floats:
        # Bins between the lowest and the highest stand for two of the whole spectrum.
        twice = np.full(self._gains.shape, 2.0)
        twice[0] = 1.0
        if self._n % 2 == 0:
            twice[-1] = 1.0
        return np.asarray(self._gains * twice)

    def finish(self) -> dict[str, float | None] | None:
        """Return the integrated loudness of mixture, vocals and instrumental in LUFS.

        None for a stem that is silent; None at all for less than 400 ms or more channels.
        """
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
