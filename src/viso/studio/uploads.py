"""Receiving an upload: written to the disk as it arrives, with limits of size and rate."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import HTTPException
from starlette.concurrency import run_in_threadpool

from viso.audio import open_isolated
from viso.errors import AudioError
from viso.studio.folders import Folders
from viso.studio.settings import StudioConfig

__all__ = ["Header", "checked_kind", "header_of", "receive", "shown_name"]

_WRITE_BYTES = 1 << 20
_LONGEST_NAME = 200
_PATIENCE_S = 20.0  # for reading a header
_KINDS = re.compile(r"(audio|video)/[\w.+-]+|application/(octet-stream|ogg|mp4)")


class Header:
    """The contents of a song's header."""

    def __init__(self, *, audio_s: float | None, rate_hz: int, channels: int) -> None:
        self.audio_s, self.rate_hz, self.channels = audio_s, rate_hz, channels


def checked_kind(content_type: str | None) -> None:
    """Refuse a body whose type is not one of sound (415)."""
    kind = (content_type or "").split(";")[0].strip().lower()
    if not _KINDS.fullmatch(kind):
        raise HTTPException(
            415,
            f"{kind[:60] or 'no Content-Type'}: send the file itself as application/octet-stream, "
            "audio/... or video/...",
        )


def shown_name(name: str) -> str:
    """Return a file's name to be shown: its last part, in one line, not too long."""
    last = re.split(r"[/\\]", name)[-1]
    kept = "".join(" " if unicodedata.category(sign)[0] in "CZ" else sign for sign in last)
    return " ".join(kept.split())[:_LONGEST_NAME].strip() or "song"


async def receive(
    stream: AsyncIterator[bytes], path: Path, *, config: StudioConfig, folders: Folders
) -> int:
    """Write a body into a file.

    Returns
    -------
    int
        Its bytes.

    Raises
    ------
    HTTPException
        408 if it comes too slowly, 413 if it is too large, 422 if it is empty, 507 if the disk
        is too full.
    """
    loop = asyncio.get_running_loop()
    began_s, n_bytes, buffer = loop.time(), 0, bytearray()
    file = await run_in_threadpool(path.open, "wb")
    try:
        while True:
            # A limit of the rate, not of pauses: a trickle of bytes would hold an upload open.
            deadline = began_s + config.upload_grace_s + n_bytes / config.upload_rate
            try:
                async with asyncio.timeout_at(deadline):
                    chunk = await anext(stream, None)
            except TimeoutError as error:
                raise HTTPException(
                    408, f"slower than {config.upload_rate:g} bytes a second; send it again"
                ) from error
            if chunk is not None:
                n_bytes += len(chunk)
                if n_bytes > config.upload_bytes:
                    raise too_large(config)
                buffer += chunk
            if buffer and (chunk is None or len(buffer) >= _WRITE_BYTES):
                await run_in_threadpool(_write, file, bytes(buffer))
                buffer.clear()
                await run_in_threadpool(check_room, folders, config)
            if chunk is None:
                break
    except OSError as error:
        raise no_room() from error
    finally:
        await run_in_threadpool(file.close)
    if not n_bytes:
        raise HTTPException(422, "an empty file; choose another one")
    return n_bytes


def _write(file: object, data: bytes) -> None:
    file.write(data)  # type: ignore[attr-defined]


def too_large(config: StudioConfig) -> HTTPException:
    """Return the answer to a song that is too large."""
    return HTTPException(413, f"larger than {config.upload_bytes} bytes, the most taken here")


def no_room() -> HTTPException:
    """Return the answer if the disk is too full."""
    return HTTPException(507, "the studio's disk is full; try again later", {"Retry-After": "600"})


def check_room(folders: Folders, config: StudioConfig, n_bytes: float = 0) -> None:
    """Refuse a file that would leave too little free space (507)."""
    if folders.free_bytes() - n_bytes < config.free_bytes:
        raise no_room()


def header_of(path: Path, name: str, *, length_s: float) -> Header:
    """Read a song's header in a process of its own.

    Raises
    ------
    HTTPException
        422 if it is no sound, or too long.
    """
    try:
        with open_isolated(path, patience_s=_PATIENCE_S) as song:
            header = Header(audio_s=song.duration_s, rate_hz=song.rate_hz, channels=song.n_channels)
    except AudioError as error:
        raise HTTPException(422, str(error).replace(str(path), name)[:1000]) from error
    if header.audio_s is not None and header.audio_s > length_s:
        raise HTTPException(
            422, f"{name}: {header.audio_s:.0f} s long; songs up to {length_s:g} s are taken"
        )
    return header
