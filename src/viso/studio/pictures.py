"""Spectrograms as PNG: time left to right, frequency bottom to top, no axes.

Drawn without a plotting library: a server should not need one.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt

from viso.dsp.stft import hann
from viso.separator import STEMS
from viso.studio.stem_store import ALL_STEMS, BITS, StemStore

__all__ = ["as_png", "spectrograms"]

Floats = npt.NDArray[np.float32]

_N_FFT = 4096
_LOWEST_HZ, _HIGHEST_HZ = 40.0, 16_000.0
_RANGE_DB = 80.0
_MOST_LOOKS = 3  # frames of a column
_COLUMNS = 16  # worked on at a time
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


def spectrograms(stem_store: StemStore, *, width: int, height: int) -> dict[str, bytes]:
    """Draw mixture, vocals and instrumental in one scale.

    0 dB is the mixture's loudest bin; 80 dB below is black.

    Parameters
    ----------
    stem_store : StemStore
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
            _columns(stem_store, range(first, min(width, first + _COLUMNS)), width, height)
            for first in range(0, width, _COLUMNS)
        ],
        axis=2,
    )
    reference = max(float(power[0].max()), 1e-12)
    decibels = 10 * np.log10(np.maximum(power / reference, 1e-12))
    levels = np.rint(np.clip(1 + decibels / _RANGE_DB, 0, 1) * 255).astype(np.uint8)
    return {stem: as_png(picture[::-1]) for stem, picture in zip(ALL_STEMS, levels, strict=True)}


def _columns(stem_store: StemStore, columns: range, width: int, height: int) -> Floats:
    """Return the power of columns [shape=(3, height, columns)], the lowest frequency first."""
    n, window = stem_store.n_samples, hann(_N_FFT)
    looks = min(_MOST_LOOKS, -(-n // (width * _N_FFT)))
    places = np.repeat(columns, looks) + np.tile((np.arange(looks) + 0.5) / looks, len(columns))
    starts = [int(place * n / width) - _N_FFT // 2 for place in places]
    pieces = np.stack([_pieces(stem_store, stem, starts) for stem in STEMS])
    pieces = pieces.reshape(2, len(columns), looks, stem_store.n_channels, _N_FFT)
    spectra = np.fft.rfft(pieces * (window / np.float32(1 << (BITS - 1))), axis=4)
    spectra = np.concatenate([spectra.sum(axis=0, keepdims=True), spectra])
    power = (spectra.real**2 + spectra.imag**2).mean(axis=(2, 3))
    return _rows(power, rate_hz=stem_store.rate_hz, height=height).transpose(0, 2, 1)


def _pieces(stem_store: StemStore, stem: str, starts: list[int]) -> Floats:
    """Read the samples of frames, silence around the song [shape=(frames, channels, _N_FFT)]."""
    pieces = np.zeros((len(starts), stem_store.n_channels, _N_FFT), np.float32)
    first, stop = starts[0], starts[-1] + _N_FFT
    # Many small reads take longer than one large one, unless most of that is not needed.
    at_once = stop - first <= _WASTE * len(starts) * _N_FFT
    sound = stem_store.integers(stem, first, stop) if at_once else None
    for piece, start in zip(pieces, starts, strict=True):
        if sound is None:
            found = stem_store.integers(stem, start, start + _N_FFT)
        else:
            found = sound[max(0, start - max(0, first)) :][: _N_FFT + min(0, start)]
        at = max(0, -start)
        piece[:, at : at + len(found)] = found.T
    return pieces


def _rows(power: Floats, *, rate_hz: int, height: int) -> Floats:
    """Put bins [shape=(..., bins)] on rows of equal musical intervals [shape=(..., height)]."""
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
    places = np.linspace(0, 255, len(_COLOURS))
    channels = [np.interp(np.arange(256), places, part) for part in zip(*_COLOURS, strict=True)]
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
