"""What the boxes of an MP4 file claim, before FFmpeg makes an index of as many entries.

An index entry takes 24 bytes of memory, and a box of 20 bytes may claim two thousand million of
them. FFmpeg stops at 2 GB an index, which is late.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from viso.errors import AudioError

__all__ = ["check_boxes"]

_FIRST = {b"ftyp", b"moov", b"moof", b"styp", b"sidx", b"mdat", b"free", b"skip", b"wide", b"pnot"}
_CONTENTS = {b"mdat", b"free", b"skip", b"wide"}
# FFmpeg looks for boxes in boxes of many kinds: they are found here wherever they stand.
_CLAIMS = re.compile(rb"trak|stsz|stz2|stsc|stco|co64|trun|cmov")
_WINDOW = 1 << 20
_HEAD = 64  # bytes from the name of a box that are looked at
_FEW = 100_000  # entries that anything may claim

# A box is believed if its size fits; in a picture of 20 MB one in 10,000 times such bytes lie.


def check_boxes(path: Path, file: BinaryIO, size: int) -> None:
    """Refuse an MP4 file that claims more samples than it has bytes; others pass.

    Parameters
    ----------
    path : Path
        For the message.
    file : binary file
    size : int
        Of the file in bytes.

    Raises
    ------
    AudioError
        If a table of samples is larger than the file can have, or packed (``cmov``).
    """
    n_samples = n_chunks = n_a_chunk = 0
    for name, claim in _claims(file, size):
        n_samples += claim if name in (b"stsz", b"trun") else 0
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
    """Yield the names of boxes and what they claim to hold."""
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
    for first in range(start, end, _WINDOW):
        file.seek(max(start, first - 16))
        window = file.read(min(_WINDOW, end - first) + first - file.tell() + _HEAD)
        for match in _CLAIMS.finditer(window):
            at = match.start()
            is_next = at >= _WINDOW + first - max(start, first - 16)  # found again in that one
            if at < 4 or is_next:
                continue
            length = int.from_bytes(window[at - 4 : at], "big")
            shift = 8 if length == 1 else 0
            if length <= 1 or 8 <= length <= end - start:
                head = window[at + 4 + shift : at + _HEAD]
                yield match[0], _claim(match[0], head, length)


def _claim(name: bytes, head: bytes, length: int) -> int:
    """Return the samples, chunks or samples a chunk that a box claims beyond its own bytes."""
    numbers: tuple[int, ...] = struct.unpack(f">{len(head) // 4}I", head[: len(head) // 4 * 4])
    if name in (b"stsz", b"stz2") and len(numbers) > 2:
        sample_size, count = (numbers[1], numbers[2]) if name == b"stsz" else (0, numbers[2])
        return count * max(1, sample_size)
    if name == b"trun" and len(numbers) > 1:
        has_own_fields = numbers[0] & 0xF00
        return 0 if has_own_fields and numbers[1] * 4 <= length else numbers[1]
    if name == b"stsc" and len(numbers) > 1:
        return max(numbers[3::3], default=0)
    return numbers[1] if len(numbers) > 1 else 0
