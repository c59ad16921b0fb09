"""The corpus: all recordings that a training run can draw from, packed once.

A corpus is a folder with three files::

    audio.i16     all tracks one after the other, little-endian int16, interleaved
    levels.f32    RMS of every block of `LEVEL_BLOCK` samples, track after track
    index.json    one record a track: its position, what it is, who made it, its licence

A stored value v stands for v / 32768 * the track's `peak`. While a corpus is being written, its
files are called ``*.part``, and ``journal.jsonl`` records which tracks are complete.

The audio is memory-mapped, so opening is fast and several processes share the pages.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from viso.config import parse_json
from viso.errors import DataError
from viso.train.data.journal import Journal

__all__ = ["LEVEL_BLOCK", "Corpus", "CorpusWriter", "Track"]

LEVEL_BLOCK = 4410
"""Samples in one entry of the level table (0.1 s at 44.1 kHz)."""

_FORMAT = 1
_DIGITS = 16  # of a SHA-256, in hexadecimal


class Track(BaseModel):
    """One recording inside a corpus.

    `song` links the vocals and the instrumental of one song (they are aligned and equally
    long). `bandwidth_hz` is the highest frequency in the source; a loss must ignore what is
    above it. `release_level` is true if the song's stems have the levels of the finished
    record. `peak` is the value that full scale stands for, 1 or more: sums of stems may
    exceed 1. `sha256` is the start of the hash of the stored bytes; old corpora have none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    song: str
    role: Literal["vocals", "instrumental"]
    group: str
    split: Literal["train", "valid"] = "train"
    singer: str | None = None
    licence: str = "unknown"
    bandwidth_hz: float
    release_level: bool = False
    peak: float = Field(1.0, ge=1, allow_inf_nan=False)
    sha256: str = ""
    n_channels: int = Field(ge=1, le=2)
    n_samples: int = Field(0, ge=0)
    offset: int = Field(0, ge=0)
    level_offset: int = Field(0, ge=0)

    @property
    def n_levels(self) -> int:
        """The number of entries of this track in the level table."""
        return self.n_samples // LEVEL_BLOCK


