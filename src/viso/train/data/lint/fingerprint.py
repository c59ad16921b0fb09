"""Fingerprints: 32 bits for each 1/32 s of a sound, robust to coding, level, rate and shift.

The scheme is that of Haitsma and Kalker (2002): the spectrum of a frame has 33 bands, and each pair
of neighbouring bands gives one bit: whether their difference is larger than in the frame before.
Frames of 0.37 s overlap so much that two recordings cut at different positions still agree.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["FRAMES_A_SECOND", "SILENT", "fingerprint"]

FRAMES_A_SECOND = 32
SILENT = np.uint32(0)
"""The value of frames with nothing to compare."""

_FRAME_S = 0.37
_BANDS_HZ = np.geomspace(200.0, 2000.0, 34)
_REDUCED_HZ = 5500
_QUIET_DB = -45.0
_DIGITAL_SILENCE = 1e-9


def fingerprint(audio: npt.NDArray[np.float32], *, rate_hz: int) -> npt.NDArray[np.uint32]:
    """Return the fingerprint of a sound, 128 bytes a second.

    Parameters
    ----------
    audio : float32 array [shape=(channels, n)]
    rate_hz : int
        4200 or more; below that, the highest band is lost.

    Returns
    -------
    np.ndarray [shape=(n_frames,), uint32]
        One value each 1/32 s; `SILENT` in frames 45 dB below the loud ones.
    """
    wave, rate = _reduced(_mono(audio), rate_hz)
    length = round(_FRAME_S * rate)
    n_frames = int((wave.size - length) * FRAMES_A_SECOND / rate) + 1
    if wave.size < length or n_frames < 2:
        return np.zeros(0, np.uint32)
    bands, power = _band_powers(wave, rate, length, n_frames)
    loud = np.quantile(power, 0.95)
    slope = bands[:, :-1] - bands[:, 1:]
    bits = (slope[1:] > slope[:-1]).astype(np.uint32)
    shifts = np.arange(32, dtype=np.uint32)
    values: npt.NDArray[np.uint32] = (bits << shifts).sum(axis=1, dtype=np.uint32)
    is_quiet = power <= max(float(loud) * 10 ** (_QUIET_DB / 10), _DIGITAL_SILENCE)
    values[is_quiet[1:] | is_quiet[:-1]] = SILENT
    return values


def _mono(audio: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    middle: npt.NDArray[np.float32] = audio.mean(axis=0)
    first: npt.NDArray[np.float32] = audio[0]
    # Channels of opposite phase would vanish in the sum.
    is_opposite = np.dot(middle, middle) < 0.01 * np.dot(first, first)
    return first if is_opposite else middle


def _reduced(wave: npt.NDArray[np.float32], rate_hz: int) -> tuple[npt.NDArray[np.float32], float]:
    """Return every `factor`-th sample; a filter first removes what would alias below 2 kHz."""
    factor = max(1, rate_hz // _REDUCED_HZ)
    if factor == 1:
        return wave, float(rate_hz)
    n_taps = 16 * factor
    t = np.arange(n_taps) - (n_taps - 1) / 2
    taps = np.sinc(t / factor * 0.9) * np.hamming(n_taps)
    columns = (taps / taps.sum()).astype(np.float32).reshape(-1, factor)
    rows = np.ascontiguousarray(wave[: wave.size // factor * factor]).reshape(-1, factor)
    n = len(rows) - len(columns) + 1
    if n < 1:
        return np.zeros(0, np.float32), rate_hz / factor
    out = np.zeros(n, np.float32)
    for k, column in enumerate(columns):
        out += rows[k : k + n] @ column
    return out, rate_hz / factor


def _band_powers(
    wave: npt.NDArray[np.float32], rate: float, length: int, n_frames: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the power of each frame in 33 bands, and its total power [shape=(frames,)]."""
    edges = np.round(_BANDS_HZ * length / rate).astype(int)
    window = np.hanning(length).astype(np.float32)
    bands = np.empty((n_frames, 33), np.float32)
    power = np.empty(n_frames, np.float32)
    offsets = np.arange(length)
    for first in range(0, n_frames, 512):
        k = np.arange(first, min(first + 512, n_frames))
        starts = np.round(k * rate / FRAMES_A_SECOND).astype(int)
        starts = np.minimum(starts, wave.size - length)
        frames = wave[starts[:, None] + offsets]
        power[k] = np.einsum("tn,tn->t", frames, frames) / length
        spectrum = np.fft.rfft(frames * window)[:, edges[0] : edges[-1]]
        density = spectrum.real**2 + spectrum.imag**2
        bands[k] = np.add.reduceat(density, edges[:-1] - edges[0], axis=1)
    return bands, power
