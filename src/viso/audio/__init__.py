"""Reads and writes sound files in blocks, resamples streams and copies tags."""

from viso.audio._blocks import reblock
from viso.audio._sink import create_beside
from viso.audio.isolated import AudioInfo, IsolatedFile, inspect_isolated, open_isolated
from viso.audio.reading import AudioFile, open_audio, read
from viso.audio.resampling import Resampler, resampled_length
from viso.audio.tags import copy_tags, read_cover, read_tags
from viso.audio.writing import AudioWriter, write

__all__ = [
    "AudioFile",
    "AudioInfo",
    "AudioWriter",
    "IsolatedFile",
    "Resampler",
    "copy_tags",
    "create_beside",
    "inspect_isolated",
    "open_audio",
    "open_isolated",
    "read",
    "read_cover",
    "read_tags",
    "reblock",
    "resampled_length",
    "write",
]
