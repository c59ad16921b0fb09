"""The file that encoders write into."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from viso.errors import AudioError
from viso.processes import hidden_name

__all__ = ["Sink", "create_beside"]


def create_beside(target: Path) -> tuple[Path, int]:
    """Create an empty hidden file in the folder of `target`, with its suffix.

    Returns
    -------
    path : Path
        Its name does not contain the target's, which may already have the longest length, 255
        bytes.
    descriptor : int
        Open for reading and writing.
    """
    try:
        if target.is_dir():
            raise AudioError(f"{target}: a folder has this name; choose another name")
        path = target.with_name(hidden_name(target.suffix))
        # Not tempfile: its files are private, but a stem should have the usual permissions.
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        return path, os.open(path, flags, 0o666)
    except FileNotFoundError as error:
        raise AudioError(f"{target}: no folder {target.parent}; make it first") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise AudioError(
            f"{target}: cannot be written ({why}); choose another folder or name"
        ) from error


class Sink:
    """A binary file that keeps its first error instead of raising it.

    An exception cannot cross the C code of an encoder, which would continue and leave a hole in the
    file. Instead, the writer calls `check` after every call.

    Parameters
    ----------
    descriptor : int
        The sink closes it.
    target : Path
        The final name, for error messages.
    """

    def __init__(self, descriptor: int, target: Path) -> None:
        self._file = os.fdopen(descriptor, "w+b")
        self._target = target
        self._error: OSError | None = None
        self.name = "sound"  # PyAV reads it; the true name may not be UTF-8

    def write(self, data: Any) -> int:
        """Write unless there was an error; return the length of `data` in any case."""
        try:
            if self._error is None:
                self._file.write(data)
        except OSError as error:
            self._error = error
        return len(data)

    def read(self, n_bytes: int = -1) -> bytes:
        """Read; return no bytes if that fails."""
        try:
            return self._file.read(n_bytes)
        except OSError as error:
            self._error = self._error or error
            return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        """Seek; this may write buffered bytes to the disk."""
        try:
            return self._file.seek(offset, whence)
        except OSError as error:
            self._error = self._error or error
            return 0

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()

    def flush(self) -> None:
        """Flush the buffer."""
        try:
            self._file.flush()
        except OSError as error:
            self._error = self._error or error

    def check(self) -> None:
        """Raise the first error as an AudioError."""
        if self._error is not None:
            raise AudioError(
                f"{self._target}: cannot be written ({self._error.strerror}); "
                "free some space or choose another folder"
            ) from self._error

    def close(self) -> None:
        """Flush and close; more calls do nothing."""
        if self._file.closed:
            return
        self.flush()
        try:
            self._file.close()
        except OSError as error:
            self._error = self._error or error
