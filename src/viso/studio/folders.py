"""Where a studio stores songs and stems; a path never contains a visitor's file name."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from viso.errors import ConfigError
from viso.studio.tables import Kind

__all__ = ["Folders"]


class Folders:
    """The files below one folder.

        uploads/ID        a song that is still arriving
        songs/ID/song
        jobs/ID/          vocals.wav, instrumental.wav, confidence.csv, peaks.npy
        downloads/ID/     one file that is being encoded or sent

    Other files there are not touched.

    Parameters
    ----------
    root : Path

    Raises
    ------
    ConfigError
        If a folder cannot be made, or is a link to elsewhere.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        kinds: tuple[Kind, ...] = ("upload", "song", "job", "download")
        self._homes: dict[Kind, Path] = {kind: root / f"{kind}s" for kind in kinds}
        for home in self._homes.values():
            try:
                home.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigError(
                    f"{home}: cannot be made ({error.strerror}); choose another --data"
                ) from error
            if home.is_symlink():
                raise ConfigError(
                    f"{home}: is a link, and a studio deletes nothing behind links; make it a "
                    "folder or choose another --data"
                )

    def upload(self, song_id: str) -> Path:
        """Return the file of a song that is arriving."""
        return self._homes["upload"] / song_id

    def song(self, song_id: str) -> Path:
        """Return the file of a song."""
        return self._homes["song"] / song_id / "song"

    def job(self, job_id: str) -> Path:
        """Return the folder of a job's stems."""
        return self._homes["job"] / job_id

    def keep_upload(self, song_id: str) -> None:
        """Move an upload to the songs."""
        target = self.song(song_id)
        target.parent.mkdir(mode=0o700)
        self.upload(song_id).replace(target)

    def new_download(self, download_id: str) -> Path:
        """Make a folder for a file to be sent."""
        folder = self._homes["download"] / download_id
        folder.mkdir(mode=0o700)
        return folder

    def remove(self, kind: Kind, name: str) -> bool:
        """Remove the files of an id; return whether none of them is left.

        Links are not followed. A file whose name is no id was not made here and stays.
        """
        path = self._homes[kind] / name
        if not re.fullmatch("[0-9a-f]{32}", name) or path.is_symlink():
            return True
        if kind == "upload":
            path.unlink(missing_ok=True)
        else:
            shutil.rmtree(path, ignore_errors=True)
        return not os.path.lexists(path)

    def free_bytes(self) -> int:
        """Return the free bytes of the disk."""
        return shutil.disk_usage(self.root).free
