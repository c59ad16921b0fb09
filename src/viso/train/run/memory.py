"""Keeps memory that a training step frees for the next step."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_memory"]

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_NEVER = 2**31 - 1


def keep_memory() -> bool:
    """Let this process keep the memory that it frees until it ends.

    Each training step on a CPU allocates and frees the same few gigabytes. glibc returns large
    allocations to the system at once. Getting them back, filled with zeros, took a quarter to a
    half of a step's time. The process does not grow: each step needs the same memory again.

    Returns
    -------
    bool
        Whether it worked; False if the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        set_option = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(set_option(_M_MMAP_MAX, 0)) and bool(set_option(_M_TRIM_THRESHOLD, _NEVER))
