"""Reads the length that a file's header declares, to detect files that are cut short.

The decoders do not report such files: libsndfile shortens a WAV whose data chunk is cut, and FFmpeg
plays what is left of an MP3. A stem of half a song would look whole.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from viso.audio._mp4_atoms import check_boxes
from viso.errors import AudioError

__all__ = ["DeclaredLength", "inspect", "no_such_track", "ogg_crc", "truncated"]

_GIB4 = 1 << 32

# Data sizes from programs that cannot seek back: all ones, and those of FFmpeg and SoX.
_STREAMING_SIZES = frozenset({0x7FFFF000, 0x7FFFFFFF, 0x80000000})
_ALMOST_ALL_ONES = 0xFFFFFF00
_MOST_CHUNKS = 10_000


@dataclass(frozen=True)
class DeclaredLength:
    """What a file declares about its sound and its length.

    Attributes
    ----------
    kind : str
        "wav", "ogg", "mp3" or "other".
    use_ffmpeg : bool
        FFmpeg must decode this file, because libsndfile would misread it.
    n_samples : int or None
        Samples per channel that the header states, without encoder delay and padding.
    slack : int
        How many samples below `n_samples` the decoder may end before the file counts as cut.
    is_exact : bool
        `n_samples` is exact to the sample.
    is_open : bool
        The file is whole, but no header states its exact length.
    start : int
        Bytes of tags before the sound. FFmpeg would take minutes for a hundred thousand tags.
    """

    kind: str
    use_ffmpeg: bool = False
    n_samples: int | None = None
    slack: int = 0
    is_exact: bool = False
    is_open: bool = False
    start: int = 0


def truncated(path: Path, stated: str, found: str) -> AudioError:
    """Return the error for a file that holds less than it declares."""
    return AudioError(
        f"{path}: cut short or damaged: {stated} promised, {found} found; "
        "get a whole copy, or convert the part that plays to WAV with another program"
    )


def no_such_track(path: Path, track: int, n_tracks: int) -> AudioError:
    """Return the error for an audio track that a file does not have."""
    return AudioError(
        f"{path}: no audio track {track} (counted from 0) in this file, which has {n_tracks}; "
        "ask for one that is there"
    )


def inspect(path: Path) -> DeclaredLength:
    """Return the length and other facts that a file declares.

    Parameters
    ----------
    path : Path
        An existing, readable, regular file.

    Raises
    ------
    AudioError
        If the file is empty, or clearly shorter than it declares.
    """
    size = path.stat().st_size
    if size == 0:
        raise AudioError(f"{path}: the file is empty (0 bytes); get a whole copy")
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:] == b"WAVE":
            return _inspect_wav(path, file, size)
        if head[:4] == b"OggS":
            return _inspect_ogg(path, file, size)
        if head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] >= 0xE0):
            return _inspect_mp3(file)
        check_boxes(path, file, size)
    # libsndfile would look for MP3 frames in any file of that name, and print messages about it
    return DeclaredLength("other", use_ffmpeg=path.suffix.lower() == ".mp3")


def _inspect_wav(path: Path, file: BinaryIO, size: int) -> DeclaredLength:
    file.seek(0)
    form, riff_size = struct.unpack("<4sI4x", file.read(12))
    wide_size, n_chunks = None, 0
    while len(header := file.read(8)) == 8:
        n_chunks += 1
        if n_chunks > _MOST_CHUNKS:
            raise AudioError(f"{path}: damaged: {_MOST_CHUNKS} chunks and no sound; convert it")
        name, stated = struct.unpack("<4sI", header)
        body = file.tell()
        if name == b"ds64":
            wide_size = int.from_bytes(file.read(16)[8:], "little")
        if name == b"data":
            break
        file.seek(body + stated + stated % 2)
    else:
        raise truncated(path, "a data chunk", f"{size} bytes without one")
    present = size - body
    if form != b"RIFF" and stated == 0xFFFFFFFF and wide_size is not None:
        stated = wide_size
    elif stated == 0 and present > 0 and riff_size + 8 != size:
        return DeclaredLength(
            "wav", use_ffmpeg=True
        )  # written by a program that could not seek back
    elif stated in _STREAMING_SIZES or stated >= _ALMOST_ALL_ONES:
        return DeclaredLength("wav")
    if stated > present:
        raise truncated(path, f"{stated} bytes of sound", str(present))
    if form == b"RIFF" and present - stated >= _GIB4 - (1 << 20):
        raise AudioError(
            f"{path}: {present} bytes of sound behind a header that can state 4 GiB at most; "
            "convert the file to RF64, W64 or FLAC"
        )
    return DeclaredLength("wav")


def _inspect_ogg(path: Path, file: BinaryIO, size: int) -> DeclaredLength:
    """Check the checksums of all pages, because decoders drop a damaged page without an error."""
    position = n_streams = flags = 0
    begins_early = False
    while position < size:
        file.seek(position)
        header = file.read(27)
        table = file.read(header[26]) if len(header) == 27 else b""
        page = header + table + file.read(sum(table))
        if header[:4] != b"OggS":
            if not _is_ahead(file, position, b"OggS"):  # a tag of another kind after the last page
                break
            raise truncated(path, f"a page at byte {position}", "something else")
        if len(header) < 27 or len(page) < 27 + header[26] + sum(table):
            raise truncated(path, "a whole last page", "a part of it")
        if page[22:26] != ogg_crc(page[:22] + bytes(4) + page[26:]):
            raise truncated(path, f"a page with a right checksum at byte {position}", "a wrong one")
        flags = page[5]
        (granule,) = struct.unpack("<q", page[6:14])  # -1: no packet ends on this page
        begins_early |= granule < -1
        n_streams += flags >> 1 & 1
        position += len(page)
    if not flags & 4:
        raise truncated(path, "a page marked as the last one", "no such page")
    # libsndfile stops after the first link of a chain and cannot read video beside the sound.
    # A stream may begin before its time 0; libsndfile then counts samples that it does not return.
    return DeclaredLength("ogg", use_ffmpeg=n_streams > 1, is_open=begins_early)


def _is_ahead(file: BinaryIO, position: int, word: bytes) -> bool:
    """Tell whether a word occurs in a file at or after a position."""
    file.seek(position)
    before = b""
    while window := file.read(1 << 20):
        if word in before + window:
            return True
        before = window[1 - len(word) :]
    return False


_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def ogg_crc(page: bytes) -> bytes:
    """Return the checksum of a page: zlib's CRC-32, bits reversed, not inverted."""
    crc = ~zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) & 0xFFFFFFFF
    return crc.to_bytes(4, "big").translate(_MIRRORED)


