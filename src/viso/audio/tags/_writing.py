"""Writes tags and a cover into the six formats that viso can write."""

from __future__ import annotations

import base64
import io
import os
import re
import struct
from pathlib import Path
from typing import Any

from viso.audio.tags._reading import (
    FREEFORM,
    FRONT_COVER,
    NAMES,
    NUMBERS,
    Cover,
    Tags,
    mutagen_part,
    wav_chunks,
)
from viso.errors import AudioError

__all__ = ["save"]


def save(path: Path, tags: Tags, cover: Cover | None) -> None:
    """Write tags and cover into a file whose suffix names its format."""
    kind = path.suffix.lower()
    if kind == ".wav":
        _append_wav_id3(path, _to_id3(tags, cover))
        return
    classes = {
        ".mp3": ("mp3", "MP3"),
        ".flac": ("flac", "FLAC"),
        ".ogg": ("oggvorbis", "OggVorbis"),
        ".opus": ("oggopus", "OggOpus"),
        ".m4a": ("mp4", "MP4"),
    }
    if kind not in classes:
        raise AudioError(f"{path}: no tags for {kind!r}; use wav or one of {', '.join(classes)}")
    module, name = classes[kind]
    file = getattr(mutagen_part(module), name)(path)
    if kind == ".mp3":
        file.tags = _to_id3(tags, cover)
    elif kind == ".m4a":
        _fill_mp4(file, tags, cover)
    else:
        if file.tags is None:
            file.add_tags()
        for name, values in tags.items():
            file.tags[name] = values
        _fill_picture(file, cover)
    file.save()


def _to_id3(tags: Tags, cover: Cover | None) -> Any:
    id3 = mutagen_part("id3")
    out = id3.ID3()
    for name, values in tags.items():
        if name in NAMES:
            out.add(id3.Frames[NAMES[name][0]](encoding=3, text=values))
        else:
            out.add(id3.TXXX(encoding=3, desc=name, text=values))
    if cover:
        out.add(id3.APIC(encoding=3, mime=cover[1], type=FRONT_COVER, desc="", data=cover[0]))
    return out


def _fill_mp4(file: Any, tags: Tags, cover: Cover | None) -> None:
    mp4 = mutagen_part("mp4")
    if file.tags is None:
        file.add_tags()
    for name, values in tags.items():
        if name in NUMBERS:
            numbers = [int(n) for n in re.findall(r"\d+", values[0])[:2]] or [0]
            file.tags[NAMES[name][1]] = [(numbers[0], numbers[1] if len(numbers) > 1 else 0)]
        elif name in NAMES:
            file.tags[NAMES[name][1]] = values
        else:
            file.tags[FREEFORM + name] = [mp4.MP4FreeForm(value.encode()) for value in values]
    if cover:
        is_png = cover[1] == "image/png"
        form = mp4.MP4Cover.FORMAT_PNG if is_png else mp4.MP4Cover.FORMAT_JPEG
        file.tags["covr"] = [mp4.MP4Cover(cover[0], form)]


def _fill_picture(file: Any, cover: Cover | None) -> None:
    flac = mutagen_part("flac")
    if not cover:
        return
    picture = flac.Picture()
    picture.data, picture.mime, picture.type = cover[0], cover[1], FRONT_COVER
    if isinstance(file, flac.FLAC):
        file.clear_pictures()
        file.add_picture(picture)
    else:
        file.tags["metadata_block_picture"] = [base64.b64encode(picture.write()).decode("ascii")]


def _append_wav_id3(path: Path, tags: Any) -> None:
    """Append an ID3 chunk to a WAV file that AudioWriter has made.

    mutagen cannot write RF64, but a stem of many hours needs tags, too.
    """
    buffer = io.BytesIO()
    tags.save(buffer, padding=lambda _: 0)
    body = buffer.getvalue()
    body += b"\0" * (len(body) % 2)
    with path.open("r+b") as file:
        form = file.read(4)
        for name, start, _ in wav_chunks(file):
            if name.lower() == b"id3 ":  # from an earlier call, so it is the last chunk
                file.truncate(start - 8)
                break
        end = file.seek(0, os.SEEK_END)
        file.write(b"id3 " + struct.pack("<I", len(body)) + body)
        riff_size = end + len(body)  # of the two headers of 8 bytes, only one counts
        if form == b"RF64":
            file.seek(20)
            file.write(struct.pack("<Q", riff_size))
        else:
            file.seek(4)
            file.write(struct.pack("<I", riff_size))
