"""Decodes all PCM formats, FLAC and Ogg (Vorbis, Opus) through libsndfile."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from viso.audio._blocks import Block
from viso.audio._integrity import truncated
from viso.errors import AudioError

__all__ = ["VORBIS_ORDER", "SndfileDecoder"]

_CHUNK = 65536
_LENGTH_UNKNOWN = 1 << 40  # libsndfile returns 2**63 - 1 for a FLAC whose header states no length

# For each channel of a Vorbis or Opus stream, its index in WAV order (front left, front right,
# centre, LFE, back, side). libsndfile returns them in the order of the stream.
VORBIS_ORDER = {
    3: (0, 2, 1),
    5: (0, 2, 1, 3, 4),
    6: (0, 2, 1, 4, 5, 3),
    7: (0, 2, 1, 5, 6, 4, 3),
    8: (0, 2, 1, 6, 7, 4, 5, 3),
}

_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
_BITS |= {"FLOAT": 32, "DOUBLE": 64}

# libsndfile logs a size field that does not fit the file, and continues to read.
_SIZE_NOTE = re.compile(r"^\s*(?:SSND|riff|Data Size)\s*:\s*(\d+) \(should be (\d+)\)", re.M)


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]
    """A SoundFile that can only be read from front to back.

    After every read of a seekable file, soundfile seeks to the position where it already is.
    libsndfile 1.2.2 then decodes Opus wrongly (errors of 0.14 in a block of 1000 samples), decodes
    FLAC ten times more slowly, and refuses FLAC that states no length.
    """

    def seekable(self) -> bool:
        return False


class SndfileDecoder:
    """Decodes a file once; see `viso.audio.AudioFile` for the attributes.

    Parameters
    ----------
    path : Path
    is_open : bool
        See `viso.audio._integrity.DeclaredLength`.
    """

    def __init__(self, path: Path, *, is_open: bool = False) -> None:
        self._path = path
        try:
            # bytes, because a name may not be UTF-8; on Windows it always is
            self._file = _Sequential(str(path) if os.name == "nt" else os.fsencode(path))
        except MemoryError:
            raise
        except Exception as error:  # also a TypeError: a name in .raw means headerless samples
            raise AudioError(f"{path}: libsndfile cannot read it ({error})") from error
        file = self._file
        self.rate_hz: int = file.samplerate
        self.n_channels: int = file.channels
        self.n_tracks: int = 1
        known = file.frames if file.frames < _LENGTH_UNKNOWN else None
        self.n_samples: int | None = None if is_open else known
        self.duration_s = None if known is None else known / self.rate_hz
        self.bit_depth: int | None = _BITS.get(file.subtype)
        is_flac = file.format == "FLAC"
        self.subtype: str = f"FLAC {self.bit_depth}" if is_flac else file.subtype
        places = VORBIS_ORDER.get(self.n_channels, ()) if file.format == "OGG" else ()
        self._order = np.argsort(places).tolist()
        self._can_seek = file.subtype.startswith(("PCM", "FLOAT", "DOUBLE"))
        if file.format == "MP3":
            # libsndfile guesses the length of a VBR file without a Xing header and stops there
            self.close()
            raise AudioError(f"{path}: MP3 is not for libsndfile")
        for stated, found in _SIZE_NOTE.findall(file.extra_info):
            # 16: W64 pads its chunks to 8 bytes; all ones: a stream of unknown length
            if int(found) + 16 < int(stated) < 0xFFFFFF00:
                self.close()
                raise truncated(path, f"{stated} bytes", found)

    def chunks(self, start: int) -> Iterator[Block]:
        """Yield the samples from `start` to the end in chunks of no particular size.

        Compressed formats are decoded from the front, and the samples before `start` are dropped:
        a decoder that starts in the middle returns slightly different samples.
        """
        position = 0
        if start and self._can_seek:
            position = self._call(self._file.seek, start)
        while True:
            data = self._call(self._file.read, _CHUNK, dtype="float32", always_2d=True)
            if not len(data):
                break
            skip = min(len(data), max(0, start - position))
            position += len(data)
            block = data[skip:].T
            yield np.ascontiguousarray(block[self._order] if self._order else block)
        if self.n_samples is not None and position < self.n_samples:
            raise truncated(self._path, f"{self.n_samples} samples", f"{position}")

    def close(self) -> None:
        """Close the file; more calls do nothing."""
        self._file.close()

    def _call(self, function: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
        try:
            return function(*args, **keywords)
        except MemoryError:
            raise
        except Exception as error:
            raise AudioError(
                f"{self._path}: cut short or damaged: libsndfile says {str(error).strip()!r}; "
                "get a whole copy, or convert the part that plays to WAV with another program"
            ) from error
