"""Small files that ask for much: built from their formats' definitions, byte by byte."""

from __future__ import annotations

import struct
import zlib
from functools import cache
from pathlib import Path

from viso.audio import write
from viso.audio._integrity import ogg_crc

RATE = 44_100
HOURS_20 = 20 * 3600 * RATE


def zeros_deflated(n_bytes: int) -> bytes:
    """So many zeros, rounded up to whole megabytes, as zlib packs them."""
    packer = zlib.compressobj(9)
    head = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    part = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    n_parts = -(-n_bytes // (1 << 20))
    checksum = (n_parts << 20) % 65521 << 16 | 1
    return head + part * (n_parts - 1) + b"\x03\x00" + struct.pack(">I", checksum)


def png(side: int) -> bytes:
    """A square picture of nothing, four bytes a pixel when unpacked."""
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)),
        (b"IDAT", zeros_deflated(side * (1 + 4 * side))),
        (b"IEND", b""),
    ]
    chunks = [
        struct.pack(">I4s", len(b), n) + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def id3(frame: bytes, body: bytes, *, flags: int = 0) -> bytes:
    """A tag of version 2.3 with one frame."""
    whole = frame + struct.pack(">IH", len(body), flags) + body
    size = bytes(len(whole) >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + size + whole


def packed_tag(n_bytes: int) -> bytes:
    """A title that is compressed."""
    body = struct.pack(">I", n_bytes) + zeros_deflated(n_bytes)
    return id3(b"TIT2", body, flags=0x0080)


def wav(
    *, n_channels: int = 1, rate_hz: int = RATE, extra: bytes = b"", form: bytes = b"RIFF"
) -> bytes:
    """Ten frames of silence, and what is said of them."""
    align = 2 * n_channels
    fmt = struct.pack("<HHIIHH", 1, n_channels & 0xFFFF, rate_hz, 0, align & 0xFFFF, 16)
    sound = bytes(10 * align)
    body = extra + b"fmt " + struct.pack("<I", 16) + fmt
    body += b"data" + struct.pack("<I", len(sound)) + sound
    return form + struct.pack("<I", len(body) + 4) + b"WAVE" + body


def mp4(folder: Path, boxes: dict[bytes, bytes], *, name: str = "whole.m4a") -> bytes:
    """An MP4 file with some of its boxes' contents replaced."""
    write(folder / name, noise(RATE), rate_hz=RATE)
    data = (folder / name).read_bytes()
    for box, body in boxes.items():
        at = data.index(box)
        size = int.from_bytes(data[at - 4 : at], "big")
        data = (
            data[: at - 4] + struct.pack(">I4s", len(body) + 8, box) + body + data[at - 4 + size :]
        )
        for outer in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
            place = data.index(outer) - 4
            larger = int.from_bytes(data[place : place + 4], "big") + len(body) + 8 - size
            data = data[:place] + struct.pack(">I", larger) + data[place + 4 :]
    return data


def noise(n_samples: int):
    import numpy as np

    return np.random.default_rng(0).uniform(-0.3, 0.3, (2, n_samples)).astype(np.float32)


def nested(name: bytes, depth: int) -> bytes:
    """Boxes in boxes."""
    box = b""
    for _ in range(depth):
        box = struct.pack(">I4s", len(box) + 8, name) + box
    return struct.pack(">I4s", 16, b"ftyp") + b"M4A \0\0\0\0" + box


def flac(n_frames: int, *, comments: int = 0) -> bytes:
    """Mono silence in frames of 65,535 samples, 14 to 16 bytes each."""
    n_samples = 65_535 * n_frames
    about = struct.pack(">HH6x", 65_535, 65_535)
    about += (RATE << 44 | 0 << 41 | 15 << 36 | n_samples).to_bytes(8, "big") + bytes(16)
    said = b"".join(struct.pack("<I", 9) + b"%07d=a" % n for n in range(comments))
    vorbis = struct.pack("<II", 0, comments) + said
    out = b"fLaC\0" + len(about).to_bytes(3, "big") + about
    out += b"\x84" + len(vorbis).to_bytes(3, "big") + vorbis
    return out + b"".join(map(_silent_frame, range(n_frames)))


def _silent_frame(number: int) -> bytes:
    head = b"\xff\xf8\x70\x00" + _utf8(number) + struct.pack(">H", 65_534)
    head += bytes([_crc(head, 8, 0x07)])
    frame = head + b"\0\0\0"  # a constant subframe: zero
    return frame + struct.pack(">H", _crc(frame, 16, 0x8005))


def _utf8(number: int) -> bytes:
    if number < 128:
        return bytes([number])
    tail = []
    lead = 0x3F
    while number > lead:
        tail.append(0x80 | number & 0x3F)
        number >>= 6
        lead >>= 1
    return bytes([~(2 * lead + 1) & 0xFF | number, *reversed(tail)])


def _crc(data: bytes, bits: int, polynomial: int) -> int:
    table, value, most = _table(bits, polynomial), 0, (1 << bits) - 1
    for byte in data:
        value = (value << 8 & most) ^ table[value >> bits - 8 ^ byte]
    return value


@cache
def _table(bits: int, polynomial: int) -> list[int]:
    table = []
    for byte in range(256):
        value = byte << bits - 8
        for _ in range(8):
            value = value << 1 ^ (polynomial if value >> bits - 1 else 0)
            value &= (1 << bits) - 1
        table.append(value)
    return table


def page(magic: bytes, flags: int = 0) -> bytes:
    """A page of Ogg with nothing in it, its checksum right whatever its first bytes."""
    head = magic + bytes([0, flags]) + bytes(8) + struct.pack("<II", 1, 0) + bytes(4) + b"\0"
    return head[:22] + ogg_crc(head) + head[26:]
