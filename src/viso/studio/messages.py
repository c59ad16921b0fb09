"""Messages between the studio and its workers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "Cancel",
    "Cancelled",
    "Describe",
    "Described",
    "Done",
    "Failed",
    "JobProgress",
    "Offer",
    "SeparationJob",
    "Step",
]


@dataclass(frozen=True)
class Describe:
    """Describe these models, or all models that are known by name."""

    models: tuple[str, ...]


@dataclass(frozen=True)
class Offer:
    """A model that can be run; visitors see `name`, a `Separator` takes `model`."""

    name: str
    model: str
    description: str
    licence: str
    trained_on: tuple[str, ...]
    scores: dict[str, float]
    limits: tuple[str, ...]
    n_bytes: int


@dataclass(frozen=True)
class Described:
    """The models that can be run, and why others cannot."""

    offers: tuple[Offer, ...]
    refusals: tuple[str, ...]


@dataclass(frozen=True)
class SeparationJob:
    """Separate a region of a song into a folder, which the worker makes.

    `name` is the visitor's name of the song, for messages. A region longer than `longest_s`
    fails.
    """

    job: str
    song: Path
    name: str
    model: str
    start_s: float
    duration_s: float | None
    folder: Path
    longest_s: float


@dataclass(frozen=True)
class Cancel:
    """Cancel a job if it is still running."""

    job: str


@dataclass(frozen=True)
class Step:
    """`done_s` seconds are separated, of `total_s` if that is known."""

    done_s: float
    total_s: float | None


@dataclass(frozen=True)
class Done:
    """The stems are complete."""

    n_samples: int
    rate_hz: int
    channels: int
    gain_db: float
    took_s: float
    loudness: dict[str, float | None] | None


@dataclass(frozen=True)
class Failed:
    """The job failed."""

    reason: str


@dataclass(frozen=True)
class Cancelled:
    """The job was cancelled."""


@dataclass(frozen=True)
class JobProgress:
    """Progress of a running job, and its speed (times real time) if that is known."""

    done_s: float = 0.0
    total_s: float | None = None
    speed: float | None = None
