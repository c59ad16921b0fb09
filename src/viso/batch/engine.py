"""What a batch asks of whatever separates its songs: processes here, or a cluster.

An engine knows nothing of manifests and plans: it takes orders, tells how far they are and how
they ended. It needs the output folder under the path that the orders have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from viso.batch.songs import Stamp
from viso.separator import Report
from viso.stores.address import Location

__all__ = ["Died", "Done", "Engine", "Event", "Failed", "Order", "Step"]


@dataclass(frozen=True)
class Order:
    """A song to separate into files, which may be replaced; `table` is for the confidence."""

    number: int
    song: Location
    targets: dict[str, Location]
    table: Location | None = None


@dataclass(frozen=True)
class Step:
    """So many seconds of a song are done."""

    number: int
    done_s: float


@dataclass(frozen=True)
class Done:
    """A song is separated and its files are safe on the disk, or in their store.

    `stamp` and `sha256` are those of the song that was read. `sizes` are the bytes of each file,
    the table's as "confidence"; empty if nobody has looked yet.
    """

    number: int
    report: Report
    stamp: Stamp
    sha256: str
    took_s: float
    sizes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """A song cannot be separated; `kind` is the error's name. `is_full`: the disk is.

    `trace` is the error's traceback.
    """

    number: int
    kind: str
    reason: str
    is_full: bool = False
    trace: str = ""


@dataclass(frozen=True)
class Died:
    """What worked on a song is no more.

    `how` says how it ended; the song may be tried again, unless there is a `reason` why not.
    """

    number: int
    how: str
    pid: int | None = None
    reason: str = ""


Event = Step | Done | Failed | Died


class Engine(Protocol):
    """Separates songs, several at a time.

    Attributes
    ----------
    n_jobs : int
        Orders that it takes at a time; it may change.
    pids : sequence of int
        Processes that write the files of orders, as their machines number them.
    """

    @property
    def n_jobs(self) -> int: ...

    @property
    def pids(self) -> Sequence[int]: ...

    def submit(self, order: Order) -> None:
        """Begin a song; no more than `n_jobs` at a time, but for those whose worker `Died`."""
        ...

    def events(self, *, timeout_s: float) -> list[Event]:
        """Return what has happened since, after waiting for it no longer than this.

        Raises
        ------
        VisoError
            If no song can be separated, whichever it is.
        """
        ...

    def stop(self) -> None:
        """End all that runs, and remove what is half-made. Nothing may be submitted after."""
        ...
