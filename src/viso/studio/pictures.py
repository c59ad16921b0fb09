"""Spectrograms as PNG: time left to right, frequency bottom to top, no axes.

Drawn without a plotting library: a server should not need one.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt

from viso.dsp.stft import hann
from viso.studio.stem_store import BITS, StemStore

__all__ = ["as_png", "spectrograms"]

Floats = npt.NDArray[np.float32]

_N_FFT = 4096
_LOWEST_HZ, _HIGHEST_HZ = 40.0, 16_000.0
_RANGE_DB = 80.0
_MOST_FRAMES = 3  # of a column
_COLUMNS = 16  # computed at a time
_WASTE = 2
# From silence to the loudest bin; lightness grows evenly.
_COLOURS = (
    (8, 7, 20),
    (45, 17, 84),
    (113, 31, 110),
    (188, 55, 84),
    (236, 112, 44),
    (252, 190, 66),
    (250, 250, 190),
)


def spectrograms(stems: StemStore, *, width: int, height: int) -> dict[str, bytes]:
    """Draw the mixture and all stems in one scale.

    0 dB is the mixture's loudest bin; 80 dB below is black.

    Parameters
    ----------
    stems : StemStore
    width, height : int
        Of the picture.

    Returns
    -------
    dict of str to bytes
        A PNG for each stem.

    Raises
    ------
    AudioError
        If the stems are gone.
    """
    power = np.concatenate(
        [
            _columns(stems, range(first, min(width, first + _COLUMNS)), width, height)
            for first in range(0, width, _COLUMNS)
        ],
        axis=2,
    )
    reference = max(float(power[0].max()), 1e-12)
    decibels = 10 * np.log10(np.maximum(power / reference, 1e-12))
    levels = np.rint(np.clip(1 + decibels / _RANGE_DB, 0, 1) * 255).astype(np.uint8)
    return {stem: as_png(picture[::-1]) for stem, picture in zip(stems.drawn, levels, strict=True)}


def _columns(stems: StemStore, columns: range, width: int, height: int) -> Floats:
    """Return the power of columns, the lowest frequency first.

    It is that of the mixture, then of each stem [shape=(signals, height, columns)].
    """
    n, window = stems.n_samples, hann(_N_FFT)
    n_frames = min(_MOST_FRAMES, -(-n // (width * _N_FFT)))
    offsets = (np.arange(n_frames) + 0.5) / n_frames
    positions = np.repeat(columns, n_frames) + np.tile(offsets, len(columns))
    starts = [int(position * n / width) - _N_FFT // 2 for position in positions]
    frames = np.stack([_frames(stems, stem, starts) for stem in stems.names])
    frames = frames.reshape(len(stems.names), len(columns), n_frames, stems.n_channels, _N_FFT)
    spectra = np.fft.rfft(frames * (window / np.float32(1 << (BITS - 1))), axis=4)
    spectra = np.concatenate([spectra.sum(axis=0, keepdims=True), spectra])
    power = (spectra.real**2 + spectra.imag**2).mean(axis=(2, 3))
    return _rows(power, rate_hz=stems.rate_hz, height=height).transpose(0, 2, 1)


def _frames(stems: StemStore, stem: str, starts: list[int]) -> Floats:
    """Read the samples of frames, silence around the song [shape=(frames, channels, _N_FFT)]."""
    frames = np.zeros((len(starts), stems.n_channels, _N_FFT), np.float32)
    first, stop = starts[0], starts[-1] + _N_FFT
    # Many small reads are slower than a large one, unless most of the large one is not needed.
    at_once = stop - first <= _WASTE * len(starts) * _N_FFT
    span = stems.integers(stem, first, stop) if at_once else None
    for frame, start in zip(frames, starts, strict=True):
        if span is None:
            samples = stems.integers(stem, start, start + _N_FFT)
        else:
            samples = span[max(0, start - max(0, first)) :][: _N_FFT + min(0, start)]
        offset = max(0, -start)
        frame[:, offset : offset + len(samples)] = samples.T
    return frames


def _rows(power: Floats, *, rate_hz: int, height: int) -> Floats:
    """Map bins [shape=(..., bins)] to rows of equal musical intervals [shape=(..., height)]."""
    highest = min(_HIGHEST_HZ, rate_hz / 2)
    edges_hz = np.geomspace(min(_LOWEST_HZ, highest / 2), highest, height + 1)
    edges = edges_hz * _N_FFT / rate_hz
    low = np.clip(np.floor(edges[:-1]).astype(int), 0, power.shape[-1] - 1)
    high = np.clip(np.ceil(edges[1:]).astype(int), low + 1, power.shape[-1])
    # The loudest bin that a row touches.
    rows = [power[..., first:stop].max(axis=-1) for first, stop in zip(low, high, strict=True)]
    return np.stack(rows, axis=-1)


def as_png(levels: npt.NDArray[np.uint8]) -> bytes:
    """Return a picture of levels [shape=(height, width)], 255 being the loudest.

    References
    ----------
    W3C, "Portable Network Graphics (PNG) Specification", colour type 3.
    """
    height, width = levels.shape
    # Each row begins with its filter: none.
    raw = np.concatenate([np.zeros((height, 1), np.uint8), levels], axis=1).tobytes()
    positions = np.linspace(0, 255, len(_COLOURS))
    channels = [
        np.interp(np.arange(256), positions, component) for component in zip(*_COLOURS, strict=True)
    ]
    palette = np.rint(np.stack(channels, axis=1)).astype(np.uint8).tobytes()
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", palette),
            _chunk(b"IDAT", zlib.compress(raw, 6)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
