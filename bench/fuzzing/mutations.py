"""Damage: each input is made from a whole file by a few random changes, the same ones every time.

Some know nothing of the file, the others know where its parts begin and what its headers say: a
bit that flips in the middle of the sound seldom leads anywhere, a count of four thousand million
does. Checksums are made right again most of the time, or nothing would get past them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np

from fuzzing.seeds import KINDS
from viso.audio._integrity import ogg_crc

__all__ = ["make_input"]

_VALUES = (0, 1, 2, 3, 7, 8, 16, 127, 128, 255, 256, 500, 1024, 32767, 32768, 65535, 65536)
_VALUES += (0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE, 192_000, 1 << 20, 1 << 28)
_VALUES += (60_000_000, 80_000_000, 1 << 33, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)

# Behind these lie the numbers of a header.
_TOKENS = {
    "wav": (b"RIFF", b"RF64", b"ds64", b"fmt ", b"data", b"fact", b"id3 ", b"ID3", b"TIT2"),
    "flac": (b"fLaC",),
    "mp3": (b"ID3", b"TIT2", b"APIC", b"Xing", b"Info", b"LAME", b"\xff\xfb", b"\xff\xf3", b"TAG"),
    "ogg": (b"\x01vorbis", b"\x03vorbis", b"\x05vorbis", b"OggS", b"\x7fFLAC"),
    "opus": (b"OpusHead", b"OpusTags", b"OggS"),
    "aiff": (b"FORM", b"COMM", b"SSND"),
    "caf": (b"desc", b"data", b"pakt", b"chan"),
    "avi": (b"avih", b"strh", b"strf", b"idx1", b"movi"),
    "mka": (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b", b"\x1f\x43\xb6\x75"),
}
_BOXES = (b"moov", b"mvhd", b"tkhd", b"mdhd", b"hdlr", b"stsd", b"mp4a", b"esds", b"stts", b"stsc")
_BOXES += (b"stsz", b"stco", b"elst", b"ilst", b"meta", b"udta", b"trak", b"trun", b"tfhd", b"mdat")
_BOXES += (b"alac", b"covr", b"trkn", b"----", b"iTunSMPB", b"moof", b"traf", b"trex", b"avc1")
_TOKENS |= {"m4a": _BOXES, "mp4": _BOXES}
_TOKENS["webm"] = _TOKENS["mka"]

Change = Callable[[bytearray, np.random.Generator, str], bytearray]


def make_input(seeds: Mapping[str, bytes], index: int, *, seed: int = 0) -> tuple[str, bytes]:
    """Return the name of the whole file that input `index` is made from, and the input.

    Parameters
    ----------
    seeds : mapping of str to bytes
        See `fuzzing.seeds.make_seeds`.
    index : int
    seed : int
        Another one gives other inputs.
    """
    rng = np.random.default_rng([seed, index])
    kind = KINDS[index % (len(KINDS) + 1)] if index % (len(KINDS) + 1) < len(KINDS) else ""
    names = [name for name in seeds if not kind or name.startswith(kind)]
    name = names[rng.integers(len(names))]
    kind = name.split("-")[0]
    data = bytearray(seeds[name])
    for _ in range(int(rng.geometric(0.5))):
        change = _CHANGES[rng.integers(len(_CHANGES))]
        data = change(data, rng, kind) if data else data
    if rng.random() < 0.03:
        other = list(seeds.values())[rng.integers(len(seeds))]
        data = bytearray(other[: rng.integers(len(other))]) + data
    if kind in ("ogg", "opus") and rng.random() < 0.8:
        _settle_pages(data)
    return name, bytes(data[: 1 << 20])


def _place(data: bytearray, rng: np.random.Generator) -> int:
    """A position, half of the time in what is usually the header."""
    return int(rng.integers(len(data) if rng.random() < 0.5 else min(len(data), 300)))


def _flip(data: bytearray, rng: np.random.Generator, kind: str) -> bytearray:
    for _ in range(rng.integers(1, 9)):
        data[_place(data, rng)] ^= 1 << int(rng.integers(8))
    return data


def _bytes(data: bytearray, rng: np.random.Generator, kind: str) -> bytearray:
    at = _place(data, rng)
    n = int(rng.choice([1, 2, 4, 8, 32]))
    fill = (bytes(n), b"\xff" * n, rng.bytes(n))[rng.integers(3)]
    data[at : at + n] = fill
    return data


def _put(data: bytearray, at: int, rng: np.random.Generator) -> None:
    width = int(rng.choice([1, 2, 3, 4, 8]))
    value = int(_VALUES[rng.integers(len(_VALUES))]) if rng.random() < 0.8 else len(data)
    value = (value + int(rng.integers(-1, 2))) % (1 << 8 * width)
    data[at : at + width] = value.to_bytes(width, "little" if rng.random() < 0.5 else "big")


def _number(data: bytearray, rng: np.random.Generator, kind: str) -> bytearray:
    _put(data, _place(data, rng), rng)
    return data


def _field(data: bytearray, rng: np.random.Generator, kind: str) -> bytearray:
    """Put a number near a word that a header begins with."""
    tokens = _TOKENS.get(kind, (bytes(data[:4]),))
    places = []
    for token in tokens:
        at = data.find(token)
        while at >= 0 and len(places) < 200:
            places.append(at)
            at = data.find(token, at + 1)
    if not places:
        return _number(data, rng, kind)
    at = places[rng.integers(len(places))] + int(rng.integers(-8, 44))
    _put(data, max(0, at), rng)
    return data


def _cut(data: bytearray, rng: np.random.Generator, kind: str) -> bytearray:
    return data[: rng.integers(1, len(data) + 1)]


def _junk(data: bytearray, rng: np.random.Generator, kind: str) -> bytearray:
    at = _place(data, rng) if rng.random() < 0.5 else len(data)
    n = int(rng.choice([1, 3, 16, 500, 5000]))
    data[at:at] = rng.bytes(n) if rng.random() < 0.5 else bytes(n)
    return data


def _ranges(data: bytearray, rng: np.random.Generator, kind: str) -> bytearray:
    """Drop, repeat or move a stretch."""
    first, last = sorted(int(x) for x in rng.integers(0, len(data) + 1, 2))
    part = data[first:last]
    match rng.integers(3):
        case 0:
            del data[first:last]
        case 1:
            data[first:first] = part * int(rng.integers(1, 4))
        case _:
            del data[first:last]
            at = int(rng.integers(len(data) + 1))
            data[at:at] = part
    return data


def _parts(data: bytearray, rng: np.random.Generator, kind: str) -> bytearray:
    """Drop, repeat, move or nest a chunk, page, block, box or frame."""
    edges = _edges(data, kind)
    if len(edges) < 3:
        return _ranges(data, rng, kind)
    spans = list(pairwise(edges))
    first, last = spans[rng.integers(len(spans))]
    part = data[first:last]
    match rng.integers(4):
        case 0:
            del data[first:last]
        case 1:
            data[first:first] = part * int(rng.choice([1, 2, 50]))
        case 2:
            at = edges[rng.integers(len(edges))]
            if not first < at < last:
                data[at:at] = part
        case _:
            data[first:last] = _nested(bytes(part), rng, kind)
    return data


def _nested(part: bytes, rng: np.random.Generator, kind: str) -> bytes:
    """Wrap a part into parts of its own kind, a few times or very often."""
    depth = int(rng.choice([1, 5, 300, 3000]))
    if kind in ("m4a", "mp4"):
        name = (b"moov", b"udta", b"trak", b"meta")[rng.integers(4)]
        for _ in range(depth):
            part = struct.pack(">I4s", len(part) + 8, name) + part
    elif kind == "wav":
        for _ in range(depth):
            part = struct.pack("<4sI4s", b"LIST", len(part) + 4, b"INFO") + part
    return part


def _edges(data: bytearray, kind: str) -> list[int]:
    """Return where the parts of a file begin, and its end."""
    walk = {"ogg": _pages, "opus": _pages, "m4a": _boxes, "mp4": _boxes, "flac": _blocks}
    found = walk.get(kind, _chunks)(data)
    return [*(at for at in found if at < len(data)), len(data)]


def _chunks(data: bytearray) -> list[int]:
    edges, at = [], 12
    while at + 8 <= len(data) and len(edges) < 1000:
        edges.append(at)
        size = struct.unpack_from("<I", data, at + 4)[0]
        at += 8 + size + size % 2
    return edges


def _pages(data: bytearray) -> list[int]:
    edges, at = [], 0
    while at + 27 <= len(data) and data[at : at + 4] == b"OggS":
        edges.append(at)
        table = data[at + 27 : at + 27 + data[at + 26]]
        at += 27 + len(table) + sum(table)
    return edges


def _boxes(data: bytearray) -> list[int]:
    """Boxes of all levels, so a span is one that holds no other, or the head of one that does."""
    edges, at = [], 0
    while at + 8 <= len(data) and len(edges) < 1000:
        size, name = struct.unpack_from(">I4s", data, at)
        edges.append(at)
        is_outer = name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"udta", b"moof", b"traf")
        at += 8 if is_outer or size < 8 else size
    return edges


def _blocks(data: bytearray) -> list[int]:
    edges, at = [], 4
    while at + 4 <= len(data):
        edges.append(at)
        is_last = data[at] & 0x80
        at += 4 + int.from_bytes(data[at + 1 : at + 4], "big")
        if is_last:
            break
    while (at := data.find(b"\xff\xf8", at + 1)) >= 0 and len(edges) < 1000:
        edges.append(at)
    return edges


def _settle_pages(data: bytearray) -> None:
    """Make the checksums of Ogg's pages right again."""
    for first, last in pairwise([*_pages(data), len(data)]):
        page = data[first:last]
        if len(page) >= 27:
            page[22:26] = bytes(4)
            data[first + 22 : first + 26] = ogg_crc(bytes(page))


_CHANGES: tuple[Change, ...] = (
    *(_field, _field, _field, _field, _parts, _parts, _number, _number),
    *(_flip, _bytes, _cut, _junk, _ranges),
)
