"""What a separation gives back: stems in memory, progress and a report of files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import numpy as np
import numpy.typing as npt

from viso.separator.confidence import Second
from viso.separator.stem_files import STEMS, StemFiles
from viso.stores.address import Place

__all__ = ["STEMS", "Progress", "Report", "Stems", "region_s"]

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Stems:
    """A separated song in memory.

    `vocals` and `instrumental` are float32 [shape=(channels, n)] and add up to the song;
    `rate_hz` is the song's sampling rate, `model` the name of the model or blend that was used,
    `tags` what a file of them should say of it.
    """

    vocals: Floats
    instrumental: Floats
    rate_hz: int
    model: str
    tags: Mapping[str, str] = field(default_factory=dict)

    def save(
        self, folder: str | PathLike[str], *, suffix: str = "wav", bit_depth: str = "24"
    ) -> float:
        """Write ``vocals`` and ``instrumental`` into `folder`, replacing what is there.

        Parameters
        ----------
        folder : path
            Made if missing.
        suffix : {"wav", "flac", "mp3", "ogg", "opus", "m4a"}
        bit_depth : {"16", "24", "float"}

        Returns
        -------
        float
            The one gain of both stems in decibels: 0.0 unless an integer format would clip.

        Raises
        ------
        AudioError
            If a file cannot be written; neither is there then.
        """
        files = StemFiles(
            {name: Path(folder) / f"{name}.{suffix}" for name in STEMS},
            rate_hz=self.rate_hz,
            n_channels=self.vocals.shape[0],
            bit_depth=bit_depth,
        )
        mixture = self.vocals + self.instrumental
        with files:
            files.write(mixture, self.vocals)
            list(files.finish([mixture], source=None, tags=self.tags))
            files.commit()
        return float(20 * np.log10(files.gain))


@dataclass(frozen=True)
class Report:
    """What became of one song.

    `gain_db` is 0.0 unless the stems would have clipped. `largest_error` is the largest
    difference between the song and the sum of its stems, in full scales: of the samples in
    the files if `is_lossless`, else of what was handed to the encoder; before any gain.
    `wiener` are the iterations of the Wiener filter, `confidence` is empty unless asked for.
    """

    song: Place
    outputs: dict[str, Place]
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
    wiener: int = 0
    confidence: tuple[Second, ...] = ()

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


def region_s(length_s: float | None, start_s: float, duration_s: float | None) -> float | None:
    """Seconds that will be separated, as far as it can be known."""
    rest = None if length_s is None else max(0.0, length_s - start_s)
    known = [value for value in (rest, duration_s) if value is not None]
    return min(known, default=None)
