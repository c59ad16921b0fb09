"""The parent's end of the pipe to a decoding child; `viso.audio.isolated` has the protocol."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from viso.audio._blocks import Block
from viso.audio.reading import MOST_CHANNELS
from viso.errors import AudioError

__all__ = ["Decoder"]

# Avoid the package's __init__: it loads the separator, which doubles the child's start time.
_START = (
    "import sys, types; viso = types.ModuleType('viso'); viso.__path__ = [sys.argv[1]]; "
    "sys.modules['viso'] = viso; from viso.audio.isolated import _child; _child.main()"
)
_FEW_THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # each takes memory
_PACKAGE = Path(__file__).parents[2]
_LONGEST_LINE = 1 << 20


def _paths() -> str:
    """Return the folders where this process finds its modules, without the current folder."""
    return os.pathsep.join(filter(None, sys.path))


class Decoder:
    """A child process that decodes: `open` a file, then read its `blocks` once or `open` the next.

    Attributes
    ----------
    id : int
        The child's process id.
    about : dict
        What the child reports about the open file.
    is_over : bool
        Whether the child can no longer be used.
    """

    def __init__(self, path: Path, *, memory_bytes: int, patience_s: float) -> None:
        self._path, self._memory_bytes = path, memory_bytes
        self._patience_s = patience_s
        self._is_late = self.is_over = False
        self._awaited: object = None  # the current read
        self._lock = threading.Lock()
        try:
            # A session of its own: Ctrl-C reaches only this process, which then ends the child.
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", "-c", _START, str(_PACKAGE)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **_FEW_THREADS, "PYTHONPATH": _paths()},
                start_new_session=True,
            )
        except (OSError, TypeError, ValueError) as error:
            raise AudioError(f"{path}: no process for its decoder ({error}); try again") from error
        self.id = self._process.pid

    def open(self, path: Path, *, track: int = 0) -> None:
        """Open a file in place of the previous one."""
        self._path = path
        self._ask({"path": str(path), "track": track, "memory_bytes": self._memory_bytes})
        self.about = self._line()
        self._n_channels = int(self.about["n_channels"])
        if not 1 <= self._n_channels <= MOST_CHANNELS:
            raise self._nonsense()

    def blocks(self, **region: Any) -> Iterator[Block]:
        """Yield the samples of a region."""
        self._ask(region)
        most = max(0, int(region["block_size"]))
        while n_samples := struct.unpack("<I", self._bytes(4))[0]:
            if n_samples > most:
                raise self._nonsense()
            raw = self._bytes(4 * n_samples * self._n_channels)
            # Nobody else has this bytearray, so the array is writable, as AudioFile's is.
            yield np.frombuffer(raw, np.float32).reshape(self._n_channels, n_samples)
        self._line()

    def _ask(self, message: Mapping[str, Any]) -> None:
        if self._process.stdin is None:
            raise AssertionError("the child has a pipe")
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._dead() from error

    def _line(self) -> dict[str, Any]:
        """Return a message of the child, or raise the error that the child reports."""
        length = struct.unpack("<I", self._bytes(4))[0]
        if length > _LONGEST_LINE:
            raise self._nonsense()
        try:
            message: dict[str, Any] = json.loads(self._bytes(length))
            if message["error"] is None:
                return message
            reason = str(message["error"])
        except (ValueError, LookupError, TypeError) as error:
            raise self._nonsense() from error
        raise AudioError(reason)

    def _bytes(self, n_bytes: int) -> bytearray:
        """Read `n_bytes` bytes, or raise an error if the child is dead or late."""
        if self._process.stdout is None:
            raise AssertionError("the child has a pipe")
        read = self._awaited = object()
        watch = threading.Timer(self._patience_s, self._end_late, [read])
        watch.start()
        data = bytearray(n_bytes)
        n_read = 0
        try:
            while n_read < n_bytes:
                n_new = self._process.stdout.readinto(memoryview(data)[n_read:])  # type: ignore[attr-defined]
                if not n_new:
                    raise self._dead()
                n_read += n_new
        finally:
            # A timer may be past the point where it can be cancelled.
            with self._lock:
                self._awaited = None
            watch.cancel()
        return data

    def _end_late(self, read: object) -> None:
        """Kill the child if this read is still waiting for it."""
        with self._lock:
            if self._awaited is read:
                self._is_late = True
                self._process.kill()

    def _dead(self) -> AudioError:
        self.is_over = True
        if self._is_late:
            why = f"gave nothing for {self._patience_s:g} s"
        else:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
            code = self._process.returncode
            why = f"died (signal {-code})" if code is not None and code < 0 else "died"
        return AudioError(
            f"{self._path}: its decoder {why}; the file is damaged, or made to do harm: convert it "
            "to WAV with the program it comes from"
        )

    def _nonsense(self) -> AudioError:
        self.is_over = True
        return AudioError(
            f"{self._path}: its decoder says what makes no sense; do not use the file"
        )

    def close(self) -> None:
        """Kill the child; more calls do nothing."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        self._process.wait()
