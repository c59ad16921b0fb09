"""What the studio and its workers say to each other."""

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
    "Live",
    "Offer",
    "Order",
    "Step",
]


@dataclass(frozen=True)
class Describe:
    """Tell of these models, or of all that are known by name."""

    models: tuple[str, ...]


@dataclass(frozen=True)
class Offer:
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
class Described:
    """The models, and why others are none."""

    offers: tuple[Offer, ...]
    refusals: tuple[str, ...]


@dataclass(frozen=True)
class Order:
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
class Cancel:
    """Leave a job, if it is still being worked on."""

    job: str


@dataclass(frozen=True)
class Step:
    """So many seconds are done, of so many if that is known."""

    done_s: float
    total_s: float | None


@dataclass(frozen=True)
class Done:
    """The stems are there."""

    n_samples: int
    rate_hz: int
    channels: int
    gain_db: float
    took_s: float
    loudness: dict[str, float | None] | None


@dataclass(frozen=True)
class Failed:
    """The job cannot be done."""

    reason: str


@dataclass(frozen=True)
class Cancelled:
    """The job was left."""


@dataclass(frozen=True)
class Live:
    """How far a running job is, and how fast (times real time), if that is known."""

    done_s: float = 0.0
    total_s: float | None = None
    speed: float | None = None
