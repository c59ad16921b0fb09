"""The songs of a batch: found below folders, each once, and known again by their content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

__all__ = ["SUFFIXES", "Found", "Song", "Stamp", "Unreadable", "find_songs", "sha256_of"]

_SUFFIXES = """
wav wave bwf rf64 w64 aif aiff aifc au snd caf flac ogg oga opus spx mp3 mp2 m4a m4b aac wma ape wv
tta mpc ac3 eac3 dts amr mka mp4 m4v mov mkv webm avi wmv flv mpg mpeg 3gp
"""
SUFFIXES = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())
"""Files of a folder that are taken for songs; a file named by itself may have any suffix."""


@dataclass(frozen=True)
class Song:
    """A file to separate.

    `path` is how the user would say it, `key` its real path, the same whatever links lead there,
    `folder` where its stems belong below the output folder.
    """

    path: Path
    key: str
    folder: PurePath = field(default_factory=PurePath)


@dataclass(frozen=True)
class Unreadable:
    """A folder that could not be looked into, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Found:
    """Songs in the order of their paths; `n_others` are files that are no sound by their name.

    `n_again` are songs met a second time, through links or because they are named twice.
    """

    songs: tuple[Song, ...]
    unreadable: tuple[Unreadable, ...] = ()
    n_others: int = 0
    n_again: int = 0


@dataclass(frozen=True)
class Stamp:
    """Size in bytes and time of the last change in nanoseconds: cheap to compare."""

    n_bytes: int
    mtime_ns: int

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Stamp:
        """Return those of a file (OSError if there is none)."""
        info = os.stat(path)  # noqa: PTH116  (a hundred thousand Path objects are not free)
        return cls(info.st_size, info.st_mtime_ns)


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Return the hash of a file's content, in hexadecimal (OSError if it cannot be read)."""
    with open(path, "rb") as file:  # noqa: PTH123
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_songs(
    inputs: Iterable[Path],
    *,
    recursive: bool,
    out: Path,
    is_output: Callable[[str], bool] = lambda _: False,
) -> Found:
    """Look for songs in files and folders.

    Parameters
    ----------
    inputs : iterable of Path
        A file is taken as it is, there or not. Of a folder all files that `SUFFIXES` names,
        hidden ones left out; links are followed, and no folder is entered twice.
    recursive : bool
        Also in folders of folders.
    out : Path
        The output folder, which is not entered from above.
    is_output : callable
        Tells of a real path whether it is a stem that an earlier batch wrote.

    Returns
    -------
    Found
        Of several folders each gets a folder of its name in `Song.folder`, of a single one the
        stems lie right below the output folder, in its own order of folders.
    """
    walk = _Walk(recursive, os.path.realpath(out), is_output)
    inputs = list(inputs)
    n_folders = sum(path.is_dir() for path in inputs)
    for path in inputs:
        if path.is_dir():
            home = PurePath(path.resolve().name if n_folders > 1 else "")
            walk.enter(path, home)
        else:
            walk.take(Song(path, os.path.realpath(path)))
    return Found(tuple(walk.songs.values()), tuple(walk.unreadable), walk.n_others, walk.n_again)


class _Walk:
    def __init__(self, recursive: bool, out: str, is_output: Callable[[str], bool]) -> None:
        self._recursive, self._out, self._is_output = recursive, out, is_output
        self._entered: set[str] = set()
        self.songs: dict[str, Song] = {}
        self.unreadable: list[Unreadable] = []
        self.n_others = self.n_again = 0

    def take(self, song: Song) -> None:
        key = os.path.normcase(song.key)
        if key in self.songs:
            self.n_again += 1
        else:
            self.songs[key] = song

    def enter(self, root: Path, home: PurePath) -> None:
        """Walk without recursion: a tree may be deeper than Python's stack."""
        waiting = [(root, os.path.realpath(root), home)]
        while waiting:
            path, real, folder = waiting.pop()
            if os.path.normcase(real) in self._entered:
                continue
            self._entered.add(os.path.normcase(real))
            below = []
            for entry, where in self._entries(path, real):
                if _is_folder(entry):
                    if self._recursive and where != self._out:
                        below.append((path / entry.name, where, folder / entry.name))
                else:
                    self._look(path / entry.name, entry, where, folder)
            waiting.extend(reversed(below))

    def _entries(self, path: Path, real: str) -> Iterator[tuple[os.DirEntry[str], str]]:
        try:
            with os.scandir(path) as entries:
                visible = sorted((e for e in entries if e.name[0] != "."), key=lambda e: e.name)
        except OSError as error:
            reason = f"{path}: folder cannot be read ({error.strerror}); check its permissions"
            self.unreadable.append(Unreadable(path, reason))
            return
        for entry in visible:
            where = os.path.join(real, entry.name)  # noqa: PTH118
            yield entry, os.path.realpath(where) if entry.is_symlink() else where

    def _look(self, path: Path, entry: os.DirEntry[str], real: str, folder: PurePath) -> None:
        if path.suffix.lower() not in SUFFIXES or not _is_file(entry):
            self.n_others += 1
        elif not self._is_output(real):
            self.take(Song(path, real, folder))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Tell files from pipes and devices; a link to nowhere is a song that will fail by name."""
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))  # noqa: PTH110
    except OSError:
        return True
