"""Messages between the studio and its workers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "DescribeModels",
    "DescribedModels",
    "JobDone",
    "LiveProgress",
    "OfferedModel",
    "SeparationJob",
]


@dataclass(frozen=True)
class DescribeModels:
    """Describe these models, or all models that are known by name."""

    models: tuple[str, ...]


@dataclass(frozen=True)
class OfferedModel:
    """A model that can be run; visitors see `name`, a `Separator` takes `model`.

    `stems` are those that it makes and that add up to the song.
    """

    name: str
    model: str
    description: str
    licence: str
    trained_on: tuple[str, ...]
    scores: dict[str, float]
    limits: tuple[str, ...]
    n_bytes: int
    stems: tuple[str, ...]


@dataclass(frozen=True)
class DescribedModels:
    """The models that can be run, and why others cannot."""

    offers: tuple[OfferedModel, ...]
    refusals: tuple[str, ...]


@dataclass(frozen=True)
class SeparationJob:
    """Separate a region of a song into a folder, which the worker makes.

    `name` is the visitor's name of the song, for messages. A region longer than `longest_s`
    fails.
    """

    number: int
    song: Path
    name: str
    model: str
    start_s: float
    duration_s: float | None
    folder: Path
    longest_s: float
    stems: tuple[str, ...]


@dataclass(frozen=True)
class JobDone:
    """The stems are complete."""

    n_samples: int
    rate_hz: int
    channels: int
    gain_db: float
    took_s: float
    loudness: dict[str, float | None] | None


@dataclass(frozen=True)
class LiveProgress:
    """Progress of a running job, and its speed (times real time) if that is known."""

    done_s: float = 0.0
    total_s: float | None = None
    speed: float | None = None
