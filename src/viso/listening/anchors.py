"""Anchors: sounds that are worse than the reference in a known way.

reference -> low-pass 3.5 kHz, low-pass 7 kHz              ITU-R BS.1534-3
reference -> low-pass 3.5 kHz -> holes in its spectrum     distorted    (Emiya et al. 2011)
reference + the rest of the song, equally loud             interference (Emiya et al. 2011)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from viso.dsp.stft import SpectralConfig, istft, stft
from viso.errors import AudioError
from viso.listening.loudness import gain_to, loudness_lufs

__all__ = ["distorted", "interference", "low_pass"]

Floats = npt.NDArray[np.float32]

# A Kaiser window with beta 5.65 attenuates by 60 dB. BS.1534-3 requires 25 dB at 4 kHz and 50 dB at
# 4.5 kHz, from a filter that passes 3.5 kHz within 0.1 dB.
_BETA, _ATTENUATION_DB = 5.65, 60.0
_WIDTH = 1 / 7  # of the transition band, relative to the end of the pass band
_LOST = 0.2


def low_pass(audio: Floats, cutoff_hz: float, *, rate_hz: int) -> Floats:
    """Return the sound below a frequency.

    The filter is a symmetric FIR without delay: within 0.01 dB up to `cutoff_hz`, 60 dB down a
    seventh above it (at 4 kHz for 3.5 kHz).

    Parameters
    ----------
    audio : float32 array [shape=(channels, n)]
    cutoff_hz : float
    rate_hz : int

    Returns
    -------
    float32 array [shape=(channels, n)]

    Raises
    ------
    AudioError
        If the sampling rate is so low that there is nothing to remove.
    """
    stop_hz = cutoff_hz * (1 + _WIDTH)
    if 2 * stop_hz >= rate_hz:
        raise AudioError(
            f"{rate_hz} Hz hold nothing that a low-pass at {cutoff_hz:g} Hz takes away; take songs "
            f"with more than {2 * stop_hz:.0f} Hz, or leave this anchor out"
        )
    taps = _kernel(cutoff_hz, stop_hz, rate_hz=rate_hz)
    n_samples, half = audio.shape[1], taps.size // 2
    size = 1 << (n_samples + taps.size - 1).bit_length()
    spectrum = np.fft.rfft(audio, size, axis=1) * np.fft.rfft(taps, size)
    filtered = np.fft.irfft(spectrum, size, axis=1)[:, half : half + n_samples]
    return filtered.astype(np.float32)


def _kernel(pass_hz: float, stop_hz: float, *, rate_hz: int) -> npt.NDArray[np.float64]:
    """Return the impulse response of a low-pass, with an odd length and a sum of 1."""
    width = 2 * np.pi * (stop_hz - pass_hz) / rate_hz
    half = int(np.ceil((_ATTENUATION_DB - 8) / (2.285 * width) / 2)) + 1
    cut = (pass_hz + stop_hz) / rate_hz  # twice the middle, in cycles per sample
    n = np.arange(-half, half + 1)
    taps = np.sinc(cut * n) * np.kaiser(n.size, _BETA)
    return np.asarray(taps / taps.sum())


def distorted(audio: Floats, *, rate_hz: int, seed: int) -> Floats:
    """Return the sound below 3.5 kHz without a fifth of its time-frequency points.

    This is the anchor of Emiya et al. 2011 for distortion of the target ("Subjective and objective
    quality assessment of audio source separation").

    Parameters
    ----------
    audio : float32 array [shape=(channels, n)]
    rate_hz : int
    seed : int
        Seed of the removed points.

    Returns
    -------
    float32 array [shape=(channels, n)]
    """
    narrow = low_pass(audio, 3500, rate_hz=rate_hz)
    n_fft = 1 << round(np.log2(0.046 * rate_hz))
    config = SpectralConfig(rate_hz=rate_hz, n_fft=n_fft, hop=n_fft // 4)
    frames = stft(narrow, config=config)
    # All channels share the draw: holes that jump from side to side are another effect.
    kept = np.random.default_rng(seed).random(frames.shape[1:]) >= _LOST
    holed = np.where(kept, frames, np.complex64(0))
    return istft(holed, config=config, n_samples=audio.shape[1])


def interference(audio: Floats, others: Floats, *, rate_hz: int) -> Floats:
    """Return the sound mixed with the rest of the song, equally loud by BS.1770.

    This is the anchor of Emiya et al. 2011 for interference.

    Parameters
    ----------
    audio, others : float32 arrays [shape=(channels, n)]
    rate_hz : int

    Returns
    -------
    float32 array [shape=(channels, n)]

    Raises
    ------
    AudioError
        If there is no other sound.
    """
    target_lufs = loudness_lufs(audio, rate_hz=rate_hz)
    gain = 10 ** (gain_to(others, target_lufs, rate_hz=rate_hz) / 20)
    return (audio + others * np.float32(gain)).astype(np.float32)
