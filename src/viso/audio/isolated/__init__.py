"""Decodes untrusted files in a process of its own.

libsndfile, FFmpeg and their codecs are written in C: a malicious file can crash them, or make them
take any amount of memory or time. Here this happens to a child process, and this process gets an
AudioError. The child is no sandbox: it may do what the account may, except write files.

    parent                                  child
    {"path": ..., "track": ...}         ->  opens the file
                                        <-  {"rate_hz": ..., ...}, or {"error": ...}
    {"block_size": ..., "start_s": ...} ->  decodes
                                        <-  number of samples, samples, number, samples, ... 0
                                        <-  {"error": null}, or {"error": ...}

Instead of a region the parent may send another file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from viso.audio._blocks import Block
from viso.audio.isolated._decoder import Decoder
from viso.errors import AudioError

__all__ = ["AudioInfo", "IsolatedFile", "inspect_isolated", "open_isolated"]

_MOST_BYTES = 1 << 30


def open_isolated(
    path: str | os.PathLike[str],
    *,
    track: int = 0,
    memory_bytes: int = _MOST_BYTES,
    patience_s: float = 60.0,
) -> IsolatedFile:
    """Open a sound or video file for reading in another process.

    The samples are those of `open_audio`, bit for bit. Each pass through the file has a child,
    which takes about 0.3 s of processor time to start.

    Parameters
    ----------
    path : str or path-like
    track : int
        Which of the file's audio tracks, counted from 0.
    memory_bytes : int
        Memory that the decoder may allocate, where the system can limit it (Linux).
    patience_s : float
        Seconds that the decoder may take for a block of samples.

    Returns
    -------
    IsolatedFile

    Raises
    ------
    AudioError
        As `open_audio`; also if the decoder dies or exceeds its limits.

    Examples
    --------
    >>> with open_isolated("upload.mp3") as song:    # doctest: +SKIP
    ...     peak = max(np.abs(block).max() for block in song.blocks())
    """
    return IsolatedFile(path, track=track, memory_bytes=memory_bytes, patience_s=patience_s)


@dataclass(frozen=True)
class AudioInfo:
    """What a file states about its sound; `duration_s` is None if it does not state it."""

    rate_hz: int
    n_channels: int
    duration_s: float | None


def inspect_isolated(
    paths: Iterable[str | os.PathLike[str]],
    *,
    memory_bytes: int = _MOST_BYTES,
    patience_s: float = 60.0,
) -> Iterator[AudioInfo | AudioError]:
    """Open files one after the other in another process, and yield the facts of each.

    One child opens all files; if a file makes it die, the next file gets a new child.

    Parameters
    ----------
    paths : iterable of paths
    memory_bytes : int
        Memory that the decoders may allocate, where the system can limit it (Linux).
    patience_s : float
        Seconds that a file may take.

    Yields
    ------
    AudioInfo or AudioError
        One for each file, in order; the error is that of `open_isolated`.

    Examples
    --------
    >>> for facts in inspect_isolated(["a.mp3", "b.mp3"]):    # doctest: +SKIP
    ...     print(facts)
    """
    decoder: Decoder | None = None
    try:
        for path in map(Path, paths):
            try:
                if decoder is None or decoder.is_over:
                    if decoder is not None:
                        decoder.close()
                    decoder = Decoder(path, memory_bytes=memory_bytes, patience_s=patience_s)
                decoder.open(path)
                about = decoder.about
                found: AudioInfo | AudioError = AudioInfo(
                    about["rate_hz"], about["n_channels"], about["duration_s"]
                )
            except AudioError as error:
                found = error
            yield found
    finally:
        if decoder is not None:
            decoder.close()


class IsolatedFile:
    """A readable sound file that a child process decodes; see `viso.audio.AudioFile`.

    The attributes are the same. `blocks` reports wrong arguments when the first block is
    requested.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, track: int, memory_bytes: int, patience_s: float
    ) -> None:
        self.path = Path(path)
        self.track = track
        self._memory_bytes, self._patience_s = memory_bytes, patience_s
        self._is_closed = False
        self._idle: Decoder | None = self._start()
        about = self._idle.about
        self.rate_hz: int = about["rate_hz"]
        self.n_channels: int = about["n_channels"]
        self.n_tracks: int = about["n_tracks"]
        self.n_samples: int | None = about["n_samples"]
        self.duration_s: float | None = about["duration_s"]
        self.subtype: str = about["subtype"]
        self.bit_depth: int | None = about["bit_depth"]

    def _start(self) -> Decoder:
        decoder = Decoder(self.path, memory_bytes=self._memory_bytes, patience_s=self._patience_s)
        try:
            decoder.open(self.path, track=self.track)
        except BaseException:
            decoder.close()
            raise
        return decoder

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
            As `AudioFile.blocks`; also if the decoder dies or exceeds its limits.
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
        """Close this object; passes that are already running may finish."""
        self._is_closed = True
        if self._idle is not None:
            self._idle.close()
            self._idle = None

    def __enter__(self) -> IsolatedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
