"""Find the songs of a batch below folders, each once, and recognise them by their content."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath

from viso.stores import objects
from viso.stores.address import Address, Location

__all__ = [
    "SUFFIXES",
    "Found",
    "Song",
    "Stamp",
    "Unreadable",
    "find_songs",
    "real_path",
    "sha256_of",
]

_SUFFIXES = """
wav wave bwf rf64 w64 aif aiff aifc au snd caf flac ogg oga opus spx mp3 mp2 m4a m4b aac wma ape wv
tta mpc ac3 eac3 dts amr mka mp4 m4v mov mkv webm avi wmv flv mpg mpeg 3gp
"""
SUFFIXES = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())
"""Suffixes of the files in a folder that count as songs; a file named itself may have any."""


@dataclass(frozen=True)
class Stamp:
    """Marks of a file that are cheap to compare: bytes, and nanoseconds of the last change.

    For an object in a store, `version` is its ETag or hash, if there is one; then the time is 0.
    """

    n_bytes: int
    mtime_ns: int
    version: str = ""

    @classmethod
    def of(cls, place: str | os.PathLike[str] | Address) -> Stamp:
        """Return the stamp of a file or an object.

        Raises
        ------
        OSError
            If it does not exist.
        DataError
            If the store does not answer.
        """
        if isinstance(place, Address):
            facts = objects.object_info(place)
            if facts is None:
                raise FileNotFoundError(errno.ENOENT, "nothing is there", str(place))
            return cls.from_info(facts)
        info = os.stat(place)  # noqa: PTH116  (a hundred thousand Path objects are not free)
        return cls(info.st_size, info.st_mtime_ns)

    @classmethod
    def from_info(cls, facts: objects.ObjectInfo) -> Stamp:
        """Return the stamp of an object from the store's facts."""
        return cls(facts.n_bytes or 0, facts.mtime_ns, facts.version)

    @property
    def tells(self) -> bool:
        """Whether the stamp changes with the content; some stores know only sizes."""
        return bool(self.mtime_ns or self.version)


@dataclass(frozen=True)
class Song:
    """A file to separate.

    `path` is the path as the user gives it. `key` is the real path, the same through any link.
    `folder` is where the stems go below the output folder. `listed` is the stamp from a store's
    listing.
    """

    path: Location
    key: str
    folder: PurePath = field(default_factory=PurePath)
    listed: Stamp | None = field(default=None, compare=False)

    def stamp(self) -> Stamp:
        """Return the song's stamp (errors: see `Stamp.of`)."""
        return self.listed or Stamp.of(self.path)


@dataclass(frozen=True)
class Unreadable:
    """A folder that could not be read, and why."""

    path: Location
    reason: str


@dataclass(frozen=True)
class Found:
    """Songs in the order of their paths.

    `n_others` counts files whose names are not those of audio files. `n_again` counts songs found
    a second time, through links or because they are named twice.
    """

    songs: tuple[Song, ...]
    unreadable: tuple[Unreadable, ...] = ()
    n_others: int = 0
    n_again: int = 0


def real_path(place: Location) -> str:
    """Return a string that is the same for all names of a file, a folder or an object."""
    return str(place) if isinstance(place, Address) else os.path.realpath(place)


def sha256_of(place: str | os.PathLike[str] | Address) -> str:
    """Return the SHA-256 of a file's or an object's content, in hexadecimal.

    Raises
    ------
    OSError
        If it is a file that cannot be read.
    DataError
        If it is an object, likewise.
    """
    if isinstance(place, Address):
        return objects.sha256_of(place)
    with open(place, "rb") as file:  # noqa: PTH123
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_songs(
    inputs: Iterable[Location],
    *,
    recursive: bool,
    out: Location,
    is_output: Callable[[str], bool] = lambda _: False,
) -> Found:
    """Find songs in files and folders, on this machine and in stores.

    Parameters
    ----------
    inputs : iterable of Path or Address
        A file is taken even if it does not exist. A folder gives all files with a suffix of
        `SUFFIXES`, except hidden ones. Links are followed, and no folder is entered twice.
    recursive : bool
        Also look into folders of folders.
    out : Path or Address
        The output folder; the search does not enter it from above.
    is_output : callable
        Whether a real path is a stem that an earlier batch wrote.

    Returns
    -------
    Found
        If there are several folders, `Song.folder` begins with the name of the song's folder; if
        there is one, it does not. Below that it follows the tree of the folder.

    Raises
    ------
    ConfigError, DataError
        If a store cannot be listed.
    """
    walk = _Walk(recursive, real_path(out), is_output)
    places = [(place, objects.is_folder(place)) for place in inputs]
    n_folders = sum(is_folder for _, is_folder in places)
    for place, is_folder in places:
        if not is_folder:
            walk.take(Song(place, real_path(place)))
        elif isinstance(place, Address):
            walk.take_listed(place, PurePath(place.name if n_folders > 1 else ""))
        else:
            name = os.path.basename(real_path(place))  # noqa: PTH119
            walk.enter(place, PurePath(name if n_folders > 1 else ""))
    return Found(tuple(walk.songs.values()), tuple(walk.unreadable), walk.n_others, walk.n_again)


class _Walk:
    def __init__(self, recursive: bool, out: str, is_output: Callable[[str], bool]) -> None:
        self._recursive, self._out, self._is_output = recursive, out, is_output
        self._entered: set[str] = set()
        self.songs: dict[str, Song] = {}
        self.unreadable: list[Unreadable] = []
        self.n_others = self.n_again = 0

    def take(self, song: Song) -> None:
        key = song.key if isinstance(song.path, Address) else os.path.normcase(song.key)
        if key in self.songs:
            self.n_again += 1
        else:
            self.songs[key] = song

    def enter(self, root: Path, home: PurePath) -> None:
        """Take the songs below a folder, without recursion: trees may be deeper than the stack."""
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

    def take_listed(self, root: Address, home: PurePath) -> None:
        """Take the songs below an address."""
        for name, facts in objects.listing(root, recursive=self._recursive):
            parts, key = name.split("/"), f"{root}/{name}"
            if key.startswith(f"{self._out}/") or any(part.startswith(".") for part in parts):
                continue
            if PurePosixPath(parts[-1]).suffix.lower() not in SUFFIXES:
                self.n_others += 1
            elif not self._is_output(key):
                folder = home.joinpath(*parts[:-1])
                self.take(Song(Address(key), key, folder, Stamp.from_info(facts)))

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
    """Whether it is a file, not a pipe or a device; a broken link counts and fails later."""
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))  # noqa: PTH110
    except OSError:
        return True
