"""Routes that start, follow and end jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, HTTPException, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from viso.errors import ConfigError
from viso.separator import STEMS
from viso.studio.dependencies import (
    JobDependency,
    SongDependency,
    StudioDependency,
    busy,
    problems,
    refusals,
)
from viso.studio.schemas import Job, JobRequest, Model
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
# A stem has 24 bits; while the job runs, all but one are also there as floats.
_STEM_BYTES, _FLOAT_BYTES = 3, 4


@router.post(
    "/songs/{song_id}/jobs",
    status_code=201,
    responses={201: _LOCATION, **refusals(400, 404, 408, 422, 429, 503, 507)},
)
def start(
    studio: StudioDependency, song: SongDependency, request: JobRequest, response: Response
) -> Job:
    """Have a song, or a region of it, separated. Regions up to 30 s go before whole songs."""
    model = _model(studio, request)
    stems = model.stems if request.all_stems else STEMS
    if song.audio_s is not None and request.start_s >= song.audio_s:
        raise HTTPException(
            422, f"start_s: {request.start_s:g} lies behind the end at {song.audio_s:g} s"
        )
    known = [span for span in (request.duration_s, song.audio_s) if span is not None]
    need = min(known, default=0.0) * song.rate_hz * song.channels
    need *= len(stems) * (_STEM_BYTES + _FLOAT_BYTES) - _FLOAT_BYTES
    check_room(studio.folders, studio.config, need)
    try:
        row = studio.add_job(song, request, model=model.name, stems=stems)
    except QueueFullError as error:
        raise busy("the queue is full") from error
    except SongGoneError as error:
        raise HTTPException(404, "no such song; its time may be over") from error
    response.headers["location"] = f"/api/jobs/{row.id}"
    return _current(studio, row.id)


def _model(studio: Studio, request: JobRequest) -> Model:
    """Return the wanted model if it is on offer; the studio opens no other file."""
    try:
        offered = {model.name: model for model in studio.models()}
    except ConfigError as error:
        raise HTTPException(503, str(error)) from error
    if request.model is None:
        return next(iter(offered.values()))
    if request.model not in offered:
        raise HTTPException(422, f"model: {request.model!r:.80} is none of {', '.join(offered)}")
    return offered[request.model]


@router.get("/jobs/{job_id}", responses=problems(404, 422))
def job(studio: StudioDependency, row: JobDependency) -> Job:
    """Say how far a job is."""
    return _current(studio, row.id)


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={200: _STREAM, **problems(404, 422)},
)
async def events(studio: StudioDependency, row: JobDependency) -> StreamingResponse:
    """Follow a job: server-sent events, each a Job; the stream ends with the job."""
    return StreamingResponse(_events(studio, row.id), media_type="text/event-stream")


async def _events(studio: Studio, job_id: str) -> AsyncIterator[str]:
    sent = ""
    with studio.events.follow(job_id) as changed:
        while True:
            changed.clear()
            job = await run_in_threadpool(studio.job, job_id)
            if job is None:
                return
            text = job.model_dump_json()
            if text != sent:
                sent = text
                yield f"data: {text}\n\n"
            if job.state in ENDED or studio.events.is_closing:
                return
            try:
                async with asyncio.timeout(_KEEP_ALIVE_S):
                    await changed.wait()
            except TimeoutError:
                yield ":\n\n"


@router.post("/jobs/{job_id}/cancel", responses=refusals(404, 422))
def cancel(studio: StudioDependency, row: JobDependency) -> Job:
    """End a job that waits or runs. One that has ended stays as it is."""
    studio.cancel(row)
    return _current(studio, row.id)


@router.delete("/jobs/{job_id}", status_code=204, responses=refusals(404, 422))
def delete_job(studio: StudioDependency, row: JobDependency) -> None:
    """Delete a job and its stems, now."""
    studio.delete_job(row)


def _current(studio: Studio, job_id: str) -> Job:
    job = studio.job(job_id)
    if job is None:
        raise HTTPException(404, "no such job; its time may be over")
    return job
