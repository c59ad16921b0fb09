"""A stem as a WAV file of 16, 24 or 32 bits, any bytes of it, without the file being there.

The header has 44 bytes, always: 12 of RIFF, 24 of ``fmt``, 8 of ``data``.
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

# Small: each thread of the server keeps memory of the size that it once worked with.
_BLOCK = 1 << 14
_LARGEST = (1 << 32) - 1


@dataclass(frozen=True)
class VirtualWav:
    """One stem of a job as a file.

    Parameters
    ----------
    stem_store : StemStore
    stem : {"mixture", "vocals", "instrumental"}
    bits : {16, 24, 32}
        16 and 24 are integers, 32 are floats.
    """

    stem_store: StemStore
    stem: str
    bits: int = 16

    @property
    def _frame_bytes(self) -> int:
        return self.stem_store.n_channels * self.bits // 8

    @property
    def _data_bytes(self) -> int:
        return self.stem_store.n_samples * self._frame_bytes

    @property
    def n_bytes(self) -> int:
        """Size of the file; chunks have an even number of bytes."""
        return HEADER_BYTES + self._data_bytes + self._data_bytes % 2

    def header(self) -> bytes:
        """Return the first 44 bytes. Sizes above 4 GiB are said as "all that follows"."""
        rate_hz = self.stem_store.rate_hz
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
        return self.stem_store.n_channels

    def read(self, first: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from `first` up to `stop`.

        Raises
        ------
        AudioError
            If the stem is gone.
        """
        at, stop = first, min(stop, self.n_bytes)
        if at < min(stop, HEADER_BYTES):
            yield self.header()[at:stop]
            at = HEADER_BYTES
        data_end = HEADER_BYTES + self._data_bytes
        while at < min(stop, data_end):
            frame, inside = divmod(at - HEADER_BYTES, self._frame_bytes)
            last = min(frame + _BLOCK, -(-(stop - HEADER_BYTES) // self._frame_bytes))
            part = self._encoded(frame, last)[inside : inside + stop - at]
            at += len(part)
            yield part
        if at < stop:
            yield b"\0"

    def _encoded(self, start: int, stop: int) -> bytes:
        if self.bits == 16:
            return self.stem_store.at_16_bits(self.stem, start, stop).astype("<i2").tobytes()
        integers = self.stem_store.integers(self.stem, start, stop)
        if self.bits == 32:
            return (integers / np.float32(1 << 23)).astype("<f4").tobytes()
        wide = np.ascontiguousarray(integers.astype("<i4")).view(np.uint8)
        return wide.reshape(-1, 4)[:, :3].tobytes()


def byte_range(header: str | None, n_bytes: int) -> tuple[int, int] | None:
    """Return first byte and the one after the last that a ``Range`` header asks for.

    Parameters
    ----------
    header : str, optional
    n_bytes : int
        Size of the file.

    Returns
    -------
    (int, int) or None
        None if all of it is to be sent: no header, several ranges, or one that is none. What
        lies behind the end is an empty range.

    References
    ----------
    RFC 9110, section 14.
    """
    found = re.fullmatch(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", header or "")
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        return max(0, n_bytes - int(last)), n_bytes if int(last) else 0
    if last and int(last) < int(first):
        return None
    return int(first), min(n_bytes, int(last) + 1) if last else n_bytes
