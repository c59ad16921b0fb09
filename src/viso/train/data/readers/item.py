"""What a reader finds, an `Item` for each track to be packed, and how to decode it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from viso.audio import Resampler, open_audio
from viso.errors import DataError

__all__ = ["Item", "Role", "Source", "Split", "check_lengths", "load"]

Role = Literal["vocals", "instrumental"]
Split = Literal["train", "valid"]

_TOLERANCE_S = 0.1


@dataclass(frozen=True)
class Source:
    """One audio track of one file, times a sign.

    Attributes
    ----------
    path : Path
    track : int
        Number of the audio track in the file, from 0.
    sign : float
        The factor for its samples.
    """

    path: Path
    track: int = 0
    sign: float = 1.0


@dataclass(frozen=True)
class Item:
    """One track to be packed: the sum of its sources, with the facts about it.

    Attributes
    ----------
    sources : tuple of Source
    song : str
        Name of the song, unique in a corpus; its vocals and its instrumental share it.
    role, group, split, singer, licence, release_level
        As in `viso.train.data.corpus.Track`.
    longest_s : float or None
        Longest duration, in seconds; a longer recording keeps its middle.
    mixture : Source or None
        The song's own mixture, where the data set has one.
    """

    sources: tuple[Source, ...]
    song: str
    role: Role
    group: str
    split: Split
    singer: str | None = None
    licence: str = "unknown"
    release_level: bool = False
    longest_s: float | None = None
    mixture: Source | None = None


def load(item: Item, *, rate_hz: int) -> npt.NDArray[np.float32]:
    """Decode, resample and sum the sources of an item.

    Parameters
    ----------
    item : Item
    rate_hz : int
        Rate of the result, in hertz.

    Returns
    -------
    np.ndarray [shape=(channels, n), float32]
        One channel, or two if a source has two; then a mono source goes to both channels. If a
        source has more than two channels, the front pair is kept. The length is that of the
        shortest source.

    Raises
    ------
    AudioError
        If a file cannot be decoded, or has no such track.
    DataError
        If the sources differ in length by more than 0.1 s.
    """
    start_s = _middle(item)
    parts = [_decode(source, rate_hz, start_s, item.longest_s) for source in item.sources]
    lengths = [part.shape[1] for part in parts]
    check_lengths(f"{item.song}: the files of its {item.role} ({_names(item)})", lengths, rate_hz)
    audio = np.zeros((max(len(part) for part in parts), min(lengths)), np.float32)
    for source, part in zip(item.sources, parts, strict=True):
        audio += np.float32(source.sign) * part[:, : audio.shape[1]]
    return audio


def check_lengths(what: str, lengths: list[int], rate_hz: int) -> None:
    """Raise a `DataError` if the lengths, in samples, are too different for one recording."""
    # A codec may add a frame or two; more means that the stems are not from one recording.
    if max(lengths) - min(lengths) > _TOLERANCE_S * rate_hz:
        seconds = ", ".join(f"{n / rate_hz:.2f}" for n in lengths)
        raise DataError(
            f"{what} last {seconds} s, not equally long; use stems of one recording, or take "
            "the song out"
        )


def _names(item: Item) -> str:
    return ", ".join(str(source.path) for source in item.sources)


def _middle(item: Item) -> float:
    """Return where the middle of a recording starts, in seconds; the same for all sources."""
    if item.longest_s is None:
        return 0.0
    with open_audio(item.sources[0].path, track=item.sources[0].track) as song:
        return max(0.0, ((song.duration_s or 0.0) - item.longest_s) / 2)


def _decode(
    source: Source, rate_hz: int, start_s: float, longest_s: float | None
) -> npt.NDArray[np.float32]:
    """Return at most two channels of a source at `rate_hz` [shape=(channels, n)]."""
    with open_audio(source.path, track=source.track) as song:
        resampler = Resampler(song.n_channels, from_hz=song.rate_hz, to_hz=rate_hz)
        blocks = song.blocks(start_s=start_s, duration_s=longest_s)
        parts = [resampler.process(block) for block in blocks]
        parts.append(resampler.process(np.zeros((song.n_channels, 0), np.float32), last=True))
    return np.concatenate(parts, axis=1)[:2]
