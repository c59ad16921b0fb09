"""Routes of jobs: to start, to follow and to end them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, HTTPException, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from viso.errors import ConfigError
from viso.studio.dependencies import CurrentStudio, FoundJob, FoundSong, busy, problems, refusals
from viso.studio.schemas import Job, JobRequest
from viso.studio.store import QueueFullError, SongGoneError
from viso.studio.studio import ENDED, Studio
from viso.studio.uploads import check_room

__all__ = ["router"]

router = APIRouter(prefix="/api", tags=["jobs"])

_KEEP_ALIVE_S = 10.0
_LOCATION = {"headers": {"Location": {"schema": {"type": "string"}}}}
_EVENT = {
    "type": "object",
    "properties": {"data": {"type": "string", "contentMediaType": "application/json"}},
    "required": ["data"],
    "description": "The data are a Job.",
}
_STREAM = {"content": {"text/event-stream": {"schema": _EVENT}}}
# Two stems of 24 bits, and the vocals as floats while it runs.
_SAMPLE_BYTES = 10


@router.post(
    "/songs/{song_id}/jobs",
    status_code=201,
    responses={201: _LOCATION, **refusals(400, 404, 408, 422, 429, 503, 507)},
)
def start(studio: CurrentStudio, found: FoundSong, asked: JobRequest, response: Response) -> Job:
    """Have a song, or a region of it, separated. Regions up to 30 s go before whole songs."""
    model = _model(studio, asked)
    if found.audio_s is not None and asked.start_s >= found.audio_s:
        raise HTTPException(
            422, f"start_s: {asked.start_s:g} lies behind the end at {found.audio_s:g} s"
        )
    known = [span for span in (asked.duration_s, found.audio_s) if span is not None]
    need = min(known, default=0.0) * found.rate_hz * found.channels * _SAMPLE_BYTES
    check_room(studio.folders, studio.config, need)
    try:
        row = studio.add_job(found, asked, model=model)
    except QueueFullError as error:
        raise busy("the queue is full") from error
    except SongGoneError as error:
        raise HTTPException(404, "no such song; its time may be over") from error
    response.headers["location"] = f"/api/jobs/{row.id}"
    return _seen(studio, row.id)


def _model(studio: Studio, asked: JobRequest) -> str:
    """Return the wanted model if it is on offer: no other file is ever opened."""
    try:
        offered = [model.name for model in studio.models()]
    except ConfigError as error:
        raise HTTPException(503, str(error)) from error
    if asked.model is None:
        return offered[0]
    if asked.model not in offered:
        raise HTTPException(422, f"model: {asked.model!r:.80} is none of {', '.join(offered)}")
    return asked.model


@router.get("/jobs/{job_id}", responses=problems(404, 422))
def job(studio: CurrentStudio, found: FoundJob) -> Job:
    """Say how far a job is."""
    return _seen(studio, found.id)


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={200: _STREAM, **problems(404, 422)},
)
async def events(studio: CurrentStudio, found: FoundJob) -> StreamingResponse:
    """Follow a job: server-sent events, each a Job; the stream ends with the job."""
    return StreamingResponse(_events(studio, found.id), media_type="text/event-stream")


async def _events(studio: Studio, job_id: str) -> AsyncIterator[str]:
    told = ""
    with studio.events.following(job_id) as news:
        while True:
            news.clear()
            job = await run_in_threadpool(studio.job, job_id)
            if job is None:
                return
            text = job.model_dump_json()
            if text != told:
                told = text
                yield f"data: {text}\n\n"
            if job.state in ENDED or studio.events.is_closing:
                return
            try:
                async with asyncio.timeout(_KEEP_ALIVE_S):
                    await news.wait()
            except TimeoutError:
                yield ":\n\n"


@router.post("/jobs/{job_id}/cancel", responses=refusals(404, 422))
def cancel(studio: CurrentStudio, found: FoundJob) -> Job:
    """End a job that waits or runs. One that has ended stays as it is."""
    studio.cancel(found)
    return _seen(studio, found.id)


@router.delete("/jobs/{job_id}", status_code=204, responses=refusals(404, 422))
def delete_job(studio: CurrentStudio, found: FoundJob) -> None:
    """Delete a job and its stems, now."""
    studio.delete_job(found)


def _seen(studio: Studio, job_id: str) -> Job:
    job = studio.job(job_id)
    if job is None:
        raise HTTPException(404, "no such job; its time may be over")
    return job
