"""Decoding in a process of its own, for files of strangers.

libsndfile, FFmpeg and the codecs behind them are written in C: a file made for it can crash them,
or have them take any amount of memory or time. Here that befalls a child; this process gets an
AudioError. The child is no sandbox: it may do what the account may, except writing files.

    parent                                  child
    {"path": ..., "track": ...}         ->  opens the file
                                        <-  {"rate_hz": ..., ...}, or {"error": ...}
    {"block_size": ..., "start_s": ...} ->  decodes
                                        <-  number of samples, samples, number, samples, ... 0
                                        <-  {"error": null}, or {"error": ...}
"""

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
from types import TracebackType
from typing import Any

import numpy as np

from viso.audio._blocks import Block
from viso.audio.reading import MOST_CHANNELS
from viso.errors import AudioError

__all__ = ["IsolatedFile", "open_isolated"]

# The package by its folder: its own __init__ loads the separator, half of the child's start.
_START = (
    "import sys, types; viso = types.ModuleType('viso'); viso.__path__ = [sys.argv[1]]; "
    "sys.modules['viso'] = viso; from viso.audio import _isolated_child; _isolated_child.main()"
)
_FEW_THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # each takes memory
_PACKAGE = Path(__file__).parents[1]
_LONGEST_LINE = 1 << 20


def open_isolated(
    path: str | os.PathLike[str],
    *,
    track: int = 0,
    memory_bytes: int = 1 << 30,
    patience_s: float = 60.0,
) -> IsolatedFile:
    """Open a sound or video file for reading in another process.

    The samples are those of `open_audio`, bit for bit. A child takes about 0.3 s of processor time
    to start, and each pass through the file has one.

    Parameters
    ----------
    path : str or path-like
    track : int
        Which of the file's audio tracks, counted from 0.
    memory_bytes : int
        What the decoder may allocate, where the system can limit it (Linux).
    patience_s : float
        Seconds that it may take for a block of samples.

    Returns
    -------
    IsolatedFile

    Raises
    ------
    AudioError
        As `open_audio`; also if the decoder dies, or takes more than it may.

    Examples
    --------
    >>> with open_isolated("upload.mp3") as song:    # doctest: +SKIP
    ...     peak = max(np.abs(block).max() for block in song.blocks())
    """
    return IsolatedFile(path, track=track, memory_bytes=memory_bytes, patience_s=patience_s)


class IsolatedFile:
    """A readable sound file whose decoder is a child; see `viso.audio.AudioFile`.

    The attributes are the same. `blocks` says what is wrong with its arguments when the first
    block is asked for.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, track: int, memory_bytes: int, patience_s: float
    ) -> None:
        self.path = Path(path)
        self.track = track
        self._memory_bytes, self._patience_s = memory_bytes, patience_s
        self._is_closed = False
        self._idle: _Decoder | None = self._start()
        about = self._idle.about
        self.rate_hz: int = about["rate_hz"]
        self.n_channels: int = about["n_channels"]
        self.n_tracks: int = about["n_tracks"]
        self.n_samples: int | None = about["n_samples"]
        self.duration_s: float | None = about["duration_s"]
        self.subtype: str = about["subtype"]
        self.bit_depth: int | None = about["bit_depth"]

    def _start(self) -> _Decoder:
        return _Decoder(
            self.path,
            track=self.track,
            memory_bytes=self._memory_bytes,
            patience_s=self._patience_s,
        )

    def blocks(
        self, *, block_size: int = 65536, start_s: float = 0.0, duration_s: float | None = None
    ) -> Iterator[Block]:
        """Decode the file, or a region of it, block by block; see `AudioFile.blocks`.

        Yields
        ------
        np.ndarray [shape=(n_channels, block_size), float32, full scale = 1.0]

        Raises
        ------
        AudioError
            As `AudioFile.blocks`; also if the decoder dies, or takes more than it may.
        """
        if self._is_closed:
            raise AudioError(f"{self.path}: already closed; open it again")
        decoder, self._idle = self._idle or self._start(), None
        try:
            yield from decoder.blocks(
                block_size=int(block_size),
                start_s=float(start_s),
                duration_s=None if duration_s is None else float(duration_s),
            )
        finally:
            decoder.close()

    def close(self) -> None:
        """End the use of this object; passes that already run may finish."""
        self._is_closed = True
        if self._idle is not None:
            self._idle.close()
            self._idle = None

    def __enter__(self) -> IsolatedFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _paths() -> str:
    """Return where this process finds its modules; never the current folder."""
    return os.pathsep.join(filter(None, sys.path))


class _Decoder:
    """A child with one file open; good for one pass."""

    def __init__(self, path: Path, *, track: int, memory_bytes: int, patience_s: float) -> None:
        self._path = path
        self._patience_s = patience_s
        self._is_late = False
        try:
            # A session of its own: Ctrl-C is for this process, which then ends the child.
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
        try:
            self._ask({"path": str(path), "track": track, "memory_bytes": memory_bytes})
            self.about = self._line()
            self._n_channels = int(self.about["n_channels"])
            if not 1 <= self._n_channels <= MOST_CHANNELS:
                raise self._nonsense()
        except BaseException:
            self.close()
            raise

    def blocks(self, **region: Any) -> Iterator[Block]:
        """Yield the samples of a region."""
        self._ask(region)
        most = max(0, int(region["block_size"]))
        while n_samples := struct.unpack("<I", self._bytes(4))[0]:
            if n_samples > most:
                raise self._nonsense()
            raw = self._bytes(4 * n_samples * self._n_channels)
            # A bytearray is ours alone, so the array may be written to, as AudioFile's.
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
        """Return a message of the child, or raise the error that it tells."""
        length = struct.unpack("<I", self._bytes(4))[0]
        if length > _LONGEST_LINE:
            raise self._nonsense()
        try:
            message: dict[str, Any] = json.loads(self._bytes(length))
            if message["error"] is None:
                return message
            told = str(message["error"])
        except (ValueError, LookupError, TypeError) as error:
            raise self._nonsense() from error
        raise AudioError(told)

    def _bytes(self, n_bytes: int) -> bytearray:
        """Read so many bytes, or raise that the child is dead or late."""
        if self._process.stdout is None:
            raise AssertionError("the child has a pipe")
        watch = threading.Timer(self._patience_s, self._end_late)
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
            watch.cancel()
        return data

    def _end_late(self) -> None:
        self._is_late = True
        self._process.kill()

    def _dead(self) -> AudioError:
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
        return AudioError(
            f"{self._path}: its decoder says what makes no sense; do not use the file"
        )

    def close(self) -> None:
        """End the child; twice is once."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        self._process.wait()
