"""What routes depend on: the studio, the song or job that an id names, and a job's stems."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request

from viso.studio.schemas import Id, Problem
from viso.studio.stem_store import StemStore
from viso.studio.studio import Studio
from viso.studio.tables import JobRow, SongRow

__all__ = [
    "JobDependency",
    "SongDependency",
    "StemsDependency",
    "StudioDependency",
    "busy",
    "problems",
    "refusals",
]

_DESCRIPTIONS = {
    400: "The body is no text.",
    401: "The token is missing.",
    403: "It comes from another site's page.",
    404: "There is no such thing, or its time is over.",
    408: "It came too slowly.",
    409: "The job is not done.",
    413: "It is too large.",
    415: "Not a type that is taken.",
    416: "The range lies behind the end.",
    421: "The studio does not go by that name.",
    422: "It cannot be used, and why.",
    429: "Too many wait; try again later.",
    503: "Too much to do; try again later.",
    507: "The disk is full; try again later.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI of answers that are a `Problem`; it includes those of the guard."""
    return {
        status: {"model": Problem, "description": _DESCRIPTIONS[status]}
        for status in sorted({401, 421, *statuses})
    }


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return `problems` of an operation that changes something."""
    return problems(403, 413, 415, *statuses)


def busy(why: str) -> HTTPException:
    """Return the answer to a request that the caller may repeat soon."""
    return HTTPException(429, f"{why}; try again later", {"Retry-After": "30"})


def _studio(request: Request) -> Studio:
    studio = request.app.state.studio
    assert isinstance(studio, Studio)
    return studio


StudioDependency = Annotated[Studio, Depends(_studio)]


def _song(studio: StudioDependency, song_id: Id) -> SongRow:
    song = studio.store.song(song_id)
    if song is None:
        raise HTTPException(404, "no such song; its time may be over")
    return song


SongDependency = Annotated[SongRow, Depends(_song)]


def _job(studio: StudioDependency, job_id: Id) -> JobRow:
    job = studio.store.job(job_id)
    if job is None or studio.store.song(job.song) is None:
        raise HTTPException(404, "no such job; its time may be over")
    return job


JobDependency = Annotated[JobRow, Depends(_job)]


def _stems(studio: StudioDependency, job: JobDependency) -> StemStore:
    song = studio.store.song(job.song)
    if song is None:
        raise HTTPException(404, "no such job; its time may be over")
    if job.state != "done":
        raise HTTPException(409, f"the job is {job.state}; there are no stems")
    return studio.stems(job, song)


StemsDependency = Annotated[StemStore, Depends(_stems)]
