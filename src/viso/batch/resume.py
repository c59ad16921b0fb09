"""Which songs are done: compare the manifest's records with the files on the disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from viso.batch.manifest import Entry, Renewed
from viso.batch.settings import SeparationConfig
from viso.batch.songs import Found, Song, Stamp, real_path, sha256_of
from viso.separator.naming import name_key
from viso.stores import objects
from viso.stores.address import Address, Location

__all__ = ["Finished", "FinishedSongs", "outputs_of"]


@dataclass(frozen=True)
class Finished:
    """A song that is already done, and its stems below the output folder."""

    song: Location
    files: dict[str, Path]


class FinishedSongs:
    """Songs, sorted into open and finished ones by the manifest's records.

    Attributes
    ----------
    open : list of Song
        The songs to do.
    finished : list of Finished
    renewed : list of Renewed
        Songs of `finished` whose time or path has changed.
    new_paths : dict of str to str
        Songs that were moved: their old real path to their new one.
    n_renewed : int
        How many songs of `open` were done before.
    """

    def __init__(
        self, out: Location, config: SeparationConfig, known: Mapping[str, Entry], found: Found
    ) -> None:
        self._size = _sizes(out, wanted=bool(known))
        self._stems = {*config.stems, *(["confidence"] if config.confidence else [])}
        self.open: list[Song] = []
        self.finished: list[Finished] = []
        self.renewed: list[Renewed] = []
        self.new_paths: dict[str, str] = {}
        self.n_renewed = 0
        self._away = self._gone(known, {song.key for song in found.songs})
        for song in found.songs:
            entry = known.get(song.key) or self._moved(song)
            if entry is not None and self._is_done(song, entry):
                self.finished.append(Finished(song.path, entry.files))
            else:
                self.open.append(song)
                self.n_renewed += entry is not None and entry.state == "done"

    def _gone(self, known: Mapping[str, Entry], here: set[str]) -> dict[tuple[str, int], Entry]:
        """Return the entries of songs that were done but not found again, by name and size."""
        return {
            (os.path.basename(entry.song), entry.stamp.n_bytes): entry  # noqa: PTH119
            for entry in known.values()
            if entry.state == "done" and entry.stamp is not None and entry.song not in here
        }

    def _moved(self, song: Song) -> Entry | None:
        """Return the entry of a song that was moved, for example because its drive was renamed."""
        # Hashing an object would mean downloading it.
        if not self._away or isinstance(song.path, Address):
            return None
        try:
            stamp = Stamp.of(song.path)
            entry = self._away.get((song.path.name, stamp.n_bytes))
            if entry is None or os.path.lexists(entry.song):
                return None
            if sha256_of(song.path) != entry.sha256 or not self._has_files(entry):
                return None
        except OSError:
            return None
        self._away.pop((song.path.name, stamp.n_bytes))
        self.renewed.append(Renewed(entry.song, song.key, stamp))
        self.new_paths[entry.song] = song.key
        return replace(entry, song=song.key, stamp=stamp)

    def _is_done(self, song: Song, entry: Entry) -> bool:
        if entry.state != "done" or entry.stamp is None or not self._has_files(entry):
            return False
        try:
            stamp = song.stamp()
            if stamp == entry.stamp and stamp.tells:
                return True
            # Two different versions mean another content; a version and a time cannot be compared.
            is_other = stamp.version and entry.stamp.version
            if is_other or stamp.n_bytes != entry.stamp.n_bytes:
                return False
            if sha256_of(song.path) != entry.sha256:
                return False
        except OSError:
            return False
        self.renewed.append(Renewed(song.key, song.key, stamp))
        return True

    def _has_files(self, entry: Entry) -> bool:
        """Tell whether all files exist and none is cut short; they may have grown by tags."""
        return set(entry.files) == self._stems and all(
            (size := entry.sizes[stem]) is not None and self._size(path) >= size
            for stem, path in entry.files.items()
        )


def _sizes(out: Location, *, wanted: bool) -> Callable[[Path], int]:
    """Return a function that gives the size of a file below the output folder, -1 if missing."""
    if isinstance(out, Address):
        # One listing instead of one request for each file.
        there = objects.listing(out, recursive=True) if wanted else ()
        sizes = {name: facts.n_bytes or 0 for name, facts in there}
        return lambda path: sizes.get(path.as_posix(), -1)

    def size(path: Path) -> int:
        try:
            return os.stat(out / path).st_size  # noqa: PTH116
        except OSError:
            return -1

    return size


def outputs_of(out: Location, owned: list[tuple[str, Path]]) -> Callable[[str], bool]:
    """Return a function that says whether a real path is a stem of an earlier batch."""
    root = os.path.join(real_path(out), "")  # noqa: PTH118
    keys = {name_key(path) for _, path in owned}
    return lambda real: real.startswith(root) and name_key(real[len(root) :]) in keys
