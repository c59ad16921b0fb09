"""Names of stems that no two songs share, on any file system.

A song is called by its file's name without the suffix, and if another one has that already,
by its whole name; if even that is taken, or too long for a file system, part of a hash of its
path is added::

    song.mp3 -> song/vocals.wav
    song.wav -> song.wav/vocals.wav

Two names are the same if a file system somewhere would take them for the same: upper and lower
case, composed and decomposed accents, blanks and dots at the end.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePath

from viso.batch.settings import SeparationConfig
from viso.batch.songs import Song, real_path
from viso.places import Place

__all__ = ["Names", "name_key", "possible_files", "unique_files"]

_LONGEST = 255  # bytes of one name on nearly every file system


def name_key(path: PurePath | str) -> str:
    """Return what is equal for all names that are one file somewhere."""
    parts = PurePath(path).parts
    return "/".join(unicodedata.normalize("NFC", part).casefold().rstrip(" .") for part in parts)


def possible_files(
    song: Song, config: SeparationConfig, *, model: str
) -> Iterator[dict[str, Path]]:
    """Yield the files that a song's stems may get, the best names first.

    Returns
    -------
    iterator of dict of str to Path
        Paths below the output folder, by stem. The last one has part of a hash in its name.
    """
    for name in (song.path.stem, song.path.name):
        if name.strip(" .") and not _is_too_long(files := config.files(name, model=model)):
            yield _below(song.folder, files)
    yield unique_files(song, config, model=model)


def unique_files(song: Song, config: SeparationConfig, *, model: str) -> dict[str, Path]:
    """Return the files of a song under a name that no other song has, cut where it must be."""
    mark = hashlib.sha256(os.fsencode(song.key)).hexdigest()[:8]
    name = song.path.stem if song.path.stem.strip(" .") else "song"
    while _is_too_long(files := config.files(f"{name} {mark}", model=model)) and name:
        name = name[:-1]
    return _below(song.folder, files)


def _below(folder: PurePath, files: Mapping[str, Path]) -> dict[str, Path]:
    return {stem: Path(folder, path) for stem, path in files.items()}


def _is_too_long(files: Mapping[str, Path]) -> bool:
    parts = (part for path in files.values() for part in path.parts)
    return any(len(os.fsencode(part)) > _LONGEST for part in parts)


class Names:
    """Which song has which file.

    Parameters
    ----------
    out : Path or Address
        The output folder.
    songs : iterable of Song
        Songs that lie in it are no place for stems.
    """

    def __init__(self, out: Place, songs: Iterable[Song] = ()) -> None:
        self._files: dict[str, str] = {}
        self._folders: set[str] = set()
        root = os.path.join(real_path(out), "")  # noqa: PTH118
        for song in songs:
            if song.key.startswith(root):
                self._files[name_key(song.key[len(root) :])] = ""

    def give(self, song: str, files: Iterable[PurePath]) -> None:
        """Note files [paths below the output folder] as those of a song, by its key."""
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
            # A file cannot be a folder, too.
            while key := key.rpartition("/")[0]:
                if key in self._files:
                    return False
        return True
