"""Checks of a single sound: finite values, level, clipping and DC offset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Clipping", "clipping", "dc_offset", "loudest_db", "not_finite"]

_SHORTEST_RUN = 3
_FLAT = 1e-4
_STEEP = 1e-3
_STEP_16_BIT = 1 / 32768


def not_finite(audio: npt.NDArray[np.float32]) -> tuple[int, int]:
    """Count the samples that are NaN or infinite, and find the first one.

    Parameters
    ----------
    audio : array [shape=(channels, n)]

    Returns
    -------
    count, first : int
        `first` is a sample index, or -1 if there is none.
    """
    # A sum is much faster than a test of every sample, and is finite only if all samples are.
    # It is in float64 so that many loud samples do not overflow.
    with np.errstate(invalid="ignore"):
        total = np.sum(audio, dtype=np.float64)
    if np.isfinite(total):
        return 0, -1
    bad = ~np.isfinite(audio)
    return int(bad.sum()), int(np.flatnonzero(bad.any(axis=0))[0])


def loudest_db(audio: npt.NDArray[np.float32], *, rate_hz: int) -> float:
    """Return the RMS of the loudest tenth of a second in dB full scale (-inf: silence).

    Parameters
    ----------
    audio : array [shape=(channels, n)]
    rate_hz : int
    """
    n = max(1, min(rate_hz // 10, audio.shape[1]))
    blocks = audio[:, : audio.shape[1] // n * n].reshape(len(audio), -1, n)
    power = np.einsum("cbn,cbn->b", blocks, blocks) / (len(audio) * n)
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(power.max(initial=0.0)))


@dataclass(frozen=True)
class Clipping:
    """Flat tops of waves: their number, their samples in total, the longest one, their level."""

    n_runs: int
    n_samples: int
    longest: int
    level_db: float


def clipping(audio: npt.NDArray[np.float32]) -> Clipping:
    """Count the runs of samples that stay at a channel's own extreme.

    A run is three samples or more within 0.01 % of the extreme, whose neighbours are at least
    0.1 % (and six steps of 16 bits) below it. A smooth peak has no such run: near its top a wave
    is a parabola, whose next sample is at most four times as low as its last. So the level does
    not matter: sound that was clipped and then lowered is found too. Low notes, whose rounded
    tops repeat a value, are not counted. Clipped sound is no longer flat after lossy coding and
    is not found.

    Parameters
    ----------
    audio : array [shape=(channels, n)]

    Returns
    -------
    Clipping
        Of all channels together; `level_db` is the highest extreme with a flat top, in dB full
        scale, or -inf if there is none.
    """
    lengths: list[npt.NDArray[np.intp]] = []
    level = 0.0
    for channel in audio:
        for wave in (channel, -channel):
            found = _flat_tops(wave)
            if found.size:
                lengths.append(found)
                level = max(level, float(wave.max()))
    runs = np.concatenate(lengths) if lengths else np.zeros(0, np.intp)
    with np.errstate(divide="ignore"):
        level_db = float(20 * np.log10(level))
    return Clipping(len(runs), int(runs.sum()), int(runs.max(initial=0)), level_db)


def _flat_tops(wave: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
    """Return the lengths of the runs at the highest value [shape=(n_runs,)]."""
    top = float(wave.max(initial=0.0))
    drop = max(_STEEP * top, 6 * _STEP_16_BIT)
    at_top = np.flatnonzero(wave >= top * (1 - _FLAT))
    if top <= drop or at_top.size < _SHORTEST_RUN:
        return np.zeros(0, np.intp)
    breaks = np.flatnonzero(np.diff(at_top) > 1)
    first = at_top[np.concatenate([[0], breaks + 1])]
    last = at_top[np.concatenate([breaks, [at_top.size - 1]])]
    # Beyond the ends of the sound the wave may stay at the top.
    before = np.where(first > 0, wave[np.maximum(first - 1, 0)], -np.inf)
    after = np.where(last < wave.size - 1, wave[np.minimum(last + 1, wave.size - 1)], -np.inf)
    lengths = last - first + 1
    is_run = (lengths >= _SHORTEST_RUN) & (np.maximum(before, after) <= top - drop)
    return np.asarray(lengths[is_run & (lengths < wave.size)])


def dc_offset(audio: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Return the largest mean of a channel, and its ratio to the RMS of the rest.

    Parameters
    ----------
    audio : array [shape=(channels, n)]

    Returns
    -------
    mean, share : float
        `share` is infinite for a constant.
    """
    worst = (0.0, 0.0)
    for channel in audio:
        mean = float(np.mean(channel, dtype=np.float64)) if channel.size else 0.0
        power = float(np.dot(channel, channel)) / max(1, channel.size) - mean**2
        # Rounding errors of a constant leave a little power, or a negative value.
        share = abs(mean) / power**0.5 if power > 1e-6 * mean**2 else float("inf")
        if abs(mean) > abs(worst[0]):
            worst = (mean, share)
    return worst
