"""The sources of a test's sounds: true stems, and systems' estimates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from viso.audio import open_audio
from viso.errors import DataError
from viso.listening.excerpts import Excerpt

__all__ = ["Passage", "SongMaterial", "estimate_at", "truth_at"]

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SongMaterial:
    """A song's files.

    `stems` are the true stems: ``vocals.*``, and others that add up to the instrumental.
    `estimates` are files by system and stem, with at least ``vocals``.
    """

    name: str
    stems: tuple[Path, ...]
    estimates: Mapping[str, Mapping[str, Path]]

    @property
    def vocals(self) -> Path:
        """The true vocals."""
        return next(path for path in self.stems if path.stem == "vocals")


@dataclass(frozen=True)
class Passage:
    """An excerpt of a song."""

    song: SongMaterial
    excerpt: Excerpt

    @property
    def name(self) -> str:
        """The passage's name in messages."""
        return f"{self.song.name} from {self.excerpt.start_s:g} s"


def _read(path: Path, excerpt: Excerpt) -> tuple[Floats, int]:
    with open_audio(path) as file:
        blocks = list(file.blocks(start_s=excerpt.start_s, duration_s=excerpt.duration_s))
        if file.n_channels > 2:
            raise DataError(
                f"{path}: {file.n_channels} channels; listening tests take mono and stereo, so "
                "convert it"
            )
        return np.concatenate(blocks, axis=1), file.rate_hz


def truth_at(passage: Passage) -> tuple[dict[str, Floats], int]:
    """Read the true vocals and instrumental of a passage, and every other true stem.

    Returns
    -------
    truth : dict of str to float32 array [shape=(channels, n)]
    rate_hz : int

    Raises
    ------
    DataError
        If the stems differ in rate or shape, or the song ends before the excerpt does.
    AudioError
        If a stem cannot be decoded, or the excerpt begins after its end.
    """
    vocals = passage.song.vocals
    truth: dict[str, Floats] = {}
    audio, rate_hz = _read(vocals, passage.excerpt)
    truth["vocals"] = audio
    wanted = round(passage.excerpt.duration_s * rate_hz)
    if audio.shape[1] < wanted:
        raise DataError(
            f"{vocals}: ends {audio.shape[1] / rate_hz:.2f} s after {passage.excerpt.start_s:g} s; "
            f"an excerpt of {passage.excerpt.duration_s:g} s has to begin earlier"
        )
    for path in passage.song.stems:
        if path == vocals:
            continue
        other = _like(path, passage.excerpt, vocals, audio, rate_hz)
        so_far = truth.get("instrumental")
        truth["instrumental"] = other if so_far is None else so_far + other
        truth.setdefault(path.stem, other)
    return truth, rate_hz


def _like(path: Path, excerpt: Excerpt, model: Path, audio: Floats, rate_hz: int) -> Floats:
    """Read the excerpt of a file whose rate and shape must be those of another one."""
    other, own_hz = _read(path, excerpt)
    if own_hz != rate_hz:
        raise DataError(f"{path}: {own_hz} Hz, but {model} has {rate_hz}; resample one of them")
    if other.shape != audio.shape:
        raise DataError(
            f"{path}: {other.shape[0]} channels with {other.shape[1]} samples at "
            f"{excerpt.start_s:g} s, but {model} has {audio.shape[0]} with {audio.shape[1]}; "
            "align and convert them"
        )
    return other


def estimate_at(
    passage: Passage, system: str, stem: str, truth: Mapping[str, Floats], rate_hz: int
) -> Floats:
    """Read a system's stem of a passage.

    A missing instrumental is the mixture minus the system's vocals.

    Parameters
    ----------
    passage : Passage
    system, stem : str
    truth : mapping of str to float32 array [shape=(channels, n)]
    rate_hz : int

    Returns
    -------
    float32 array [shape=(channels, n)]

    Raises
    ------
    DataError
        If there is no such stem, or the rate or shape differs from the song's.
    AudioError
        If the file cannot be decoded, or ends before the excerpt.
    """
    files = passage.song.estimates[system]
    model = passage.song.vocals
    if stem in files:
        return _like(files[stem], passage.excerpt, model, truth["vocals"], rate_hz)
    if stem != "instrumental":
        raise DataError(f"{passage.name}: {system} has no {stem}; leave it out, or the song")
    voice = _like(files["vocals"], passage.excerpt, model, truth["vocals"], rate_hz)
    return truth["vocals"] + truth["instrumental"] - voice
