"""List, download and upload the objects of a store such as S3, through fsspec.

fsspec is imported only when there is an address. An object appears in a store only when whole.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from viso.errors import ConfigError, DataError, how_to_install
from viso.stores.address import Address, Location

__all__ = [
    "ObjectInfo",
    "download",
    "is_folder",
    "is_there",
    "listing",
    "object_info",
    "read_bytes",
    "remove",
    "sha256_of",
    "upload",
]

T = TypeVar("T")

_TRIES = 3  # for operations that may have failed by chance
_PAUSE_S = 0.5  # before the second try; doubled before each further one
_BLOCK_BYTES = 1 << 20

# In these stores an object appears at the end of its upload; elsewhere we rename it at the end.
_WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl"})
# These stores list a whole tree in one call.
_FLAT = _WHOLE | {"memory"}

_HOPELESS = (
    *(FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError),
    *(FileExistsError, NotImplementedError, ImportError, TypeError, ValueError),
)
_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound")
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


@dataclass(frozen=True)
class ObjectInfo:
    """What a store reports about an object.

    `n_bytes` is None if unknown. `version` is an ETag or a hash, which changes with the content.
    `mtime_ns` is the time of the last change. Both may be missing ("" and 0).
    """

    n_bytes: int | None
    version: str
    mtime_ns: int


def is_folder(place: Location) -> bool:
    """Tell whether it is a folder; False if it does not exist.

    Raises
    ------
    ConfigError, DataError
        See `listing`.
    """
    if isinstance(place, Path):
        return place.is_dir()
    try:
        found = _patiently(place, "cannot be looked up", lambda fs, path: fs.info(path))
    except _MissingError:
        return False
    return bool(found["type"] == "directory")


def object_info(address: Address) -> ObjectInfo | None:
    """Return what a store reports about an object, None if it does not exist.

    Raises
    ------
    ConfigError, DataError
        See `listing`.
    """
    try:
        found = _patiently(address, "cannot be looked up", lambda fs, path: fs.info(path))
    except _MissingError:
        return None
    return None if found["type"] == "directory" else _info(found)


def is_there(place: Location) -> bool:
    """Tell whether the file or the object exists (errors: see `listing`)."""
    return place.exists() if isinstance(place, Path) else object_info(place) is not None


def listing(folder: Address, *, recursive: bool) -> Iterator[tuple[str, ObjectInfo]]:
    """Yield the objects below an address, in the order of their names.

    Parameters
    ----------
    folder : Address
        If it does not exist, nothing is yielded.
    recursive : bool
        Also yield objects in folders of folders.

    Yields
    ------
    str
        The object's name below `folder`.
    ObjectInfo

    Raises
    ------
    ConfigError
        If the scheme is unknown or a package is missing.
    DataError
        If the store cannot be reached or refuses access.
    """

    def found(fs: Any, path: str) -> list[tuple[str, dict[str, Any]]]:
        if not recursive:
            entries = [(info["name"], info) for info in fs.ls(path, detail=True)]
        elif folder.scheme in _FLAT:
            entries = list(fs.find(path, detail=True).items())
        else:
            entries = [(info["name"], info) for info in _below(fs, path)]
        start = len(path.rstrip("/")) + 1
        return [(name[start:], info) for name, info in entries]

    try:
        entries = _patiently(folder, "cannot be listed", found)
    except _MissingError:
        return
    files = ((name, _info(info)) for name, info in entries if info["type"] != "directory")
    # An object's name may end with a slash, to look like a folder.
    yield from sorted((one for one in files if one[0]), key=lambda one: one[0])


def _below(fs: Any, path: str) -> Iterator[dict[str, Any]]:
    """Yield all files below a folder; fsspec's own walk would skip unreadable folders silently."""
    waiting = [path]
    while waiting:
        for info in fs.ls(waiting.pop(), detail=True):
            if info["type"] != "directory":
                yield info
            elif not info.get("islink"):  # a link may lead back up
                waiting.append(info["name"])


def download(address: Address, path: Path) -> ObjectInfo:
    """Copy an object into a file, whole and in one version.

    Raises
    ------
    ConfigError, DataError
        See `listing`; also if the object does not exist or changes meanwhile.
    """

    def fetched(fs: Any, where: str) -> ObjectInfo:
        before = _info(fs.info(where))
        fs.get_file(where, os.fspath(path))
        fs.invalidate_cache()
        if _info(fs.info(where)) != before:
            raise _ChangedError("changed while it was read")
        n_bytes = path.stat().st_size
        if before.n_bytes not in (None, n_bytes):
            raise OSError(f"{n_bytes} of {before.n_bytes} bytes came")
        return ObjectInfo(n_bytes, before.version, before.mtime_ns)

    return _patiently(address, "cannot be read", fetched)


def upload(path: Path, address: Address) -> None:
    """Copy a file into a store, where it appears only when whole; check its size there.

    Raises
    ------
    ConfigError, DataError
        See `listing`.
    """
    n_bytes = path.stat().st_size

    def checked(fs: Any, where: str) -> None:
        there = fs.info(where)["size"]
        if there != n_bytes:
            raise OSError(f"{there} of {n_bytes} bytes have come there")

    def sent(fs: Any, where: str) -> None:
        if address.scheme in _WHOLE:
            fs.put_file(os.fspath(path), where)
        else:
            folder, _, name = where.rpartition("/")
            # The pid in the name shows whose file it is, if it is left behind.
            beside = f"{folder}/.viso-{os.getpid()}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
            fs.makedirs(folder, exist_ok=True)
            try:
                fs.put_file(os.fspath(path), beside)
                checked(fs, beside)
                _rename(fs, beside, where)
            except BaseException:
                with suppress(Exception):
                    fs.rm_file(beside)
                raise
        fs.invalidate_cache()
        checked(fs, where)

    _patiently(address, "cannot be written", sent)


