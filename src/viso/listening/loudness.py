"""Measure loudness, and find the gain that gives all sounds of a test one loudness."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from viso.dsp.loudness import SHORTEST_S, integrated_loudness
from viso.errors import AudioError

__all__ = ["gain_to", "loudness_lufs"]

Floats = npt.NDArray[np.float32]


def loudness_lufs(audio: Floats, *, rate_hz: int) -> float:
    """Return the integrated loudness by ITU-R BS.1770-4, in LUFS.

    Parameters
    ----------
    audio : float32 array [shape=(channels, n)]
        One or two channels, at least 0.4 s.
    rate_hz : int

    Returns
    -------
    float
        ``-inf`` if every block is below -70 LUFS.

    Raises
    ------
    AudioError
        If the sound is too short, or has more than two channels.
    """
    n_channels, n_samples = audio.shape
    if not 1 <= n_channels <= 2:
        raise AudioError(f"{n_channels} channels; listening tests take mono and stereo")
    found = integrated_loudness(audio, rate_hz=rate_hz)
    if found is None:
        raise AudioError(
            f"{n_samples / rate_hz:.2f} s of sound; its loudness needs at least {SHORTEST_S} s"
        )
    return found


def gain_to(audio: Floats, target_lufs: float, *, rate_hz: int) -> float:
    """Return the gain in decibels that gives a sound the loudness `target_lufs`.

    Raises
    ------
    AudioError
        If the sound is silent, so that no gain helps.
    """
    loudness = loudness_lufs(audio, rate_hz=rate_hz)
    if not math.isfinite(loudness):
        raise AudioError("silent (below -70 LUFS); no gain makes it as loud as the others")
    return target_lufs - loudness
