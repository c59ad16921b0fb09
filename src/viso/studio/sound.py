"""Routes of a job's results: stems, mixes, waveforms, spectrograms, confidence."""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Header, HTTPException, Query, Response
from pydantic import StringConstraints
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, StreamingResponse

from viso.config import STEM_PATTERN
from viso.errors import AudioError
from viso.studio import peaks as waveforms
from viso.studio.dependencies import JobDependency, StemsDependency, StudioDependency, problems
from viso.studio.encoding import encode
from viso.studio.pictures import spectrograms
from viso.studio.schemas import Confidence, Peaks, Stem
from viso.studio.stem_store import MIXTURE, StemStore
from viso.studio.studio import Studio, new_id
from viso.studio.tables import JobRow
from viso.studio.uploads import check_room
from viso.studio.wav import VirtualWav, byte_range
from viso.studio.worker import CONFIDENCE_FILE

__all__ = ["router"]

router = APIRouter(prefix="/api/jobs/{job_id}", tags=["sound"])

_TYPES = {"wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg", "png": "image/png"}
_GONE = problems(404, 409, 422)


def _file(*kinds: str) -> dict[str, Any]:
    schema = {"schema": {"type": "string", "format": "binary"}}
    return {"content": {_TYPES[kind]: schema for kind in kinds}}


def _named(studio: Studio, job: JobRow, what: str) -> dict[str, str]:
    """Return the header with the name of the downloaded file (RFC 6266, RFC 8187)."""
    song = studio.store.song(job.song)
    name = "song" if song is None else song.name.rpartition(".")[0] or song.name
    name = f"{name} - {what}"
    plain = re.sub(r'[^ -~]|["\\%]', "_", name)
    encoded = quote(name, safe="")
    return {"content-disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"}


@router.head("/stems/{stem}.wav", include_in_schema=False)
@router.get(
    "/stems/{stem}.wav",
    response_class=StreamingResponse,
    responses={200: _file("wav"), 206: _file("wav"), **_GONE, **problems(404, 409, 416, 422)},
)
def stem_wav(
    studio: StudioDependency,
    row: JobDependency,
    stems: StemsDependency,
    stem: Stem,
    bits: Annotated[Literal["16", "24", "32"], Query(description="32 are floats.")] = "16",
    range_: Annotated[str | None, Header(alias="range")] = None,
    if_range: Annotated[str | None, Header()] = None,
) -> Response:
    """Send a stem as WAV, or any bytes of it. The samples begin at byte 44."""
    _check_stem(stem, is_there=stems.has(stem))
    wav = VirtualWav(stems, stem, int(bits))
    tag = f'"{row.id}-{stem}-{bits}"'
    requested = byte_range(range_ if if_range in (None, tag) else None, wav.n_bytes)
    headers = {"accept-ranges": "bytes", "etag": tag, "cache-control": "private, no-cache"}
    headers |= _named(studio, row, f"{stem}.wav")
    if requested is not None and requested[0] >= requested[1]:
        headers["content-range"] = f"bytes */{wav.n_bytes}"
        raise HTTPException(416, f"the file has {wav.n_bytes} bytes", headers)
    first, stop = requested or (0, wav.n_bytes)
    if requested is not None:
        headers["content-range"] = f"bytes {first}-{stop - 1}/{wav.n_bytes}"
    headers["content-length"] = str(stop - first)
    status = 200 if requested is None else 206
    return StreamingResponse(wav.read(first, stop), status, headers, _TYPES["wav"])


@router.get(
    "/stems/{stem}.{kind}",
    response_class=FileResponse,
    responses={200: _file("flac", "mp3"), **_GONE, **problems(404, 409, 422, 507)},
)
async def stem_file(
    studio: StudioDependency,
    row: JobDependency,
    stems: StemsDependency,
    stem: Stem,
    kind: Literal["flac", "mp3"],
) -> FileResponse:
    """Send a stem as FLAC of 24 bits or as MP3 of 320 kbit/s."""
    _check_stem(stem, is_there=stems.has(stem))
    sums = {MIXTURE: stems.names, "instrumental": stems.names[1:]}
    gains = dict.fromkeys([stem] if stem in stems.names else sums[stem], 1.0)
    return await _encoded(studio, row, stems, gains, stem, kind)


_NUMBER = r"(-inf|-?[0-9]{1,2}(\.[0-9]{1,3})?)"
_DECIBELS = Query(
    pattern=f"^{_NUMBER}$",
    description="Decibels from -99.999 to 99.999, or -inf.",
    examples=["-12"],
)
_Level = Annotated[str, StringConstraints(pattern=f"{STEM_PATTERN[:-1]}:{_NUMBER}$")]
_LEVELS = Query(
    max_length=16,
    description="A stem and its decibels, such as drums:-6. It counts before the other parameters.",
)


