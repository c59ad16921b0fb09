"""A stem as a virtual WAV file of 16, 24 or 32 bits: any bytes of it, without a file on the disk.

The header always has 44 bytes: 12 of RIFF, 24 of ``fmt``, 8 of ``data``.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from viso.studio.stem_store import StemStore

__all__ = ["HEADER_BYTES", "VirtualWav", "byte_range"]

HEADER_BYTES = 44

# Small, because each thread of the server keeps the memory that it once used.
_BLOCK = 1 << 14
_LARGEST = (1 << 32) - 1


@dataclass(frozen=True)
class VirtualWav:
    """One stem of a job as a file.

    Parameters
    ----------
    stems : StemStore
    stem : str
    bits : {16, 24, 32}
        16 and 24 are integers, 32 are floats.
    """

    stems: StemStore
    stem: str
    bits: int = 16

    @property
    def _frame_bytes(self) -> int:
        return self.stems.n_channels * self.bits // 8

    @property
    def _data_bytes(self) -> int:
        return self.stems.n_samples * self._frame_bytes

    @property
    def n_bytes(self) -> int:
        """Size of the file; chunks have an even number of bytes."""
        return HEADER_BYTES + self._data_bytes + self._data_bytes % 2

    def header(self) -> bytes:
        """Return the first 44 bytes. Sizes above 4 GiB read as "all that follows"."""
        rate_hz = self.stems.rate_hz
        return b"".join(
            (
                b"RIFF" + struct.pack("<I", min(self.n_bytes - 8, _LARGEST)) + b"WAVE",
                b"fmt " + struct.pack("<IHH", 16, 3 if self.bits == 32 else 1, self._channels),
                struct.pack("<II", rate_hz, rate_hz * self._frame_bytes),
                struct.pack("<HH", self._frame_bytes, self.bits),
                b"data" + struct.pack("<I", min(self._data_bytes, _LARGEST)),
            )
        )

    @property
    def _channels(self) -> int:
        return self.stems.n_channels

    def read(self, first: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from `first` up to `stop`.

        Raises
        ------
        AudioError
            If the stem is gone.
        """
        position, stop = first, min(stop, self.n_bytes)
        if position < min(stop, HEADER_BYTES):
            yield self.header()[position:stop]
            position = HEADER_BYTES
        data_end = HEADER_BYTES + self._data_bytes
        while position < min(stop, data_end):
            frame, inside = divmod(position - HEADER_BYTES, self._frame_bytes)
            last = min(frame + _BLOCK, -(-(stop - HEADER_BYTES) // self._frame_bytes))
            chunk = self._encoded(frame, last)[inside : inside + stop - position]
            position += len(chunk)
            yield chunk
        if position < stop:
            yield b"\0"

    def _encoded(self, start: int, stop: int) -> bytes:
        if self.bits == 16:
            return self.stems.at_16_bits(self.stem, start, stop).astype("<i2").tobytes()
        integers = self.stems.integers(self.stem, start, stop)
        if self.bits == 32:
            return (integers / np.float32(1 << 23)).astype("<f4").tobytes()
        wide = np.ascontiguousarray(integers.astype("<i4")).view(np.uint8)
        return wide.reshape(-1, 4)[:, :3].tobytes()


def byte_range(header: str | None, n_bytes: int) -> tuple[int, int] | None:
    """Return the first byte, and the one after the last, that a ``Range`` header requests.

    Parameters
    ----------
    header : str, optional
    n_bytes : int
        Size of the file.

    Returns
    -------
    (int, int) or None
        None if the whole file is to be sent: no header, several ranges, or an invalid one. A
        range behind the end is empty.

    References
    ----------
    RFC 9110, section 14.
    """
    match = re.fullmatch(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", header or "")
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        return max(0, n_bytes - int(last)), n_bytes if int(last) else 0
    if last and int(last) < int(first):
        return None
    return int(first), min(n_bytes, int(last) + 1) if last else n_bytes
