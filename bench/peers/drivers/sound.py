"""Sound files for the drivers: the same reading and writing for every peer that has none."""

from pathlib import Path

import numpy as np
import soundfile


def read(path):
    """Return a stereo file as float32 [shape=(2, n)], and its rate in Hz."""
    audio, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    if audio.shape[1] != 2:
        raise SystemExit(f"{path}: {audio.shape[1]} channels; these networks want two")
    return np.ascontiguousarray(audio.T), rate_hz


def as_long_as(stem, song):
    """Return a stem [shape=(2, any)] cut or filled with zeros to the song's length."""
    missing = song.shape[1] - stem.shape[1]
    return np.pad(stem, ((0, 0), (0, max(0, missing))))[:, : song.shape[1]]


def write_flac(path, audio, rate_hz):
    """Write float32 [shape=(2, n)] as FLAC with 16 bits."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio.T, rate_hz, subtype="PCM_16", format="FLAC")


def write_float(path, audio, rate_hz):
    """Write float32 [shape=(2, n)] as WAV, unrounded, for the scores."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio.T, rate_hz, subtype="FLOAT", format="WAV")