def _inspect_mp3(file: BinaryIO) -> DeclaredLength:
    """Read the Xing/Info header and LAME's delay and padding after it, if present."""
    file.seek(0)
    head = file.read(10)
    start = 0
    while head[:3] == b"ID3" and len(head) == 10:
        length = 0
        for byte in head[6:10]:
            length = length << 7 | byte & 0x7F
        start += 10 + length + (10 if head[5] & 0x10 else 0)
        file.seek(start)
        head = file.read(10)
    file.seek(start)
    frame = file.read(256)
    if frame[:4] == b"fLaC":
        return DeclaredLength("other", start=start)
    if len(frame) < 4 or frame[0] != 0xFF or frame[1] & 0xE0 != 0xE0:
        return DeclaredLength("mp3", use_ffmpeg=True, start=start)
    version, layer = frame[1] >> 3 & 3, frame[1] >> 1 & 3
    if layer != 1 or version == 1 or frame[2] >> 2 & 3 == 3:
        return DeclaredLength(
            "mp3", use_ffmpeg=True, start=start
        )  # ADTS, MPEG layer 1 or 2: these have no Xing header
    is_mono = frame[3] >> 6 == 3
    side = (17 if is_mono else 32) if version == 3 else (9 if is_mono else 17)
    xing = frame[4 + side :]
    if len(xing) < 12 or xing[:4] not in (b"Xing", b"Info") or not xing[7] & 1:
        return DeclaredLength("mp3", use_ffmpeg=True, start=start)
    n_frames = struct.unpack(">I", xing[8:12])[0]
    frame_size = 1152 if version == 3 else 576
    flags = xing[7]
    lame = xing[8 + 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) :]
    lame = lame[4 if flags & 8 else 0 :]
    packed = int.from_bytes(lame[21:24], "big") if len(lame) >= 24 else 0
    delay, padding = packed >> 12, packed & 0xFFF
    n_samples = n_frames * frame_size - delay - padding
    if n_samples <= 0:
        return DeclaredLength("mp3", use_ffmpeg=True, start=start)
    # Without LAME's fields the count is only a hint: it is often one or two frames off.
    is_exact = delay > 0
    slack = 0 if is_exact else 2 * frame_size
    return DeclaredLength("mp3", True, n_samples, slack, is_exact, start=start)
