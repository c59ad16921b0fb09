"""Checks how many samples an MP4 file claims, before FFmpeg builds an index of that size.

An index entry takes 24 bytes of memory, and a box of 20 bytes may claim two thousand million
entries. FFmpeg itself stops only at 2 GB per index.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from viso.errors import AudioError

__all__ = ["check_boxes"]

_FIRST = {b"ftyp", b"moov", b"moof", b"styp", b"sidx", b"mdat", b"free", b"skip", b"wide", b"pnot"}
_CONTENTS = {b"mdat", b"free", b"skip", b"wide"}
# FFmpeg looks for boxes inside boxes of many kinds, so this finds them anywhere.
_CLAIMS = re.compile(rb"trak|stsz|stz2|stsc|stco|co64|trun|cmov|data|\xa9[a-zA-Z]{3}")
_WINDOW, _OVERLAP = 1 << 20, 8
_LARGEST_TABLE = 16 << 20
_FEW = 100_000  # entries that any file may claim
_MOST_NOTES = 10_000  # FFmpeg's work grows with the square of the number of tags

# Bytes count as a box if their size fits. One picture of 20 MB in 10,000 has such bytes by chance.


def check_boxes(path: Path, file: BinaryIO, size: int) -> None:
    """Raise if an MP4 file claims more samples than it has bytes; accept all other files.

    Parameters
    ----------
    path : Path
        For the message.
    file : binary file
    size : int
        Size of the file in bytes.

    Raises
    ------
    AudioError
        If a table of samples is too large for the file or packed (``cmov``), or there are too
        many tags.
    """
    n_samples = n_chunks = n_a_chunk = n_notes = 0
    for name, claim in _claims(file, size):
        n_samples += claim if name in (b"stsz", b"stz2", b"trun") else 0
        n_notes += name == b"data" or name[:1] == b"\xa9"
        if n_notes > _MOST_NOTES:
            raise AudioError(f"{path}: more than {_MOST_NOTES} tags; take them out")
        if name == b"trak":
            n_chunks = n_a_chunk = 0
        elif name == b"stsc":
            n_a_chunk = max(n_a_chunk, claim)
        elif name in (b"stco", b"co64"):
            n_chunks = max(n_chunks, claim)
        elif name == b"cmov":
            raise AudioError(f"{path}: its index is packed (cmov); convert it with its program")
        if max(n_samples, n_chunks * n_a_chunk // 8) > size + _FEW:
            raise AudioError(
                f"{path}: damaged: its index claims {max(n_samples, n_chunks * n_a_chunk)} "
                f"samples in {size} bytes; get a whole copy"
            )


def _claims(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int]]:
    """Yield the name of each box and what it claims to hold."""
    at, is_first = 0, True
    while at + 8 <= size:
        file.seek(at)
        length, name = struct.unpack(">I4s", file.read(8))
        if is_first and name not in _FIRST:
            return
        is_first = False
        if length == 1:
            length = int.from_bytes(file.read(8), "big")
        length = length if 8 <= length <= size - at else size - at
        if name not in _CONTENTS:
            yield from _inside(file, at, at + length)
        at += length


def _inside(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int]]:
    n_bytes = 0
    for first in range(start, end, _WINDOW):
        origin = max(start, first - _OVERLAP)
        file.seek(origin)
        window = file.read(min(end, first + _WINDOW) - origin)
        for match in _CLAIMS.finditer(window):
            at = origin + match.start() - 4  # where the box begins
            if at < start or match.end() <= first - origin:  # or the last window had it
                continue
            length, body = _extent(file, at, end)
            n_bytes += length if match[0] == b"stsc" else 0
            if n_bytes > end - start:  # tables in tables: reading them all would take too long
                yield b"stsz", end << 10
            elif length:
                yield match[0], _claim(match[0], file, body, at + length)


def _extent(file: BinaryIO, at: int, end: int) -> tuple[int, int]:
    """Return the length of a box (0 if it is not one) and where its contents begin."""
    file.seek(at)
    length, body = int.from_bytes(file.read(4), "big"), at + 8
    if length == 1:
        file.seek(at + 8)
        length, body = int.from_bytes(file.read(8), "big"), at + 16
    length = length or end - at
    return (length, body) if body - at <= length <= end - at else (0, body)


def _claim(name: bytes, file: BinaryIO, body: int, end: int) -> int:
    """Return how many samples, chunks or samples per chunk a box claims."""
    file.seek(body)
    n_bytes = min(end - body, _LARGEST_TABLE if name == b"stsc" else 12) // 4 * 4
    numbers = np.frombuffer(file.read(n_bytes), ">u4").astype(int)
    if name == b"data" or name[:1] == b"\xa9":
        return 0
    if name in (b"stsz", b"stz2") and len(numbers) > 2:
        return int(numbers[2]) * max(1, int(numbers[1]) if name == b"stsz" else 1)
    if name == b"trun" and len(numbers) > 1:
        has_own_fields = int(numbers[0]) & 0xF00
        return 0 if has_own_fields and int(numbers[1]) * 4 <= end - body else int(numbers[1])
    if name == b"stsc" and len(numbers) > 3:
        return int(numbers[3::3].max())
    return int(numbers[1]) if len(numbers) > 1 else 0
