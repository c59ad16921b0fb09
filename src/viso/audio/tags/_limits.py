"""What a tag may take: mutagen believes sizes, unpacks without a limit and counts to the end.

Without these limits 400 KB of ID3 became 1.2 GB of memory, and 100 KB of Vorbis comments half a
minute of work.
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
_ALL = 256 << 20  # bytes of all that is read
_MOST_READS = 50_000

# What may begin a comment of Vorbis, and a frame of ID3: each becomes objects of 200 to 700 bytes.
_COMMENT = re.compile(rb"\0\0[^=\0]{0,20}=")
_FRAME = re.compile(rb"[A-Z][A-Z0-9]{2}")
_LARGE = 64 << 10  # smaller tags of ID3 need not be counted
_MOST_ITEMS = 20_000
_ITEMS_A_BYTE = 0.01  # pictures look so by chance, hardly ever so often


class LimitedFile:
    """A file for reading tags; it raises OSError where reading them would take too much.

    Parameters
    ----------
    file : binary file
        Open for reading; not closed here.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._n_reads = self._n_bytes = self._n_items = 0
        self._is_id3 = False
        self.name: Any = file.name

    def read(self, n_bytes: int = -1) -> bytes:
        """Read; never more memory is taken than there are bytes left."""
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
        """Seek; a place that no file has is an OSError, too."""
        try:
            return self._file.seek(offset, whence)
        except (OverflowError, ValueError) as error:
            raise OSError(errno.EINVAL, f"no place {offset} in a file") from error

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()


class _LimitedZlib:
    """zlib for frames of ID3: text shrinks to a tenth at best, a bomb to a thousandth."""

    error = zlib.error

    @staticmethod
    def decompress(data: bytes) -> bytes:
        unpacker = zlib.decompressobj()
        found = unpacker.decompress(data, 10 * len(data) + 100)
        if not unpacker.eof:
            raise zlib.error("unpacks to more than ten times its size, or is cut")
        return found


def limit_unpacking(frames: Any) -> None:
    """Give mutagen's module of ID3 frames a zlib with a limit; it has no option for one."""
    frames.zlib = _LimitedZlib
