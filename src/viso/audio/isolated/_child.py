"""The child of `viso.audio.isolated`: opens files and sends their samples through a pipe."""

from __future__ import annotations

import json
import os
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from viso.audio.reading import open_audio
from viso.errors import AudioError

__all__ = ["main"]

_REPORTED = ("rate_hz", "n_channels", "n_tracks", "n_samples", "duration_s", "subtype", "bit_depth")


def main() -> None:
    """Serve one file after the other, until there are no more requests."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # decoders that print must not print into the samples
    request = _next()
    _limit(request["memory_bytes"])
    while request:
        path = request["path"]
        try:
            request = _serve(path, request["track"], out)
            continue
        except AudioError as error:
            _send(out, {"error": str(error)})
        except MemoryError:
            much = f"more than {request['memory_bytes'] >> 20} MB of memory"
            _send(out, {"error": f"{path}: takes {much}; convert it to WAV with another program"})
        request = _next()


def _next() -> dict[str, Any]:
    """Return the next request, or an empty one at the end."""
    line = sys.stdin.buffer.readline()
    return dict(json.loads(line)) if line else {}


def _limit(memory_bytes: int) -> None:
    """Limit memory and forbid writing files, where the system supports such limits."""
    try:
        import resource
    except ImportError:  # Windows
        return
    # The memory that the start took does not count.
    for kind, most in (("DATA", memory_bytes + _data_bytes()), ("CORE", 0), ("FSIZE", 0)):
        limit = getattr(resource, f"RLIMIT_{kind}")
        highest = resource.getrlimit(limit)[1]
        most = most if highest == resource.RLIM_INFINITY else min(most, highest)
        resource.setrlimit(limit, (most, highest))


def _data_bytes() -> int:
    """Return how much this process has allocated, or 0 if the kernel does not report it."""
    with suppress(OSError, LookupError, ValueError):
        return int(Path("/proc/self/status").read_text().split("VmData:")[1].split()[0]) << 10
    return 0


def _serve(path: str, track: int, out: BinaryIO) -> dict[str, Any]:
    """Open a file, send the requested samples and return the next request."""
    with open_audio(path, track=track) as song:
        _send(out, {"error": None, **{name: getattr(song, name) for name in _REPORTED}})
        wanted = _next()
        if not wanted or "path" in wanted:  # the parent does not request samples
            return wanted
        try:
            for block in song.blocks(**wanted):
                out.write(struct.pack("<I", block.shape[1]))
                out.write(np.ascontiguousarray(block).data)
        finally:
            out.write(bytes(4))
    _send(out, {"error": None})
    return _next()


def _send(out: BinaryIO, message: dict[str, Any]) -> None:
    text = json.dumps(message).encode()
    out.write(struct.pack("<I", len(text)) + text)
    out.flush()