def _rename(fs: Any, before: str, now: str) -> None:
    from fsspec import AbstractFileSystem

    if type(fs).mv is AbstractFileSystem.mv:
        # fsspec's general `mv` would take stars and brackets in a name for a pattern.
        fs.cp_file(before, now)
        fs.rm_file(before)
        return
    if "file" not in fs.protocol and fs.exists(now):
        fs.rm_file(now)
    fs.mv(before, now)


def remove(address: Address) -> None:
    """Remove an object if it exists (errors: see `listing`)."""
    with suppress(_MissingError):
        _patiently(address, "cannot be removed", lambda fs, path: fs.rm_file(path))


def read_bytes(address: Address) -> bytes | None:
    """Return the content of a small object, None if it does not exist (errors: see `listing`)."""
    try:
        return bytes(_patiently(address, "cannot be read", lambda fs, path: fs.cat_file(path)))
    except _MissingError:
        return None


def sha256_of(address: Address) -> str:
    """Return the SHA-256 of an object's content, in hexadecimal (errors: see `listing`)."""

    def read(fs: Any, path: str) -> str:
        found = hashlib.sha256()
        with fs.open(path, "rb") as file:
            while data := file.read(_BLOCK_BYTES):
                found.update(data)
        return found.hexdigest()

    return _patiently(address, "cannot be read", read)


class _MissingError(DataError):
    """No object has this name."""


class _ChangedError(OSError):
    """An object has changed while it was read."""


def _patiently(address: Address, what: str, do: Callable[[Any, str], T]) -> T:
    """Call `do` with an address's file system and the path in it; repeat if it fails by chance."""
    fs = _file_system(address)
    for number in range(1, _TRIES + 1):
        try:
            # Another program may have changed the store.
            fs.invalidate_cache()
            return do(fs, _path_in(fs, address))
        except Exception as error:
            way = _way_out(error)
            if way is None and number < _TRIES:
                time.sleep(_PAUSE_S * 2 ** (number - 1))
                continue
            message = " ".join(str(error).split()) or "no reason given"
            kind = _MissingError if isinstance(error, FileNotFoundError) else DataError
            way = way or f"tried {number} times, try again later"
            raise kind(
                f"{address}: {what} ({type(error).__name__}: {message:.200}); {way}"
            ) from error
    raise AssertionError("the last try returns or raises")


def _way_out(error: Exception) -> str | None:
    """Return how a user can fix an error; None if the error may pass by itself."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, FileNotFoundError):
        return "check the name of the bucket and of what should be in it"
    if isinstance(error, PermissionError) or names & {*_NO_CREDENTIALS}:
        return "check the credentials, and what they allow"
    if isinstance(error, OSError) and error.errno in _FULL:
        return "the disk is full, free some space"
    if isinstance(error, NotImplementedError):
        return "this kind of store cannot do that, choose another"
    if isinstance(error, _HOPELESS) or names & {"ParamValidationError", "InvalidRegionError"}:
        return "check the address"
    return None


def _file_system(address: Address) -> Any:
    extra = how_to_install("cloud")
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise ConfigError(f"{address}: addresses need the extra [cloud]: {extra}") from error
    try:
        # Not the whole address: fsspec gives "::" in it a special meaning.
        return url_to_fs(address.root)[0]
    except ImportError as error:
        way = extra if address.scheme in ("s3", "s3a") else "install that package"
        raise ConfigError(f"{address}: cannot be opened ({error}); {way}") from error
    except Exception as error:
        known = "s3, gs, az, sftp and others that fsspec knows"
        raise ConfigError(
            f"{address}: cannot be opened ({type(error).__name__}: {error}); check it; there are "
            f"{known}"
        ) from error


def _path_in(fs: Any, address: Address) -> str:
    """Return an address's path in its file system."""
    if address.scheme in ("file", "local"):
        return str(fs._strip_protocol(address.text))
    # Not of the whole address, as above.
    return str(fs._strip_protocol(address.root)) + address.text[len(address.root) :]


def _info(info: dict[str, Any]) -> ObjectInfo:
    values = {key.lower().replace("-", "").replace("_", ""): info[key] for key in info}
    marks = (values.get(key) for key in ("etag", "md5hash", "contentmd5", "md5", "crc32c"))
    version = next((str(mark) for mark in marks if mark), "")
    times = (values.get(key) for key in ("mtime", "lastmodified", "updated", "modify", "created"))
    when = next((time for time in times if time), 0)
    size = values.get("size")
    # A version is better than a time, which changes when the same content is copied again.
    return ObjectInfo(None if size is None else int(size), version, 0 if version else _ns(when))


def _ns(when: object) -> int:
    """Return a time in nanoseconds, 0 if it is not a time."""
    if isinstance(when, datetime):
        return round(when.timestamp() * 1_000_000) * 1000
    if isinstance(when, (int, float)):
        return round(when * 1_000_000) * 1000
    with suppress(TypeError, ValueError):
        return _ns(datetime.fromisoformat(str(when)))
    return 0
