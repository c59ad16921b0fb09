"""Processes: which made a hidden file, whether it still runs, how much memory this one took."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

__all__ = ["hidden_name", "is_left_over", "peak_bytes", "runs", "this_host"]

# .viso-PROCESS-MACHINE-NUMBER.suffix
_HIDDEN = re.compile(r"\.viso-(\d{1,10})-([0-9a-f]{8})-[0-9a-f]{8}(\.[^/]*)?")


def hidden_name(suffix: str) -> str:
    """Return a new name for an unfinished file of this process."""
    return f".viso-{os.getpid()}-{_mark(this_host())}-{secrets.token_hex(4)}{suffix}"


def is_left_over(name: str) -> bool:
    """Tell whether a name is from `hidden_name`, in a process of this machine that has ended."""
    found = _HIDDEN.fullmatch(name)
    return found is not None and found[2] == _mark(this_host()) and not runs(int(found[1]))


@cache
def _mark(host: str) -> str:
    return hashlib.sha256(host.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def this_host() -> str:
    """Return the machine's name and, where there is one, its process namespace (a container's)."""
    try:
        return f"{socket.gethostname()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def runs(pid: int) -> bool:
    """Tell whether a process runs on this machine; on Windows always True, as it is unknown."""
    if os.name == "nt":  # os.kill would end the process; its signs of life must decide
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    # A killed process stays a zombie until its parent notices; in containers that may take long.
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    return True


def peak_bytes() -> int | None:
    """Return the most memory that this process had at once; None where the system has no figure."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
