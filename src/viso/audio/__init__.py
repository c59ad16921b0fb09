"""Sound files in and out: decode and encode in blocks, resample in a stream, carry tags."""

from viso.audio.reading import AudioFile, open_audio, read
from viso.audio.resampling import Resampler, resampled_length
from viso.audio.writing import AudioWriter, write

__all__ = [
    "AudioFile",
    "AudioWriter",
    "Resampler",
    "open_audio",
    "read",
    "resampled_length",
    "write",
]
