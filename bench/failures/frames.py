"""What every frame and every bin is: is somebody singing, how, and is the music tonal there?

Frames are those of a transform of 4,096 samples every 1,024 (at 44.1 kHz; at other rates as long
in time, to a power of two). The level of a frame is the energy of the true vocals in it, all
channels together, in decibels below the song's loudest frame. Every frame is one of these, the
first that fits:

consonant   above -40 dB, and a tenth of its energy or more lies above 4 kHz
tail        12 to 40 dB below the loudest frame of the half second before it, and above -60 dB
pause       below -40 dB: nobody sings
onset       half of its magnitudes or more was not there two frames (46 ms) earlier
held        all others: vowels that go on
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import median_filter

from viso.dsp.stft import SpectralConfig, frames_for, stft

__all__ = ["EVENTS", "Part", "events_of", "is_percussive", "mid_side", "parts", "transform"]

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex64]
Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]

EVENTS = ("pause", "tail", "consonant", "onset", "held")
PAUSE, TAIL, CONSONANT, ONSET, HELD = range(len(EVENTS))

SILENT_DB, FAINT_DB = -40.0, -60.0
TAIL_S, TAIL_DB = 0.5, (12.0, 40.0)
HISS_HZ, HISS_SHARE = 4000.0, 0.1
NEW_SHARE, NEW_FRAMES = 0.5, 2
ALONG_TIME, ALONG_FREQUENCY = 17, 31  # frames (0.4 s) and bins (330 Hz)

_PART, _MARGIN = 1024, 16  # frames


class Part(NamedTuple):
    """Some frames of a song, and the same frames in the transform of some of its samples."""

    frames: slice
    samples: slice
    inside: slice


def transform(rate_hz: int) -> SpectralConfig:
    """Return the transform of 93 ms that all is measured with."""
    n_fft = 2 ** max(4, round(np.log2(4096 / 44_100 * rate_hz)))
    return SpectralConfig(rate_hz=rate_hz, n_fft=n_fft, hop=n_fft // 4)


def parts(n_samples: int, *, hop: int) -> Iterator[Part]:
    """Cut a song into parts that are measured one by one, so that a long one needs no more memory.

    The samples of a part reach 16 frames beyond it on both sides, for filters to look at.
    """
    n_frames = frames_for(n_samples, hop=hop)
    for first in range(0, n_frames, _PART):
        last = min(n_frames, first + _PART)
        start = max(0, first - _MARGIN)
        samples = slice(start * hop, min(n_samples, (last + _MARGIN) * hop))
        yield Part(slice(first, last), samples, slice(first - start, last - start))


def mid_side(audio: Floats) -> Floats:
    """Return (L + R) / sqrt 2 and (L - R) / sqrt 2 of two channels; other sound as it is."""
    if len(audio) != 2:
        return audio
    left, right = audio
    return np.stack([left + right, left - right]) * np.float32(np.sqrt(0.5))


def power(spectra: npt.NDArray[Any]) -> Floats:
    """Return the square of the magnitudes."""
    squares: Floats = spectra.real**2 + spectra.imag**2
    return squares


def events_of(vocals: Floats, config: SpectralConfig) -> Indices:
    """Return what every frame of the true vocals is, as an index into `EVENTS`.

    Parameters
    ----------
    vocals : float32 array [shape=(channels, n)]
    config : SpectralConfig

    Returns
    -------
    int array [shape=(frames,)]
        All "pause" if the vocals are silent.
    """
    n_frames = frames_for(vocals.shape[1], hop=config.hop)
    energy, hiss, new = (np.zeros(n_frames) for _ in range(3))
    hertz = np.arange(config.n_bins) * config.rate_hz / config.n_fft
    for part in parts(vocals.shape[1], hop=config.hop):
        squares = power(stft(vocals[:, part.samples], config=config)).sum(axis=0)
        size = np.sqrt(squares)
        before = np.pad(size, ((0, 0), (NEW_FRAMES, 0)))[:, : size.shape[1]]
        risen = np.maximum(size - before, 0).sum(axis=0) / np.maximum(size.sum(axis=0), 1e-30)
        energy[part.frames] = squares.sum(axis=0)[part.inside]
        hiss[part.frames] = squares[hertz >= HISS_HZ].sum(axis=0)[part.inside]
        new[part.frames] = risen[part.inside]
    if not energy.any():
        return np.full(n_frames, PAUSE)
    level_db = 10 * np.log10(np.maximum(energy / energy.max(), 1e-12))
    fallen_db = _loudest_before(level_db, round(TAIL_S * config.rate_hz / config.hop)) - level_db
    is_sung = level_db >= SILENT_DB
    rules = {
        CONSONANT: is_sung & (hiss >= HISS_SHARE * energy),
        TAIL: (fallen_db >= TAIL_DB[0]) & (fallen_db <= TAIL_DB[1]) & (level_db >= FAINT_DB),
        PAUSE: ~is_sung,
        ONSET: new >= NEW_SHARE,
    }
    return np.select(list(rules.values()), list(rules), default=HELD).astype(np.intp)


def _loudest_before(level_db: Doubles, n: int) -> Doubles:
    """Return the highest of the `n` levels before each."""
    padded = np.pad(level_db, (n, 0), constant_values=-np.inf)[:-1]
    highest: Doubles = np.lib.stride_tricks.sliding_window_view(padded, n).max(axis=1)
    return highest


def is_percussive(spectra: Complexes) -> Bools:
    """Return where the music is drums rather than tones [shape=(bins, frames)].

    There its magnitude, of all channels together, has a larger median over 31 bins around it than
    over 17 frames (Fitzgerald 2010).

    Parameters
    ----------
    spectra : complex64 array [shape=(channels, bins, frames)]
    """
    size = np.sqrt(power(spectra).sum(axis=0))
    along_time = _median_along_rows(size, ALONG_TIME)
    return along_time < _median_along_rows(size.T, ALONG_FREQUENCY).T


def _median_along_rows(values: Floats, n: int) -> Floats:
    """Return running medians; one long row is ten times as fast as many short ones."""
    padded = np.pad(values, ((0, 0), (n // 2, n // 2)), mode="symmetric")
    medians: Floats = median_filter(padded.ravel(), size=n).reshape(padded.shape)
    return medians[:, n // 2 : -(n // 2)]
