"""Checks arrays from callers and converts them to float32.

The numbers alone do not distinguish ``(samples, channels)`` from ``(channels, samples)``, so the
check refuses only arrays with more channels than any song has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from numbers import Integral
from os import PathLike
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from viso.audio.reading import HIGHEST_HZ, MOST_CHANNELS
from viso.errors import AudioError

__all__ = ["Samples", "check_channels", "check_rate", "checked_array", "checked_blocks", "is_file"]

Floats = npt.NDArray[np.float32]
Samples = npt.NDArray[np.floating[Any]] | npt.NDArray[np.integer[Any]]
"""Sound from callers: floats with full scale 1.0, or the integers of WAV files."""

# A lower rate means a damaged header, and resampling would take any amount of memory.
_LOWEST_HZ = 1_000

# The integer types of WAV files: the value of silence, and full scale above it.
_INTEGERS = {"uint8": (128, 2.0**7), "int16": (0, 2.0**15), "int32": (0, 2.0**31)}


def is_file(song: object) -> TypeGuard[str | PathLike[str]]:
    """Tell whether a song is a path; raise if it is neither a path nor an array.

    Raises
    ------
    AudioError
        If it is bytes, an open file, None or an empty name.
    """
    if isinstance(song, str | PathLike):
        if isinstance(song, str) and not song:
            raise AudioError("song '': an empty name; pass the path of a file")
        return True
    if song is None:
        raise AudioError("song None: pass the path of a file, or an array and its rate_hz")
    if isinstance(song, bytes | bytearray | memoryview):
        raise AudioError(
            f"song of {len(song)} bytes ({type(song).__name__}): pass a path as os.fsdecode(path); "
            "a file's content goes to disk first"
        )
    if hasattr(song, "read"):
        raise AudioError(
            f"song {type(song).__name__}: an open file; pass its path, or write its content to "
            "disk and pass that path"
        )
    return False


def check_rate(rate_hz: int) -> None:
    """Raise AudioError for a sampling rate that no song has."""
    if not isinstance(rate_hz, Integral) or isinstance(rate_hz, bool):
        raise AudioError(f"sampling rate {rate_hz!r}: say a whole number of hertz, rate_hz=44100")
    if not _LOWEST_HZ <= rate_hz <= HIGHEST_HZ:
        raise AudioError(
            f"sampling rate {rate_hz} Hz: need {_LOWEST_HZ} to {HIGHEST_HZ}; resample it"
        )


def check_channels(n_channels: int) -> None:
    """Raise AudioError for a number of channels that no song has."""
    if not isinstance(n_channels, Integral) or not 1 <= n_channels <= MOST_CHANNELS:
        raise AudioError(f"n_channels={n_channels!r}: say a whole number from 1 to {MOST_CHANNELS}")


def checked_array(song: object) -> Floats:
    """Return an array as float32 [shape=(channels, n)], or raise if it is not sound.

    Parameters
    ----------
    song : array [shape=(channels, n) or (n,)]
        Floats, or integers as in WAV files. It is not changed.

    Raises
    ------
    AudioError
        If the shape or the type is not that of sound, or a sample is not a finite number.
    """
    array = _layed_out(np.asarray(song))
    if 0 in array.shape:
        raise AudioError(f"array of shape {array.shape}: holds no sample; need (channels, samples)")
    return _as_floats(array)


def checked_blocks(blocks: Iterable[Samples], *, n_channels: int) -> Iterator[Floats]:
    """Yield the blocks of a stream as float32, checked like `checked_array`; they may be empty.

    The results are copies, so a caller may reuse one array for all blocks.

    Raises
    ------
    AudioError
        As `checked_array`; also if the number of channels of a block differs from the stream's.
    """
    for block in blocks:
        array = _layed_out(np.asarray(block))
        if array.shape[0] != n_channels:
            raise AudioError(
                f"block of shape {array.shape}: the stream has {n_channels} channels; "
                "pass (channels, samples)"
            )
        yield np.array(_as_floats(array))


def _layed_out(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the array as (channels, samples); an array with one axis is a mono song."""
    if array.ndim == 1:
        array = array[np.newaxis]
    if array.ndim != 2:
        what = f"{array.dtype} of shape {array.shape}" if array.ndim else f"{array.dtype}, no array"
        raise AudioError(f"song is {what}: need numbers of shape (channels, samples)")
    if array.shape[0] > MOST_CHANNELS:
        raise AudioError(
            f"array of shape {array.shape}: {array.shape[0]} channels, and {MOST_CHANNELS} are the "
            "most; if these are samples, transpose it: pass song.T"
        )
    return array


def _as_floats(array: npt.NDArray[Any]) -> Floats:
    name = array.dtype.name
    if name in _INTEGERS:
        silence, full_scale = _INTEGERS[name]
        return ((array.astype(np.float64) - silence) / full_scale).astype(np.float32)
    if not np.issubdtype(array.dtype, np.floating):
        raise AudioError(
            f"array of {array.dtype}: need floats with full scale 1.0, or {', '.join(_INTEGERS)}; "
            "pass (song / full_scale).astype('float32')"
        )
    with np.errstate(over="ignore"):
        floats = array.astype(np.float32, copy=False)
    is_finite = np.isfinite(floats)
    if not is_finite.all():
        channel, index = np.argwhere(~is_finite)[0]
        raise AudioError(
            f"array of shape {array.shape}: sample {array[channel, index]} in channel "
            f"{channel + 1} at {index} is NaN or infinite; repair it first"
        )
    return floats