@router.get(
    "/mix.{kind}",
    response_class=FileResponse,
    responses={
        200: {
            **_file("wav", "flac", "mp3"),
            "headers": {"X-Viso-Gain-dB": {"schema": {"type": "number"}}},
        },
        **_GONE,
        **problems(404, 409, 422, 507),
    },
)
async def mix(
    studio: StudioDependency,
    row: JobDependency,
    stems: StemsDependency,
    kind: Literal["wav", "flac", "mp3"],
    vocals_db: Annotated[str, _DECIBELS] = "0",
    instrumental_db: Annotated[str, _DECIBELS] = "0",
    level: Annotated[list[_Level], _LEVELS] = [],  # noqa: B006
) -> FileResponse:
    """Send the stems in another balance: ``instrumental_db`` is for all but the vocals.

    If it would clip, all of it is lowered by what ``X-Viso-Gain-dB`` says.
    """
    decibels_of = dict.fromkeys(stems.names, instrumental_db) | {"vocals": vocals_db}
    for pair in level:
        stem, _, decibels = pair.partition(":")
        _check_stem(stem, is_there=stem in stems.names)
        decibels_of[stem] = decibels
    gains = {stem: 10 ** (float(decibels) / 20) for stem, decibels in decibels_of.items()}
    return await _encoded(studio, row, stems, gains, "mix", kind)


def _check_stem(stem: str, *, is_there: bool) -> None:
    if not is_there:
        raise HTTPException(404, f"{stem}: no such stem of this job")


async def _encoded(
    studio: Studio,
    job: JobRow,
    stems: StemStore,
    gains: dict[str, float],
    what: str,
    kind: str,
) -> FileResponse:
    """Encode a file in a thread, a few at a time, and send it."""
    download = new_id()
    path = studio.remover.new_download(download) / f"sound.{kind}"
    try:
        async with studio.encodings:
            need = stems.n_samples * stems.n_channels * 3
            await run_in_threadpool(check_room, studio.folders, studio.config, need)
            gain_db = await run_in_threadpool(_written, stems, path, gains, what)
    except AudioError as error:
        raise HTTPException(422, f"{what}: {error}".replace(str(path), kind)) from error
    finally:
        if not path.exists():
            studio.remover.remove("download", download)
    headers = _named(studio, job, f"{what}.{kind}")
    if what == "mix":
        headers["x-viso-gain-db"] = f"{gain_db:.3f}"
    remove = BackgroundTask(studio.remover.remove, "download", download)
    return FileResponse(path, headers=headers, media_type=_TYPES[kind], background=remove)


def _written(stems: StemStore, path: Path, gains: dict[str, float], what: str) -> float:
    return 20 * math.log10(encode(stems, path, gains=gains, title=what))


@router.get("/peaks", responses=_GONE)
def peaks(
    stems: StemsDependency,
    stem: Stem = MIXTURE,
    points: Annotated[int, Query(ge=1, le=4000)] = 1200,
) -> Peaks:
    """Say the lowest and highest sample of equal parts of a stem, for a waveform."""
    _check_stem(stem, is_there=stem in stems.drawn)
    try:
        low, high = waveforms.peaks(stems, stem, points)
    except (AudioError, OSError) as error:
        raise HTTPException(404, "the stems are gone") from error
    return Peaks(stem=stem, points=len(low), low=low, high=high)


@router.get(
    "/spectrogram/{stem}.png", response_class=Response, responses={200: _file("png"), **_GONE}
)
async def spectrogram(
    studio: StudioDependency,
    row: JobDependency,
    stems: StemsDependency,
    stem: Stem,
    width: Annotated[int, Query(ge=16, le=2400)] = 1200,
    height: Annotated[int, Query(ge=16, le=512)] = 96,
) -> Response:
    """Draw a stem: time left to right, 40 Hz to 16 kHz bottom to top, 80 dB below the mixture."""
    _check_stem(stem, is_there=stem in stems.drawn)
    key = (row.id, width, height)
    # The page requests all stems at once; they are drawn at once.
    async with studio.drawings:
        drawn = studio.pictures.find(key)
        if drawn is None:
            try:
                drawn = await run_in_threadpool(spectrograms, stems, width=width, height=height)
            except AudioError as error:
                raise HTTPException(404, "the stems are gone") from error
            studio.pictures.keep(key, drawn)
    headers = {"cache-control": "private, max-age=3600"}
    return Response(drawn[stem], media_type=_TYPES["png"], headers=headers)


@router.get("/confidence", responses=_GONE)
def confidence(stems: StemsDependency) -> Confidence:
    """Say where the separation is doubtful: the estimated SDR of every second."""
    try:
        text = (stems.folder / CONFIDENCE_FILE).read_text(encoding="utf-8")
    except OSError as error:
        raise HTTPException(404, "the stems are gone") from error
    rows = list(csv.reader(io.StringIO(text)))[1:]
    columns = [
        [float(cell) if cell else None for cell in column] for column in zip(*rows, strict=True)
    ]
    start_s, vocals, instrumental = columns
    return Confidence(
        hop_s=1.0, start_s=start_s[0] or 0.0, vocals=vocals, instrumental=instrumental
    )
