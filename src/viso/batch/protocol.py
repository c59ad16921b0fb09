"""The protocol between the process that wants songs separated and the workers that separate them.

A worker takes one request at a time, sends its progress and then its result::

    Order          ->  Step, Step, ...  ->  Done | Failed | Cancelled       (a batch)
    SeparationJob  ->  Step, Step, ...  ->  JobDone | Failed | Cancelled    (the studio)

`None` stops a worker at once; `Cancel` ends one request. `number` identifies a request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from viso.batch.songs import Stamp
from viso.separator import Report
from viso.stores.address import Location

__all__ = [
    "Cancel",
    "Cancelled",
    "Died",
    "Done",
    "Event",
    "Failed",
    "Order",
    "Ready",
    "Step",
    "Unable",
]


@dataclass(frozen=True)
class Ready:
    """The model is loaded."""


@dataclass(frozen=True)
class Unable:
    """The model cannot be loaded; `kind` is the error's name."""

    kind: str
    reason: str


@dataclass(frozen=True)
class Order:
    """A song to separate into files; existing files are replaced. `table` gets the confidence."""

    number: int
    song: Location
    targets: dict[str, Location]
    table: Location | None = None


@dataclass(frozen=True)
class Cancel:
    """Cancel a request if it still runs."""

    number: int


@dataclass(frozen=True)
class Step:
    """`done_s` of the song's `total_s` seconds are separated; `total_s` is None if unknown."""

    number: int
    done_s: float
    total_s: float | None = None


@dataclass(frozen=True)
class Done:
    """A song is separated, and its files are safe on the disk or in their store.

    `stamp` and `sha256` describe the song that was read. `sizes` holds the bytes of each file,
    the table's as "confidence"; it is empty if they are not known yet.
    """

    number: int
    report: Report
    stamp: Stamp
    sha256: str
    took_s: float
    sizes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """A song cannot be separated.

    `kind` is the error's name, `trace` its traceback. `is_full` means that the disk is full.
    """

    number: int
    kind: str
    reason: str
    is_full: bool = False
    trace: str = ""


@dataclass(frozen=True)
class Cancelled:
    """A request was cancelled and left no file."""

    number: int


@dataclass(frozen=True)
class Died:
    """The worker died before its song ended.

    `how` says how the worker ended. The song may be tried again unless `reason` says why not.
    """

    number: int
    how: str
    pid: int | None = None
    reason: str = ""


Event = Step | Done | Failed | Died
"""What an `Engine` reports about an order."""