class CorpusWriter:
    """Appends tracks to a new corpus, which appears complete at the end of the `with` block.

    Until then, and if the block ends with an exception, an older corpus in the folder stays
    as it is: a run may have it mapped into memory.

    Parameters
    ----------
    folder : Path
        Created if missing.
    rate_hz : int
        Sampling rate of all tracks in the corpus.
    plan : sequence of str, optional
        A key for each track that the caller is going to add, in order. With a plan, an
        interrupted writer leaves its unfinished files and a journal in the folder. The next
        writer keeps the complete tracks that match the start of its own plan; the caller adds
        the tracks after them.

    Attributes
    ----------
    tracks : list of Track
        The tracks in the corpus so far; at first the kept ones.
    """

    def __init__(
        self, folder: Path, *, rate_hz: int = 44_100, plan: Sequence[str] | None = None
    ) -> None:
        _take_folder(folder)
        self.folder = folder
        self.rate_hz = rate_hz
        self.tracks: list[Track] = []
        self._plan = plan
        self._n_values = 0
        self._n_levels = 0
        self._journal = Journal(folder / "journal.jsonl", {"format": _FORMAT, "rate_hz": rate_hz})
        # Append: tracks of an interrupted writer may be kept.
        self._audio = (folder / "audio.i16.part").open("a+b")
        self._levels = (folder / "levels.f32.part").open("a+b")
        kept = self._take_up(plan) if plan is not None else []
        self._audio.truncate(self._n_values * 2)
        self._levels.truncate(self._n_levels * 4)
        if plan is not None:
            self._journal.begin(kept)

    def _take_up(self, plan: Sequence[str]) -> list[dict[str, Any]]:
        """Keep the tracks of an interrupted writer; return their entries in the journal."""
        kept = []
        self._audio.seek(0)
        self._levels.seek(0)
        for entry, key in zip(self._journal.read(), plan, strict=False):
            try:
                track = Track(**entry["track"])
                is_wanted = entry["key"] == key
                stated = (track.sha256, entry["levels"])
            except (KeyError, TypeError, ValueError):
                break
            # Compare with the bytes: after a power cut a file may be long enough but empty inside.
            audio = self._audio.read(track.n_samples * track.n_channels * 2)
            found = (_digest(audio), _digest(self._levels.read(track.n_levels * 4)))
            if not is_wanted or found != stated:
                break
            self._append(track)
            kept.append(entry)
        return kept

    def _append(self, track: Track) -> None:
        self.tracks.append(track)
        self._n_values += track.n_samples * track.n_channels
        self._n_levels += track.n_levels

    def add(self, track: Track, blocks: Iterable[npt.NDArray[np.float32]]) -> Track:
        """Append one track.

        Parameters
        ----------
        track : Track
            This method fills in `peak`, `sha256`, `n_samples`, `offset` and `level_offset`.
        blocks : iterable of float32 arrays [shape=(n_channels, n)]
            The audio at the corpus's rate, full scale 1.0. Louder audio is scaled by `peak`,
            not clipped.

        Returns
        -------
        Track
            The record as it is in the index.
        """
        # Read the whole track first: the peak decides how each sample is stored.
        sound = np.concatenate([np.zeros((track.n_channels, 0), np.float32), *blocks], axis=1)
        peak = max(1.0, float(np.abs(sound).max(initial=0.0)))
        values = np.rint(sound.T * np.float32(32768 / peak))
        audio = np.clip(values, -32768, 32767, out=values).astype("<i2").tobytes()
        whole = sound.shape[1] // LEVEL_BLOCK
        table = sound[:, : whole * LEVEL_BLOCK].reshape(track.n_channels, whole, LEVEL_BLOCK)
        levels = np.sqrt(np.mean(table**2, axis=(0, 2))).astype("<f4").tobytes()
        self._audio.write(audio)
        self._levels.write(levels)
        facts = {"peak": peak, "sha256": _digest(audio), "n_samples": sound.shape[1]}
        places = {"offset": self._n_values, "level_offset": self._n_levels}
        placed = track.model_copy(update={**facts, **places})
        if self._plan is not None:
            # Write the sound first: the journal must not list more than the files hold.
            self._audio.flush()
            self._levels.flush()
            key = self._plan[len(self.tracks)]
            entry = {"key": key, "levels": _digest(levels), "track": placed.model_dump()}
            self._journal.append(entry)
        self._append(placed)
        return placed

    def close(self) -> None:
        """Give the files their final names, the index last; then the corpus is readable."""
        self._audio.close()
        self._levels.close()
        # If we are interrupted here, an old index must not describe new audio.
        (self.folder / "index.json").unlink(missing_ok=True)
        for name in ("audio.i16", "levels.f32"):
            (self.folder / f"{name}.part").replace(self.folder / name)
        tracks = [track.model_dump() for track in self.tracks]
        index = {"format": _FORMAT, "rate_hz": self.rate_hz, "tracks": tracks}
        unfinished = self.folder / "index.json.part"
        unfinished.write_text(json.dumps(index, indent=1), encoding="utf-8")
        unfinished.replace(self.folder / "index.json")
        self._journal.remove()

    def __enter__(self) -> CorpusWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
            return
        is_kept = self._plan is not None and self.tracks
        for file in (self._audio, self._levels):
            file.close()
            if not is_kept:
                Path(file.name).unlink()
        if not is_kept:
            self._journal.remove()


_SOUND = {"audio.i16", "levels.f32"}
_PASSING = {f"{name}.part" for name in (*_SOUND, "index.json", "journal.jsonl")}


