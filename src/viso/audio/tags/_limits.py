"""Limits on tags, because mutagen trusts sizes and counts and unpacks without a limit.

Without these limits 400 KB of ID3 took 1.2 GB of memory, and 100 KB of Vorbis comments took half a
minute.
"""

from __future__ import annotations

import errno
import io
import os
import re
import zlib
from typing import Any, BinaryIO

__all__ = ["LimitedFile", "limit_unpacking"]

_LARGEST = 16 << 20  # bytes of one tag or picture
_ALL = 256 << 20  # bytes of all reads together
_MOST_READS = 50_000

# Possible starts of Vorbis comments and ID3 frames; each becomes objects of 200 to 700 bytes.
_COMMENT = re.compile(rb"\0\0[^=\0]{0,20}=")
_FRAME = re.compile(rb"[A-Z][A-Z0-9]{2}")
_LARGE = 64 << 10  # frames of smaller ID3 tags need not be counted
_MOST_ITEMS = 20_000
_ITEMS_A_BYTE = 0.01  # pictures have such bytes by chance, but hardly ever so many


class LimitedFile:
    """A file for reading tags; raises OSError if that would take too much memory or time.

    Parameters
    ----------
    file : binary file
        Open for reading; the caller closes it.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._n_reads = self._n_bytes = self._n_items = 0
        self._is_id3 = False
        self.name: Any = file.name

    def read(self, n_bytes: int = -1) -> bytes:
        """Read; allocate no more memory than the file has bytes left."""
        left = max(0, self._size - self._file.tell())
        n_bytes = left if n_bytes is None or n_bytes < 0 else min(n_bytes, left)
        self._n_reads += 1
        self._n_bytes += n_bytes
        if n_bytes > _LARGEST or self._n_bytes > _ALL:
            raise OSError(errno.EFBIG, f"a tag of more than {_LARGEST >> 20} MiB")
        if self._n_reads > _MOST_READS:
            raise OSError(errno.EFBIG, f"tags in more than {_MOST_READS} parts")
        data = self._file.read(n_bytes)
        self._is_id3 |= data[:3] == b"ID3"
        self._count(data)
        return data

    def _count(self, data: bytes) -> None:
        if len(data) > 16:
            self._n_items += sum(1 for _ in _COMMENT.finditer(data))
        if len(data) > _LARGE and self._is_id3:
            self._n_items += sum(1 for _ in _FRAME.finditer(data))
        if self._n_items > _MOST_ITEMS + _ITEMS_A_BYTE * self._n_bytes:
            raise OSError(errno.EFBIG, f"more than {_MOST_ITEMS} tags")

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Seek; raise OSError for an impossible position, too."""
        try:
            return self._file.seek(offset, whence)
        except (OverflowError, ValueError) as error:
            raise OSError(errno.EINVAL, f"no place {offset} in a file") from error

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()


class _LimitedZlib:
    """zlib for ID3 frames, limited: text shrinks to a tenth at best, a bomb to a thousandth."""

    error = zlib.error

    @staticmethod
    def decompress(data: bytes) -> bytes:
        unpacker = zlib.decompressobj()
        found = unpacker.decompress(data, 10 * len(data) + 100)
        if not unpacker.eof:
            raise zlib.error("unpacks to more than ten times its size, or is cut")
        return found


def limit_unpacking(frames: Any) -> None:
    """Give mutagen's module of ID3 frames a limited zlib, because it has no option for limits."""
    frames.zlib = _LimitedZlib
