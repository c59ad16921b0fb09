"""Whether a song is still the file that was opened."""

from __future__ import annotations

from pathlib import Path

from viso.errors import AudioError

__all__ = ["Unchanged"]


class Unchanged:
    """Remembers a song's size and time of change.

    Parameters
    ----------
    path : Path
        A song that is open by now.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = self._stamp()

    @property
    def n_bytes(self) -> int:
        """Its size when it was opened."""
        return self._before[0]

    def check(self) -> None:
        """Refuse a song that was changed or removed since: its stems would be of neither.

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
