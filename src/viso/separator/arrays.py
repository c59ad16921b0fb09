"""Sound that a caller hands over in memory: what it may be, and float32 made of it.

Nobody can tell ``(samples, channels)`` from ``(channels, samples)`` by the numbers alone, so only
what cannot be meant is refused: more channels than any song has.
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
"""Sound as callers have it: floats with full scale 1.0, or the integers of WAV files."""

# Below this a rate is a damaged header, and resampling would take any amount of memory.
_LOWEST_HZ = 1_000

# Integers as WAV files hold them: the value of silence, and that of full scale above it.
_INTEGERS = {"uint8": (128, 2.0**7), "int16": (0, 2.0**15), "int32": (0, 2.0**31)}


def is_file(song: object) -> TypeGuard[str | PathLike[str]]:
    """Tell a path from an array, or say what is neither.

    Raises
    ------
    AudioError
        If it is bytes, an open file, nothing or an empty name.
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
    """Refuse sampling rates that no song has (AudioError)."""
    if not isinstance(rate_hz, Integral) or isinstance(rate_hz, bool):
        raise AudioError(f"sampling rate {rate_hz!r}: say a whole number of hertz, rate_hz=44100")
    if not _LOWEST_HZ <= rate_hz <= HIGHEST_HZ:
        raise AudioError(
            f"sampling rate {rate_hz} Hz: need {_LOWEST_HZ} to {HIGHEST_HZ}; resample it"
        )


def check_channels(n_channels: int) -> None:
    """Refuse numbers of channels that no song has (AudioError)."""
    if not isinstance(n_channels, Integral) or not 1 <= n_channels <= MOST_CHANNELS:
        raise AudioError(f"n_channels={n_channels!r}: say a whole number from 1 to {MOST_CHANNELS}")


def checked_array(song: object) -> Floats:
    """Return an array fit for a model [shape=(channels, n)], or say what is wrong.

    Parameters
    ----------
    song : array [shape=(channels, n) or (n,)]
        Floats, or integers as WAV files hold them. Not changed.

    Raises
    ------
    AudioError
        If shape or type are none of sound, or a sample is no finite number.
    """
    array = _layed_out(np.asarray(song))
    if 0 in array.shape:
        raise AudioError(f"array of shape {array.shape}: holds no sample; need (channels, samples)")
    return _as_floats(array)


def checked_blocks(blocks: Iterable[Samples], *, n_channels: int) -> Iterator[Floats]:
    """Yield blocks of a stream as `checked_array` would have them; they may be empty.

    They are copies: a caller may fill the same array again and again.

    Raises
    ------
    AudioError
        As `checked_array`; also if a block has other channels than the stream.
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
    """Return it as (channels, samples): one axis is a mono song."""
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
