"""What the studio and its workers say to each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "Assignment",
    "CancelJob",
    "DescribeModels",
    "DescribedModels",
    "JobCancelled",
    "JobDone",
    "JobFailed",
    "JobProgress",
    "LiveProgress",
    "OfferedModel",
]


@dataclass(frozen=True)
class DescribeModels:
    """Tell of these models, or of all that are known by name."""

    models: tuple[str, ...]


@dataclass(frozen=True)
class OfferedModel:
    """A model that can be run: what visitors call it, and what a `Separator` does."""

    name: str
    said: str
    description: str
    licence: str
    trained_on: tuple[str, ...]
    scores: dict[str, float]
    limits: tuple[str, ...]
    n_bytes: int


@dataclass(frozen=True)
class DescribedModels:
    """The models, and why others are none."""

    offers: tuple[OfferedModel, ...]
    refusals: tuple[str, ...]


@dataclass(frozen=True)
class Assignment:
    """A region of a song to be separated into a folder, which is made.

    `name` is what the visitor calls the song, for messages; longer than `most_s` it is refused.
    """

    job: str
    song: Path
    name: str
    model: str
    start_s: float
    duration_s: float | None
    folder: Path
    most_s: float


@dataclass(frozen=True)
class CancelJob:
    """Leave a job, if it is still being worked on."""

    job: str


@dataclass(frozen=True)
class JobProgress:
    """So many seconds are done, of so many if that is known."""

    done_s: float
    total_s: float | None


@dataclass(frozen=True)
class JobDone:
    """The stems are there."""

    n_samples: int
    rate_hz: int
    channels: int
    gain_db: float
    took_s: float
    loudness: dict[str, float | None] | None


@dataclass(frozen=True)
class JobFailed:
    """The job cannot be done."""

    reason: str


@dataclass(frozen=True)
class JobCancelled:
    """The job was left."""


@dataclass(frozen=True)
class LiveProgress:
    """How far a running job is, and how fast (times real time), if that is known."""

    done_s: float = 0.0
    total_s: float | None = None
    speed: float | None = None
