"""Read the sounds that a test hands out: its own FLAC files, and nothing else.

Every listener, and everybody who finds an exported folder, gets the files in ``stimuli``. A link
there could hand out any file of the test's author, so opening a link raises an error.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path

from viso.errors import ConfigError

__all__ = ["read_stimulus", "sha256_of_sound", "stimulus_path"]

# Windows has none of these flags.
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_DIRECTORY = getattr(os, "O_DIRECTORY", 0)
_FILE = os.O_RDONLY | _NO_FOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

# A FLAC stream begins with its name and a STREAMINFO block of 34 bytes, perhaps the last block.
_BEGINNINGS = (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22")


def stimulus_path(folder: Path, stimulus_id: str) -> Path:
    """Return the path of a stimulus of the test in `folder`."""
    return folder / "stimuli" / f"{stimulus_id}.flac"


def sha256_of_sound(data: bytes) -> str:
    """Return the SHA-256 of a sound's file in hexadecimal, as ``test.toml`` records it."""
    return hashlib.sha256(data).hexdigest()


def read_stimulus(folder: Path, stimulus_id: str, *, sha256: str | None = None) -> bytes:
    """Read a sound of the test in `folder`.

    Parameters
    ----------
    folder : Path
    stimulus_id : str
    sha256 : str, optional
        The file's expected hash; tests of earlier versions record none.

    Raises
    ------
    ConfigError
        If the file or its folder is a link, the file is missing or not FLAC, or its hash differs.
    """
    path = stimulus_path(folder, stimulus_id)
    try:
        with os.fdopen(_open(path), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConfigError(f"{path}: not a regular file; build the test again")
            data = file.read()
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: missing; build the test again") from error
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); build the test again"
        ) from error
    if not data.startswith(_BEGINNINGS):
        raise ConfigError(f"{path}: not a FLAC file; build the test again")
    if sha256 is not None and sha256_of_sound(data) != sha256:
        raise ConfigError(f"{path}: not the sound that test.toml records; build the test again")
    return data


def _open(path: Path) -> int:
    """Return the descriptor of a file; raise if the file or its folder is a link."""
    for place in (path.parent, path):
        if place.is_symlink():
            raise _a_link(place)
    if os.open not in os.supports_dir_fd:
        return os.open(path, _FILE)
    try:
        # A path that was not a link a moment ago may be one now.
        directory = os.open(path.parent, os.O_RDONLY | _DIRECTORY | _NO_FOLLOW)
        try:
            return os.open(path.name, _FILE, dir_fd=directory)
        finally:
            os.close(directory)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _a_link(path) from error
        raise


def _a_link(place: Path) -> ConfigError:
    return ConfigError(f"{place}: a link; a test hands out files of its own, so build it again")
