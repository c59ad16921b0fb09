"""The power of a sound at each point of a picture."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from viso.dsp.stft import Analysis, SpectralConfig, frames_for
from viso.errors import AudioError

__all__ = ["Panel", "edges_hz", "measure", "top_hz"]

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

LOW_HZ, HIGH_HZ = 40.0, 20_000.0
ROWS, MAX_COLUMNS = 480, 2000
BLOCK = 1 << 15


class Panel(NamedTuple):
    name: str
    power: Doubles  # (ROWS, columns), low frequencies first
    column_s: float  # time between columns
    first_s: float  # left edge of the first column
    duration_s: float


def top_hz(rate_hz: int) -> float:
    return min(HIGH_HZ, rate_hz / 2)


def _transform(n_samples: int, *, rate_hz: int) -> SpectralConfig:
    """Choose a window of about 90 ms, which resolves bass notes, and no more frames than needed."""
    n_fft = 2 ** max(4, round(math.log2(0.09 * max(1, rate_hz))))
    hop = max(1, n_fft // 16, min(n_samples // (MAX_COLUMNS - 1) + 1, n_fft // 3))
    return SpectralConfig.from_mapping(
        {"rate_hz": rate_hz, "n_fft": n_fft, "hop": hop}, origin="spectrogram"
    )


def measure(name: str, signal: Floats, *, rate_hz: int) -> Panel:
    """Return the power of a signal at the picture's points."""
    signal = np.asarray(signal)
    if signal.ndim != 2 or 0 in signal.shape:
        raise AudioError(f"{name}: an array of shape {signal.shape}; pass (channels, samples)")
    n_channels, n_samples = signal.shape
    config = _transform(n_samples, rate_hz=rate_hz)
    n_frames = frames_for(n_samples, hop=config.hop)
    pool = math.ceil(n_frames / MAX_COLUMNS)
    power = np.zeros((math.ceil(n_frames / pool), config.n_bins))
    analysis = Analysis(config, n_channels=n_channels)
    frame = 0
    for start in range(0, n_samples + BLOCK, BLOCK):
        block = signal[:, start : start + BLOCK].astype(np.float32)
        # Samples that are not finite, or too loud to be squared, raise an error below.
        with np.errstate(over="ignore", invalid="ignore"):
            frames = analysis.push(block) if block.size else analysis.finish()
            if not frames.shape[2]:
                continue
            now = np.arange(frame, frame + frames.shape[2]) // pool
            firsts = np.flatnonzero(np.diff(now, prepend=-1))
            # For speed, work along the bins, which are contiguous in memory.
            parts = np.ascontiguousarray(frames.transpose(0, 2, 1)).view(np.float32)
            loudness = np.add.reduceat(np.square(parts, out=parts).sum(axis=0), firsts, axis=0)
            power[now[firsts]] += loudness[:, 0::2] + loudness[:, 1::2]
            frame += frames.shape[2]
    if not np.isfinite(power).all():
        raise AudioError(f"{name}: holds samples that are not finite, or far beyond full scale")
    n_pooled = np.bincount(np.arange(n_frames) // pool)
    hop_s = config.hop / rate_hz
    rows = _to_rows((power / (n_channels * n_pooled[:, None])).T, rate_hz=rate_hz)
    return Panel(name, rows, pool * hop_s, -hop_s / 2, n_samples / rate_hz)


def edges_hz(high_hz: float) -> Doubles:
    """Return the frequencies between the picture's rows [shape=(ROWS + 1,)]."""
    return np.geomspace(min(LOW_HZ, high_hz / 10), high_hz, ROWS + 1)


def _to_rows(power: Doubles, *, rate_hz: int) -> Doubles:
    """Average bins [shape=(bins, columns)] into rows of the logarithmic axis.

    A row that is narrower than a bin is widened to one bin: the average over a bin's width
    interpolates linearly between two bins.
    """
    n_bins = len(power)
    edges = edges_hz(top_hz(rate_hz)) / (rate_hz / 2) * (n_bins - 1)
    centres = (edges[:-1] + edges[1:]) / 2
    half = np.maximum(np.diff(edges), 1.0) / 2
    total = np.pad(np.cumsum(power, axis=0), ((1, 0), (0, 0)))

    def up_to(position: Doubles) -> Doubles:
        # Bin k reaches from k - 1/2 to k + 1/2.
        position = np.clip(position + 0.5, 0, n_bins)
        k = np.minimum(position.astype(np.intp), n_bins - 1)
        return np.asarray(total[k] + (position - k)[:, None] * power[k])

    return np.maximum(up_to(centres + half) - up_to(centres - half), 0) / (2 * half)[:, None]
