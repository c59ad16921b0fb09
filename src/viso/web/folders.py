"""Where a studio keeps songs and stems; no name of a visitor's is ever part of a path."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from viso.errors import ConfigError

__all__ = ["Folders"]

_LONGEST_DOWNLOAD_S = 3600.0


class Folders:
    """The files below one folder.

        uploads/ID        a song that is still arriving
        songs/ID/song
        jobs/ID/          vocals.wav, instrumental.wav, confidence.csv, peaks.npy
        downloads/ID/     one file that is being encoded or sent

    Parameters
    ----------
    root : Path

    Raises
    ------
    ConfigError
        If a folder cannot be made.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._uploads, self._songs = root / "uploads", root / "songs"
        self._jobs, self._downloads = root / "jobs", root / "downloads"
        try:
            for passing in (self._uploads, self._downloads):
                shutil.rmtree(passing, ignore_errors=True)
            for folder in (self._uploads, self._songs, self._jobs, self._downloads):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{error.filename}: cannot be made ({error.strerror}); choose another --data"
            ) from error

    def upload(self, song_id: str) -> Path:
        """Return the file of a song that is arriving."""
        return self._uploads / song_id

    def song(self, song_id: str) -> Path:
        """Return the file of a song."""
        return self._songs / song_id / "song"

    def job(self, job_id: str) -> Path:
        """Return the folder of a job's stems."""
        return self._jobs / job_id

    def keep_upload(self, song_id: str) -> None:
        """Make a song of an upload."""
        target = self.song(song_id)
        target.parent.mkdir(mode=0o700)
        self.upload(song_id).replace(target)

    def remove_song(self, song_id: str) -> None:
        """Remove a song's file."""
        shutil.rmtree(self._songs / song_id, ignore_errors=True)

    def remove_job(self, job_id: str) -> None:
        """Remove a job's stems."""
        shutil.rmtree(self._jobs / job_id, ignore_errors=True)

    def new_download(self, download_id: str) -> Path:
        """Make a folder for a file to be sent."""
        folder = self._downloads / download_id
        folder.mkdir(mode=0o700)
        return folder

    def remove_download(self, download_id: str) -> None:
        """Remove what was sent."""
        shutil.rmtree(self._downloads / download_id, ignore_errors=True)

    def remove_old_downloads(self) -> None:
        """Remove what was left by visitors who went away."""
        for folder in self._downloads.iterdir():
            with suppress(OSError):  # it is being removed
                if time.time() - folder.stat().st_mtime > _LONGEST_DOWNLOAD_S:
                    shutil.rmtree(folder, ignore_errors=True)

    def remove_strays(self, songs: set[str], jobs: set[str]) -> set[str]:
        """Remove files that belong to none of these; return the songs whose file is gone."""
        for folder, known in ((self._songs, songs), (self._jobs, jobs)):
            for path in folder.iterdir():
                if path.name not in known:
                    shutil.rmtree(path, ignore_errors=True)
        return {song for song in songs if not self.song(song).is_file()}

    def free_bytes(self) -> int:
        """Return how much may still be written."""
        return shutil.disk_usage(self.root).free

    @contextmanager
    def arriving(self, song_id: str) -> Iterator[Path]:
        """Hold the place of an upload in the block; what is not kept by its end is removed."""
        path = self.upload(song_id)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)
