"""Packing: turns the items of the readers into a corpus; an interrupted packing can resume."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from viso._version import __version__
from viso.dsp.bandwidth import bandwidth_hz
from viso.errors import DataError
from viso.train.data.corpus import CorpusWriter, Track
from viso.train.data.readers.item import Item, check_lengths, load

__all__ = ["Group", "Packed", "groups_of", "pack"]


@dataclass(frozen=True)
class Packed:
    """One track of the corpus; `is_kept` is true if an interrupted packing had written it."""

    track: Track
    is_kept: bool


def pack(items: Iterable[Item], folder: Path, *, rate_hz: int = 44_100) -> Iterator[Packed]:
    """Decode, sum, resample and append every item; yield each track as it is written.

    If this ends early, by an error or by the end of the process, the tracks written so far stay
    in the folder as unfinished files. The same call then keeps the tracks whose sources have not
    changed, and its result is the same, byte for byte, as that of one unbroken call. An older
    corpus in the folder stays readable until the new one is complete.

    Parameters
    ----------
    items : iterable of Item
    folder : Path
        The corpus to make.
    rate_hz : int
        All items are resampled to this rate.

    Yields
    ------
    Packed
        The kept tracks come first.

    Raises
    ------
    AudioError
        If a file cannot be decoded.
    DataError
        If there is no item, a song has two tracks of one role, or the stems of a song differ
        in length by more than 0.1 s.
    """
    wanted = list(items)
    _check_names(wanted, folder)
    lengths: dict[str, list[int]] = {}
    with CorpusWriter(folder, rate_hz=rate_hz, plan=[_key(item) for item in wanted]) as writer:
        for track in list(writer.tracks):
            lengths.setdefault(track.song, []).append(track.n_samples)
            yield Packed(track, is_kept=True)
        for item in wanted[len(writer.tracks) :]:
            audio = load(item, rate_hz=rate_hz)
            ends = lengths.setdefault(item.song, [])
            ends.append(audio.shape[1])
            check_lengths(f"{item.song}: its vocals and its instrumental", ends, rate_hz)
            yield Packed(writer.add(_track(item, audio, rate_hz), [audio]), is_kept=False)


def _check_names(items: list[Item], folder: Path) -> None:
    if not items:
        raise DataError(f"{folder}: nothing to pack; name a folder of songs, voices or music")
    found: dict[tuple[str, str], Path] = {}
    for item in items:
        path = item.sources[0].path
        other = found.setdefault((item.song, item.role), path)
        if other is not path:
            raise DataError(
                f"{item.song}: two {item.role} tracks of this name, {other} and {path}; rename one"
            )


def _track(item: Item, audio: npt.NDArray[np.float32], rate_hz: int) -> Track:
    return Track(
        song=item.song,
        role=item.role,
        group=item.group,
        split=item.split,
        singer=item.singer,
        licence=item.licence,
        bandwidth_hz=bandwidth_hz(audio, rate_hz=rate_hz),
        release_level=item.release_level,
        n_channels=audio.shape[0],
    )


def _key(item: Item) -> str:
    """Return a key that identifies this track: its item, its files and the version of viso."""
    files = []
    for source in item.sources:
        try:
            facts = source.path.stat()
            files.append((str(source.path.absolute()), facts.st_size, facts.st_mtime_ns))
        except OSError:  # decoding will report it
            files.append((str(source.path), 0, 0))
    what = json.dumps([__version__, asdict(item), files], default=str)
    return hashlib.sha256(what.encode()).hexdigest()


@dataclass(frozen=True)
class Group:
    """The figures of the tracks of one role, group and split.

    Attributes
    ----------
    name, role, split : str
    n_tracks, n_singers : int
        `n_singers` counts the known singers.
    hours : float
    bandwidth_hz : float
        Median over the tracks.
    """

    name: str
    role: str
    split: str
    n_tracks: int
    n_singers: int
    hours: float
    bandwidth_hz: float


def groups_of(tracks: Iterable[Track], *, rate_hz: int) -> list[Group]:
    """Summarise tracks by group, split and role, in the order of their first appearance."""
    members: dict[tuple[str, str, str], list[Track]] = {}
    for track in tracks:
        members.setdefault((track.group, track.split, track.role), []).append(track)
    return [
        Group(
            name=name,
            role=role,
            split=split,
            n_tracks=len(found),
            n_singers=len({track.singer for track in found} - {None}),
            hours=sum(track.n_samples for track in found) / rate_hz / 3600,
            bandwidth_hz=statistics.median(track.bandwidth_hz for track in found),
        )
        for (name, split, role), found in members.items()
    ]
