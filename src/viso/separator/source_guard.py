"""Detects songs that change while they are read."""

from __future__ import annotations

from pathlib import Path

from viso.errors import AudioError

__all__ = ["SourceGuard"]


class SourceGuard:
    """Remembers the size and the modification time of a song.

    Parameters
    ----------
    path : Path
        A song that is already open.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = self._stamp()

    @property
    def n_bytes(self) -> int:
        """Size of the song when it was opened, in bytes."""
        return self._before[0]

    def check(self) -> None:
        """Raise if the song has changed or is gone: its stems would belong to no version of it.

        Raises
        ------
        AudioError
        """
        if self._stamp() != self._before:
            raise AudioError(f"{self._path}: changed while it was read; try again")

    def _stamp(self) -> tuple[int, int]:
        try:
            info = self._path.stat()
        except OSError as error:
            raise AudioError(
                f"{self._path}: is gone since it was opened ({error.strerror}); try again"
            ) from error
        return info.st_size, info.st_mtime_ns
