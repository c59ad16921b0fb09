"""Which machine and which process a hidden file is of, and whether that process still runs."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path

__all__ = ["hidden_name", "is_left_over", "runs", "this_host"]

# .viso-PROCESS-MACHINE-NUMBER.suffix
_HIDDEN = re.compile(r"\.viso-(\d{1,10})-([0-9a-f]{8})-[0-9a-f]{8}(\.[^/]*)?")


def hidden_name(suffix: str) -> str:
    """Return a new name for a file of this process that is not finished yet."""
    return f".viso-{os.getpid()}-{_mark(this_host())}-{secrets.token_hex(4)}{suffix}"


def is_left_over(name: str) -> bool:
    """Tell whether a file has such a name, of a process of this machine that is no more."""
    found = _HIDDEN.fullmatch(name)
    return found is not None and found[2] == _mark(this_host()) and not runs(int(found[1]))


@cache
def _mark(host: str) -> str:
    return hashlib.sha256(host.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def this_host() -> str:
    """Name the machine, and of a container also its own numbering of processes."""
    try:
        return f"{socket.gethostname()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def runs(pid: int) -> bool:
    """Tell whether there is such a process on this machine; of Windows it is not known: True."""
    if os.name == "nt":  # os.kill would end it; wait for its signs of life to fail
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    # One that was killed is there until its parent has noticed: in containers that may take long.
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    return True
