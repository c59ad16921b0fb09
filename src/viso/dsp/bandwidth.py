"""Measures a recording's bandwidth, which lossy coding or a narrow source reduces."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["bandwidth_hz"]

_N_FFT = 4096
_FEWEST_FRAMES = 400  # analysed of a long recording, evenly spread
_SILENT_DB = -75.0


def bandwidth_hz(audio: npt.NDArray[np.float32], *, rate_hz: int) -> float:
    """Return the highest frequency at which `audio` still has sound above -75 dB of its peak.

    Parameters
    ----------
    audio : array [shape=(channels, n)]
    rate_hz : int

    Returns
    -------
    float
        Hertz; the Nyquist frequency for silence, for less than 4096 samples and for samples that
        are not finite.
    """
    frames = audio[:, : audio.shape[1] // _N_FFT * _N_FFT].reshape(audio.shape[0], -1, _N_FFT)
    if not frames.size:
        return rate_hz / 2
    frames = frames[:, :: max(1, frames.shape[1] // _FEWEST_FRAMES)]
    # Channel by channel: sound in opposite phase would vanish from their sum.
    power = (np.abs(np.fft.rfft(frames * np.hanning(_N_FFT), axis=2)) ** 2).mean(axis=(0, 1))
    if not 0 < power.max() < np.inf:
        return rate_hz / 2
    loud = np.nonzero(10 * np.log10(power / power.max() + 1e-30) > _SILENT_DB)[0]
    return float(min((loud[-1] + 1) * rate_hz / _N_FFT, rate_hz / 2))
