"""How far a batch is, and how its songs ended."""

from __future__ import annotations

from dataclasses import dataclass

from viso.separator import Report
from viso.stores.address import Location

__all__ = ["BatchProgress", "Result"]


@dataclass(frozen=True)
class Result:
    """How a song ended, or a folder that could not be read.

    Attributes
    ----------
    song : Path or Address
    report : Report or None
        What became of it; None if it failed, or another batch did it.
    table : Path, Address or None
        The confidence, if it was wanted.
    kind, reason : str
        Of a failure: the error's name, and one line that names the file and the way out.
    took_s : float
    is_elsewhere : bool
        Another batch on the same output folder ended it.
    trace : str
        The traceback of a failure, for who looks for its cause.
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
        """Whether its stems are there."""
        return not self.kind


@dataclass(frozen=True)
class BatchProgress:
    """How far a batch is.

    Attributes
    ----------
    n_songs, n_done, n_failed : int
        Songs to do, and those that have ended. Songs that a plan passed over are not counted.
    n_failed : int
        Folders that could not be read are among these.
    done_s : float
        Seconds of song that this batch has separated, those of songs it is at included.
    left_audio_s : float
        Seconds of song that are left, as far as lengths are known.
    elapsed_s : float
        Since the batch began.
    running : tuple of Path or Address
        The songs it is at.
    result : Result or None
        The song that has just ended; each is told once.
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
        """Songs that ended well, by the hour."""
        return 3600 * self.n_done / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds until the end at this speed; None if it is not known yet."""
        return self.left_audio_s / self.speed if self.speed > 0 else None
