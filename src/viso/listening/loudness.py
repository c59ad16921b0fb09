"""How loud a sound is by ITU-R BS.1770, and the one level to which a whole test is brought."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from viso.errors import AudioError, ConfigError, how_to_install

__all__ = ["gain_to", "loudness_lufs"]

Floats = npt.NDArray[np.float32]

_SHORTEST_S = 0.4  # one gating block


def loudness_lufs(audio: Floats, *, rate_hz: int) -> float:
    """Return the integrated loudness by ITU-R BS.1770-4, in LUFS.

    Measured by pyloudnorm, with the filters that have the standard's own coefficients.

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
    ConfigError
        If pyloudnorm is not installed.
    AudioError
        If the sound is too short, or has more than two channels.
    """
    n_channels, n_samples = audio.shape
    if not 1 <= n_channels <= 2:
        raise AudioError(f"{n_channels} channels; listening tests take mono and stereo")
    if n_samples < _SHORTEST_S * rate_hz:
        raise AudioError(
            f"{n_samples / rate_hz:.2f} s of sound; its loudness needs at least {_SHORTEST_S} s"
        )
    wide = np.ascontiguousarray(audio.T, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(_meter(rate_hz).integrated_loudness(wide))


def _meter(rate_hz: int) -> Any:
    try:
        import pyloudnorm
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{error.name} is not installed; listening tests need the extra [listen]: "
            f"{how_to_install('listen')}"
        ) from error
    # The library's default filters are 0.04 dB off the standard's table.
    return pyloudnorm.Meter(rate_hz, filter_class="DeMan")


def gain_to(audio: Floats, target_lufs: float, *, rate_hz: int) -> float:
    """Return the gain in decibels that gives a sound the loudness `target_lufs`.

    Raises
    ------
    AudioError
        If there is nothing to be heard; no gain helps then.
    """
    loudness = loudness_lufs(audio, rate_hz=rate_hz)
    if not math.isfinite(loudness):
        raise AudioError("silent (below -70 LUFS); no gain makes it as loud as the others")
    return target_lufs - loudness
