"""The progress of a batch and the results of its songs."""

from __future__ import annotations

from dataclasses import dataclass

from viso.separator import Report
from viso.stores.address import Location

__all__ = ["BatchProgress", "Result"]


@dataclass(frozen=True)
class Result:
    """How a song ended, or why a folder could not be read.

    Attributes
    ----------
    song : Path or Address
    report : Report or None
        None if the song failed, or if another batch separated it.
    table : Path, Address or None
        The table of the confidence, if requested.
    kind, reason : str
        Of a failure: the error's name, and one line that names the file and the way out.
    took_s : float
    is_elsewhere : bool
        Whether another batch on the same output folder ended the song.
    trace : str
        The traceback of a failure.
    """

    song: Location
    report: Report | None = None
    table: Location | None = None
    kind: str = ""
    reason: str = ""
    took_s: float = 0.0
    is_elsewhere: bool = False
    trace: str = ""

    @property
    def is_done(self) -> bool:
        """Whether the song's stems exist."""
        return not self.kind


@dataclass(frozen=True)
class BatchProgress:
    """How far a batch is.

    Attributes
    ----------
    n_songs, n_done, n_failed : int
        Songs to do, and songs that have ended. Songs that the plan skipped are not counted.
    n_failed : int
        Also counts folders that could not be read.
    done_s : float
        Seconds of song that this batch has separated, including those of running songs.
    left_audio_s : float
        Seconds of song that are left, as far as lengths are known.
    elapsed_s : float
        Seconds since the batch began.
    running : tuple of Path or Address
        The songs that are being separated.
    result : Result or None
        The song that has just ended; each is reported once.
    """

    n_songs: int
    n_done: int
    n_failed: int
    done_s: float
    left_audio_s: float
    elapsed_s: float
    running: tuple[Location, ...] = ()
    result: Result | None = None

    @property
    def speed(self) -> float:
        """Times real time, all jobs together."""
        return self.done_s / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def songs_per_hour(self) -> float:
        """Songs done per hour."""
        return 3600 * self.n_done / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds until the end at this speed; None if the speed is not known yet."""
        return self.left_audio_s / self.speed if self.speed > 0 else None
