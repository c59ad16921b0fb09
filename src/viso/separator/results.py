"""What a separation gives back: stems in memory, progress and a report of files."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import numpy.typing as npt

from viso import masking
from viso.audio import write
from viso.separator.files import STEMS, make_folders

__all__ = ["STEMS", "Progress", "Report", "Stems"]

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Stems:
    """A separated song in memory.

    `vocals` and `instrumental` are float32 [shape=(channels, n)] and add up to the song;
    `rate_hz` is the song's sampling rate, `model` the name of the model that was used.
    """

    vocals: Floats
    instrumental: Floats
    rate_hz: int
    model: str

    def save(
        self, folder: str | PathLike[str], *, suffix: str = "wav", bit_depth: str = "24"
    ) -> list[Path]:
        """Write ``vocals`` and ``instrumental`` into `folder`; return the two paths.

        In an integer format both get one joint gain if either would clip.

        Raises
        ------
        AudioError
            If a file cannot be written.
        """
        targets = {name: Path(folder) / f"{name}.{suffix}" for name in STEMS}
        make_folders(targets)
        bits = 24 if bit_depth == "24" else 16
        peak = max(float(np.abs(stem).max()) for stem in (self.vocals, self.instrumental))
        gain = 1.0 if bit_depth == "float" else masking.joint_gain(peak, bits=bits)
        for name, path in targets.items():
            stem = getattr(self, name) * np.float32(gain)
            write(path, stem, rate_hz=self.rate_hz, bit_depth=bit_depth)
        return list(targets.values())


@dataclass(frozen=True)
class Report:
    """What became of one song.

    `gain_db` is 0.0 unless the stems would have clipped. `largest_error` is the largest
    difference between the song and the sum of its stems, in full scales: of the samples in
    the files if `is_lossless`, else of what was handed to the encoder; before any gain.
    """

    song: Path
    outputs: dict[str, Path]
    n_samples: int
    n_channels: int
    rate_hz: int
    written_rate_hz: int
    gain_db: float
    largest_error: float
    is_lossless: bool
    model: str
    model_sha256: str
    device: str

    @property
    def duration_s(self) -> float:
        """Length of the separated region."""
        return self.n_samples / self.rate_hz


@dataclass(frozen=True)
class Progress:
    """How far a song has come; `total_s` is None if only reading it all would tell.

    The last one carries the `report`.
    """

    done_s: float
    total_s: float | None
    report: Report | None = None
