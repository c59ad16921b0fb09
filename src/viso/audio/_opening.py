"""Finds the decoder that can read a file."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from viso.audio._blocks import Block
from viso.audio._ffmpeg import FfmpegDecoder
from viso.audio._integrity import DeclaredLength, no_such_track
from viso.audio._sndfile import SndfileDecoder
from viso.errors import AudioError

__all__ = ["check_readable", "limited", "open_decoder"]


def check_readable(path: Path) -> None:
    """Raise AudioError if the path is not a readable regular file."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise AudioError(f"{path}: a folder, not a file; pass the files in it")
        if not stat.S_ISREG(mode):
            raise AudioError(f"{path}: not a regular file; save the sound to disk first")
        with path.open("rb"):
            pass
    except FileNotFoundError as error:
        raise AudioError(f"{path}: no such file; check the name") from error
    except PermissionError as error:
        raise AudioError(f"{path}: may not be read; change its permissions") from error
    except (OSError, ValueError) as error:
        raise AudioError(f"{path}: cannot be opened ({error}); check the name") from error


def open_decoder(
    path: Path, declared: DeclaredLength, *, track: int, through_ffmpeg: bool | None = None
) -> SndfileDecoder | FfmpegDecoder:
    """Open a file with libsndfile, or with FFmpeg if libsndfile cannot read it."""
    if track < 0:
        raise AudioError(f"{path}: audio track {track} must be 0 or more")
    if through_ffmpeg or declared.use_ffmpeg:
        return FfmpegDecoder(path, declared, track=track)
    try:
        decoder = SndfileDecoder(path, is_open=declared.is_open)
    except AudioError as refusal:
        if "cut short" in str(refusal) or through_ffmpeg is not None:
            raise
        return FfmpegDecoder(path, declared, track=track)
    if track:  # files that libsndfile reads have one track
        decoder.close()
        raise no_such_track(path, track, 1)
    return decoder


def limited(chunks: Iterator[Block], count: int | None) -> Iterator[Block]:
    """Yield the first `count` samples (None: all), then stop decoding."""
    left = count
    for chunk in chunks:
        if left is None:
            yield chunk
            continue
        yield chunk[:, :left]
        left -= min(left, chunk.shape[1])
        if not left:
            return
