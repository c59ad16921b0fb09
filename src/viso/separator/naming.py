"""Chooses names of stems that no two songs share, on any file system.

A song gets its file's name without the suffix, or its whole file name if another song has the
first one. If both are taken, or too long for a file system, the name gets eight digits of a
hash of the song's path::

    song.mp3 -> song/vocals.wav
    song.wav -> song.wav/vocals.wav

Two names are the same if any file system treats them as the same: upper and lower case, composed
and decomposed accents, spaces and dots at the end. The tags of stems from an earlier run say from
which song they were made.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePath

from viso.audio import read_tags
from viso.errors import AudioError
from viso.stores.address import Location

__all__ = [
    "Names",
    "are_anothers",
    "best_files",
    "name_key",
    "possible_files",
    "song_tags",
    "unique_files",
]

_LONGEST = 255  # bytes of one name on nearly every file system
_SONG, _BYTES = "viso_song", "viso_song_bytes"

Files = Callable[[str], Mapping[str, Path]]
"""Returns the files of a song, below the output folder, for the song's chosen name."""


def name_key(path: PurePath | str) -> str:
    """Return a key that is equal for all names that some file system treats as the same."""
    parts = PurePath(path).parts
    return "/".join(unicodedata.normalize("NFC", part).casefold().rstrip(" .") for part in parts)


def possible_files(song: Location, key: str, files_of: Files) -> Iterator[dict[str, Path]]:
    """Yield the possible files of a song's stems, the best names first.

    Parameters
    ----------
    song : Path or Address
    key : str
        Its real path.
    files_of : callable

    Yields
    ------
    dict of str to Path
        Paths below the output folder, by stem. The last dict has part of a hash in its names.
    """
    for name in dict.fromkeys((song.stem, song.name)):
        if name.strip(" .") and not _is_too_long(files := files_of(name)):
            yield dict(files)
    yield unique_files(song, key, files_of)


def unique_files(song: Location, key: str, files_of: Files) -> dict[str, Path]:
    """Return the files of a song under a unique name, cut if it is too long."""
    mark = hashlib.sha256(os.fsencode(key)).hexdigest()[:8]
    name = song.stem if song.stem.strip(" .") else "song"
    while _is_too_long(files := files_of(f"{name} {mark}")) and name:
        name = name[:-1]
    return dict(files)


def _is_too_long(files: Mapping[str, Path]) -> bool:
    parts = (part for path in files.values() for part in path.parts)
    return any(len(os.fsencode(part)) > _LONGEST for part in parts)


class Names:
    """Records which song has which file.

    Parameters
    ----------
    out : Path or Address
        The output folder.
    songs : iterable of str
        Real paths of songs; stems never get the path of a song in the output folder.
    """

    def __init__(self, out: Location, songs: Iterable[str] = ()) -> None:
        self._files: dict[str, str] = {}
        self._folders: set[str] = set()
        real = os.path.realpath(out) if isinstance(out, Path) else str(out)
        root = os.path.join(real, "")  # noqa: PTH118
        for song in songs:
            if song.startswith(root):
                self._files[name_key(song[len(root) :])] = ""

    def give(self, song: str, files: Iterable[PurePath]) -> None:
        """Record files [paths below the output folder] as those of a song, given by its key."""
        for path in files:
            key = name_key(path)
            self._files[key] = song
            while (key := key.rpartition("/")[0]) and key not in self._folders:
                self._folders.add(key)

    def are_free(self, song: str, files: Iterable[PurePath]) -> bool:
        """Tell whether a song may have these files."""
        seen = set()
        for path in files:
            key = name_key(path)
            if self._files.get(key, song) != song or key in self._folders or key in seen:
                return False
            seen.add(key)
            # A path cannot be both a file and a folder.
            while key := key.rpartition("/")[0]:
                if key in self._files:
                    return False
        return True


def song_tags(name: str, n_bytes: int) -> dict[str, str]:
    """Return the tags that tell what stems were made from: a song's file name and size."""
    return {_SONG: _printable(name), _BYTES: str(n_bytes)}


def are_anothers(out: Path, files: Mapping[str, Path], song: str) -> bool:
    """Tell whether existing stems have the tag of a song with another name."""
    return any(name != _printable(song) for name, _ in _makers(out, files))


def best_files(
    out: Path, options: Iterable[Mapping[str, Path]], song: Path
) -> Mapping[str, Path] | None:
    """Return the best of the possible files for a song; None if other songs' stems have them all.

    Files that were made from exactly this song come first: then the song is done. Otherwise take
    the first files that no song of another name has.
    """
    options = [files for files in options if not are_anothers(out, files, song.name)]
    try:
        size = str(song.stat().st_size)
    except OSError:
        size = ""
    mine = (files for files in options if any(n == size for _, n in _makers(out, files)))
    return next(mine, options[0] if options else None)


def _makers(out: Path, files: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """Yield the name and the size of the songs that existing stems were made from."""
    for path in files.values():
        # Most names are free, and a CSV table has no tags.
        if path.suffix == ".csv" or not os.path.isfile(out / path):  # noqa: PTH113
            continue
        try:
            tags = read_tags(out / path)
        except AudioError:
            continue
        if _SONG in tags:
            yield tags[_SONG], tags.get(_BYTES, "")


def _printable(name: str) -> str:
    """Return a file's name as text that a tag can store."""
    return name.encode("utf-8", "backslashreplace").decode()