def _take_folder(folder: Path) -> None:
    """Create the folder, or check that its files are those of a corpus and may be replaced.

    Raises
    ------
    DataError
        If it holds files but no corpus, complete or begun, or if it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise DataError(f"{folder}: cannot be made or used ({error.strerror})") from error
    has_sound = {name.removesuffix(".part") for name in names} >= _SOUND
    if not (names <= _PASSING or has_sound or _is_begun(folder) or _is_packed(folder)):
        raise DataError(
            f"{folder}: holds other files and no corpus; choose an empty or a new folder"
        )
    for name in names & _PASSING:
        if (folder / name).is_symlink():
            raise DataError(f"{folder / name}: is a link, which is not followed; take it away")


def _is_packed(folder: Path) -> bool:
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(index, dict) and {"format", "rate_hz", "tracks"} <= index.keys()


def _is_begun(folder: Path) -> bool:
    try:
        with (folder / "journal.jsonl").open(encoding="utf-8") as lines:
            header = json.loads(lines.readline())
    except (OSError, ValueError):
        return False
    return isinstance(header, dict) and {"format", "rate_hz"} <= header.keys()


class Corpus:
    """A packed corpus, opened for reading.

    Attributes
    ----------
    tracks : list of Track
    rate_hz : int
    audio : int16 memory map [shape=(n_values,)]
    levels : float32 memory map [shape=(n_levels,)]

    Raises
    ------
    DataError
        If `folder` holds no corpus, or if the files do not fit the index.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / "index.json"
        try:
            index = parse_json(path.read_text(encoding="utf-8"))
            if index["format"] != _FORMAT:
                raise DataError(f"{path}: corpus format {index['format']}, need {_FORMAT}; repack")
            self.rate_hz = int(index["rate_hz"])
            self.tracks = [Track(**record) for record in index["tracks"]]
        except OSError as error:
            raise DataError(f"{folder}: no corpus here (viso data pack makes one)") from error
        except (KeyError, TypeError, ValueError, ValidationError) as error:
            raise DataError(f"{path}: damaged index, repack the corpus ({error!r:.120})") from error
        self.folder = folder
        ends = [t.offset + t.n_samples * t.n_channels for t in self.tracks]
        self.audio = _mapped(folder / "audio.i16", "<i2", max(ends, default=0))
        ends = [t.level_offset + t.n_levels for t in self.tracks]
        self.levels = _mapped(folder / "levels.f32", "<f4", max(ends, default=0))

    def read(self, track: Track) -> npt.NDArray[np.float32]:
        """Return a whole track, float32 [shape=(n_channels, n_samples)]."""
        flat = self.audio[track.offset : track.offset + track.n_samples * track.n_channels]
        audio = flat.reshape(-1, track.n_channels).T.astype(np.float32)
        audio *= np.float32(track.peak / 32768)
        return audio

    def track_levels(self, track: Track) -> npt.NDArray[np.float32]:
        """Return the track's RMS per `LEVEL_BLOCK` samples [shape=(n_levels,)]."""
        return np.asarray(self.levels[track.level_offset : track.level_offset + track.n_levels])

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the index in hexadecimal; the index holds hashes of the audio.

        Fields of a track that have their default do not count: a corpus keeps its hash when
        later versions add fields.
        """
        tracks = [track.model_dump(exclude_defaults=True) for track in self.tracks]
        content = [_FORMAT, self.rate_hz, tracks]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def hours(self) -> dict[str, float]:
        """Return the hours of audio for each `role/group/split`."""
        table: dict[str, float] = {}
        for track in self.tracks:
            key = f"{track.role}/{track.group}/{track.split}"
            table[key] = table.get(key, 0.0) + track.n_samples / self.rate_hz / 3600
        return table


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_DIGITS]


def _mapped(path: Path, kind: str, need: int) -> npt.NDArray[Any]:
    """Map a file that must hold at least `need` values of one kind."""
    try:
        n_values = path.stat().st_size // np.dtype(kind).itemsize
        if n_values < need:
            raise DataError(f"{path}: shorter than its index says, repack the corpus")
        # An empty file cannot be mapped.
        return np.memmap(path, kind, "r", shape=(n_values,)) if n_values else np.zeros(0, kind)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}), repack the corpus") from error
