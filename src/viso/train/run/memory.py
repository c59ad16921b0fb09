"""Memory that a step of training gives back is kept for the next step."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_memory"]

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_NEVER = 2**31 - 1


def keep_memory() -> bool:
    """Let this process keep the memory that it frees, as long as it lives.

    Every step of training on a CPU takes and frees the same few gigabytes. glibc gives large
    pieces back to the system at once, and to get them again, filled with zeros, took a quarter
    to a half of a step's time. The process does not grow by it: what it once needed it needs
    again.

    Returns
    -------
    bool
        Whether it will; False where the C library is another one than glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        set_option = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(set_option(_M_MMAP_MAX, 0)) and bool(set_option(_M_TRIM_THRESHOLD, _NEVER))
