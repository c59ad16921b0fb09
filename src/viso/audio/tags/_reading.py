"""Reads tags of any format into one dictionary, and covers."""

from __future__ import annotations

import base64
import io
import struct
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from viso.audio.tags._limits import LimitedFile, limit_unpacking

__all__ = [
    "FREEFORM",
    "FRONT_COVER",
    "NAMES",
    "NUMBERS",
    "Cover",
    "Tags",
    "load",
    "mutagen_part",
    "wav_chunks",
]

# canonical name (as in Vorbis comments): ID3 frame, MP4 atom, ASF attribute
NAMES = {
    "title": ("TIT2", "\xa9nam", "Title"),
    "artist": ("TPE1", "\xa9ART", "Author"),
    "album": ("TALB", "\xa9alb", "WM/AlbumTitle"),
    "albumartist": ("TPE2", "aART", "WM/AlbumArtist"),
    "composer": ("TCOM", "\xa9wrt", "WM/Composer"),
    "date": ("TDRC", "\xa9day", "WM/Year"),
    "genre": ("TCON", "\xa9gen", "WM/Genre"),
    "tracknumber": ("TRCK", "trkn", "WM/TrackNumber"),
    "discnumber": ("TPOS", "disk", "WM/PartOfSet"),
}
_FROM_ID3 = {frame: name for name, (frame, _, _) in NAMES.items()}
_FROM_MP4 = {atom: name for name, (_, atom, _) in NAMES.items()}
_FROM_ASF = {attribute: name for name, (_, _, attribute) in NAMES.items()}
NUMBERS = ("tracknumber", "discnumber")
FREEFORM = "----:com.apple.iTunes:"
FRONT_COVER = 3

Tags = dict[str, list[str]]
Cover = tuple[bytes, str]


def mutagen_part(name: str) -> Any:
    """Import a module of mutagen late, and without its incomplete types."""
    return import_module(f"mutagen.{name}" if name else "mutagen")


def load(path: Path) -> tuple[Tags, Cover | None]:
    """Read all known tags, whatever the format.

    Raises
    ------
    mutagen.MutagenError, OSError
        If the tags are damaged, or larger than `viso.audio.tags._limits` allows.
    """
    with path.open("rb") as file:
        try:
            return _load(LimitedFile(file))
        except (OSError, mutagen_part("").MutagenError):
            raise
        except Exception as error:  # for damaged files mutagen raises errors of any type
            why = str(error) or type(error).__name__
            raise mutagen_part("").MutagenError(why) from error


def _load(stream: LimitedFile) -> tuple[Tags, Cover | None]:
    limit_unpacking(mutagen_part("id3._frames"))
    if stream.read(4) == b"RF64":
        id3 = _read_rf64_id3(stream)
        return (_from_id3(id3), _cover_of_id3(id3)) if id3 is not None else ({}, None)
    stream.seek(0)
    file = mutagen_part("").File(stream)
    tags = getattr(file, "tags", None)
    if tags is None:
        return {}, None
    if isinstance(tags, mutagen_part("id3").ID3):
        return _from_id3(tags), _cover_of_id3(tags)
    if isinstance(tags, mutagen_part("mp4").MP4Tags):
        return _from_mp4(tags), _cover_of_mp4(tags)
    if isinstance(tags, mutagen_part("asf").ASFTags):
        return {_FROM_ASF[k]: [str(v) for v in tags[k]] for k in _FROM_ASF if k in tags}, None
    return _from_pairs(tags), _cover_of_vorbis(file)


def _from_pairs(tags: Any) -> Tags:
    """Read Vorbis comments or APE tags; skip values that are not text."""
    values: dict[str, Any] = {}
    if isinstance(tags, list):  # pairs; each look-up by name would search all of them
        for name, text in tags:
            values.setdefault(name.lower(), []).append(text)
    else:
        values = {name: tags[name] for name in tags}
    found: Tags = {}
    for name, value in sorted(values.items()):
        if isinstance(value, list) or type(value).__name__ == "APETextValue":
            plain = {"year": "date", "track": "tracknumber"}.get(name.lower(), name.lower())
            found[plain] = [str(text) for text in value]
    found.pop("metadata_block_picture", None)
    return {name: values for name, values in found.items() if any(values)}


def _from_id3(tags: Any) -> Tags:
    found: Tags = {}
    for frame in tags.values():
        name = _FROM_ID3.get(frame.FrameID)
        if frame.FrameID == "TXXX":
            found[frame.desc.lower()] = [str(text) for text in frame.text]
        elif name == "genre":
            found[name] = list(frame.genres)
        elif name:
            found[name] = [str(text) for text in frame.text]
    return {name: values for name, values in found.items() if any(values)}


def _from_mp4(tags: Any) -> Tags:
    found: Tags = {}
    for key, value in tags.items():
        name = _FROM_MP4.get(key)
        if name in NUMBERS:
            found[name] = [f"{n}/{total}" if total else str(n) for n, total in value[:1]]
        elif name:
            found[name] = [str(text) for text in value]
        elif key.startswith(FREEFORM):
            found[key[len(FREEFORM) :].lower()] = [bytes(v).decode(errors="replace") for v in value]
    return {name: values for name, values in found.items() if any(values)}


def _first_cover(pictures: list[Any]) -> Cover | None:
    for picture in sorted(pictures, key=lambda picture: int(picture.type) != FRONT_COVER):
        if picture.data:
            return picture.data, picture.mime
    return None


def _cover_of_id3(tags: Any) -> Cover | None:
    return _first_cover(tags.getall("APIC"))


def _cover_of_mp4(tags: Any) -> Cover | None:
    mp4 = mutagen_part("mp4")
    for picture in tags.get("covr", []):
        is_png = picture.imageformat == mp4.MP4Cover.FORMAT_PNG
        return bytes(picture), "image/png" if is_png else "image/jpeg"
    return None


def _cover_of_vorbis(file: Any) -> Cover | None:
    flac = mutagen_part("flac")
    pictures = list(getattr(file, "pictures", []))
    for text in file.tags.get("metadata_block_picture", []) if not pictures else []:
        try:
            pictures.append(flac.Picture(base64.b64decode(text)))
        except (ValueError, flac.error):
            continue
    return _first_cover(pictures)


def wav_chunks(file: Any) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name, start of the body and length of every chunk of a RIFF or RF64 file."""
    file.seek(12)
    wide = None
    while len(header := file.read(8)) == 8:
        name, length = struct.unpack("<4sI", header)
        body = file.tell()
        if name == b"ds64":
            wide = int.from_bytes(file.read(16)[8:], "little")
        if name == b"data" and length == 0xFFFFFFFF and wide is not None:
            length = wide
        yield name, body, length
        file.seek(body + length + length % 2)


def _read_rf64_id3(file: Any) -> Any:
    for name, body, length in wav_chunks(file):
        if name.lower() == b"id3 ":
            file.seek(body)
            return mutagen_part("id3").ID3(io.BytesIO(file.read(length)))
    return None
