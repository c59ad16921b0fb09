"""Routes of songs, models and limits."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from viso.errors import ConfigError
from viso.studio.dependencies import SongDependency, StudioDependency, busy, problems, refusals
from viso.studio.encoding import FORMATS
from viso.studio.schemas import Limits, Model, Song
from viso.studio.studio import Studio, new_id, song_of
from viso.studio.uploads import checked_kind, header_of, receive, shown_name, too_large

__all__ = ["router"]

router = APIRouter(prefix="/api", tags=["songs"])

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The file itself; any audio/... or video/... type will do.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_LOCATION = {"headers": {"Location": {"schema": {"type": "string"}}}}


@router.get("/models", responses=problems(503))
def models(studio: StudioDependency) -> list[Model]:
    """List the models on offer, the default first."""
    try:
        return studio.models()
    except ConfigError as error:
        raise HTTPException(503, str(error)) from error


@router.get("/limits", responses=problems())
async def limits(studio: StudioDependency) -> Limits:
    """Say what may be sent, and how long it is kept."""
    config = studio.config
    return Limits(
        upload_bytes=config.upload_bytes,
        upload_rate=config.upload_rate,
        length_s=config.length_s,
        queue=config.queue,
        keep_s=config.keep_s,
        formats=list(FORMATS),
    )


@router.post(
    "/songs",
    status_code=201,
    responses={201: _LOCATION, **refusals(408, 422, 429, 507)},
    openapi_extra=_BODY,
)
async def upload(
    request: Request,
    response: Response,
    studio: StudioDependency,
    name: Annotated[str, Query(max_length=1000, description="To be shown only.")] = "song",
) -> Song:
    """Send a song: the body is the file."""
    checked_kind(request.headers.get("content-type"))
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > studio.config.upload_bytes:
        raise too_large(studio.config)
    if await run_in_threadpool(studio.store.n_waiting) >= studio.config.queue:
        raise busy("the queue is full")
    with studio.arrivals() as has_room:
        if not has_room:
            raise busy("too many songs arrive at once")
        song = await _store_upload(request, studio, shown_name(name))
    response.headers["location"] = f"/api/songs/{song.id}"
    return song


async def _store_upload(request: Request, studio: Studio, name: str) -> Song:
    song_id = new_id()
    config, folders = studio.config, studio.folders
    with studio.remover.arriving(song_id) as path:
        try:
            n_bytes = await receive(aiter(request.stream()), path, config=config, folders=folders)
        except ClientDisconnect as error:
            raise HTTPException(408, "it was broken off") from error
        async with studio.inspections:
            header = await run_in_threadpool(header_of, path, name, length_s=config.length_s)
        return await run_in_threadpool(
            studio.add_song,
            song_id,
            name=name,
            n_bytes=n_bytes,
            audio_s=header.audio_s,
            rate_hz=header.rate_hz,
            channels=header.channels,
        )


@router.get("/songs/{song_id}", responses=problems(404, 422))
def song(row: SongDependency) -> Song:
    """Say what is known of a song."""
    return song_of(row)


@router.delete("/songs/{song_id}", status_code=204, responses=refusals(404, 422))
def delete_song(studio: StudioDependency, row: SongDependency) -> None:
    """Delete a song, its jobs and their stems, now."""
    studio.delete_song(row.id)
