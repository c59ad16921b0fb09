"""A song for the checks: its stems, each of which is the sum of one or more files."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from viso.train.data.lint.findings import Finding

__all__ = ["CheckedSong", "Part", "Stem", "add", "shifted"]


@dataclass(frozen=True)
class Part:
    """One file of a stem, or the stem of a corpus.

    Attributes
    ----------
    name : str
    audio : float32 array [shape=(channels, n)]
        The sound of the file, at the rate of the song.
    file_rate_hz : int
        Rate of the file itself.
    sign : float
        The factor for the samples in the sum of the stem.
    """

    name: str
    audio: npt.NDArray[np.float32]
    file_rate_hz: int
    sign: float = 1.0


@dataclass(frozen=True)
class Stem:
    """Vocals or instrumental: the sum of its files (`parts`)."""

    role: str
    parts: tuple[Part, ...]

    @cached_property
    def audio(self) -> npt.NDArray[np.float32]:
        """The stem [shape=(channels, n)], as long as its shortest file."""
        if len(self.parts) == 1 and self.parts[0].sign == 1.0:
            return self.parts[0].audio
        return add([np.float32(part.sign) * part.audio for part in self.parts])


@dataclass(frozen=True)
class CheckedSong:
    """The facts about one song and its decoded sound.

    `findings` come from reading it: they are about files that cannot be decoded.
    """

    name: str
    group: str
    split: str
    rate_hz: int
    stems: tuple[Stem, ...]
    singer: str | None = None
    mixture: Part | None = None
    findings: list[Finding] = field(default_factory=list)

    @property
    def duration_s(self) -> float:
        """The duration of the longest stem, in seconds."""
        lengths = [part.audio.shape[1] for stem in self.stems for part in stem.parts]
        return max(lengths, default=0) / self.rate_hz


def add(sounds: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Return the sum, as long as the shortest sound; mono goes to both channels of stereo."""
    total = np.zeros((max(map(len, sounds)), min(s.shape[1] for s in sounds)), np.float32)
    for sound in sounds:
        total += sound[:, : total.shape[1]]
    return total


def shifted(audio: npt.NDArray[np.float32], lag: int) -> npt.NDArray[np.float32]:
    """Return a sound moved earlier by `lag` samples (negative: later) and filled with zeros."""
    moved = np.zeros_like(audio)
    n = audio.shape[1]
    if abs(lag) < n:
        moved[:, max(0, -lag) : n - max(0, lag)] = audio[:, max(0, lag) : n - max(0, -lag)]
    return moved
