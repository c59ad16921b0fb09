"""The studio's requests and answers, as its OpenAPI describes them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from viso.config import STEM_PATTERN

__all__ = [
    "Confidence",
    "Health",
    "Id",
    "Job",
    "JobRequest",
    "Limits",
    "Model",
    "Peaks",
    "Problem",
    "Song",
    "State",
    "Stem",
]

State = Literal["queued", "running", "done", "failed", "cancelled"]
Stem = Annotated[str, StringConstraints(pattern=STEM_PATTERN)]
"""The mixture, the instrumental, or one of a job's stems."""
Id = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="128 random bits, as told.")]


class Problem(BaseModel):
    """Why something was not done."""

    detail: str


class Health(BaseModel):
    """The studio runs."""

    status: Literal["ok"] = "ok"


class Model(BaseModel):
    """A model on offer."""

    name: str
    title: str
    description: str
    license: str = Field(description="Of its weights.")
    default: bool
    confidence: bool = Field(description="Whether its jobs say where they are doubtful.")
    trained_on: list[str]
    scores: dict[str, float]
    limits: list[str] = Field(description="What it is known to do badly.")
    megabytes: float
    stems: list[str] = Field(description="Those that it makes, and that add up to the song.")


class Limits(BaseModel):
    """What may be sent, and how long it is kept."""

    upload_bytes: int
    upload_rate: float = Field(description="Bytes a second that an upload has to bring.")
    length_s: float
    queue: int
    keep_s: float
    formats: list[str] = Field(description="Of stems.")


class Song(BaseModel):
    """An uploaded song."""

    id: str
    name: str = Field(description="To be shown only.")
    n_bytes: int
    audio_s: float | None = Field(description="By its header; null if that does not say.")
    rate_hz: int
    channels: int
    expires_at: datetime


class JobRequest(BaseModel):
    """A separation to be done."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    model: str | None = Field(None, max_length=200, description="The default, if left out.")
    start_s: float = Field(0.0, ge=0, le=1e6)
    duration_s: float | None = Field(None, ge=0.05, le=1e6, description="To the end by default.")
    all_stems: bool = Field(
        False, description="All stems of the model, not only vocals and instrumental."
    )


class Job(BaseModel):
    """A separation."""

    id: str
    song: str
    model: str
    start_s: float
    duration_s: float | None
    state: State
    place: int | None = Field(description="In the queue, 1 is next; null if it does not wait.")
    progress: float = Field(ge=0, le=1)
    speed: float | None = Field(description="Times real time.")
    left_s: float | None
    error: str | None
    rate_hz: int
    channels: int
    n_samples: int | None = Field(description="Of each stem, when it is done.")
    gain_db: float | None = Field(description="Below 0 if the stems would have clipped.")
    confidence: bool
    stems: list[str] = Field(description="Those that add up to the song, the mixture.")
    loudness_lufs: dict[str, float | None] | None = Field(
        description="Integrated loudness of the mixture and of each stem; null is silence."
    )
    expires_at: datetime


class Peaks(BaseModel):
    """Lowest and highest sample of equal parts, over all channels; full scale is 1."""

    stem: Stem
    points: int
    low: list[float]
    high: list[float]


class Confidence(BaseModel):
    """Estimated SDR in decibels of every `hop_s` seconds; null where a stem is silent."""

    hop_s: float
    start_s: float
    vocals: list[float | None]
    instrumental: list[float | None]
