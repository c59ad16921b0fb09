"""The results of a separation: stems in memory, or progress and a report of files."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from viso.errors import AudioError
from viso.separator.confidence import Second
from viso.separator.stem_family import ALL, STEMS, StemFamily, requested_stems
from viso.separator.stem_files import StemFiles
from viso.stores.address import Location

__all__ = ["Progress", "Report", "Separation", "Stems", "region_s"]

Floats = npt.NDArray[np.float32]


class Stems(Mapping[str, Floats]):
    """A separated song in memory: a mapping from the names of its stems to their samples.

    Parameters
    ----------
    by_name : mapping of str to float32 array [shape=(channels, n)]
        All stems of `family`.
    family : StemFamily
    rate_hz : int
        The song's sampling rate.
    model : str
        The name of the model or blend.
    tags : mapping of str to str
        Tags for files of the stems.

    Attributes
    ----------
    vocals, instrumental : float32 array [shape=(channels, n)]
        They add up to the song.

    Examples
    --------
    >>> Separator("htdemucs").separate("song.mp3", stems=["all"])["drums"]  # doctest: +SKIP
    """

    def __init__(
        self,
        by_name: Mapping[str, Floats],
        *,
        rate_hz: int,
        model: str,
        family: StemFamily = StemFamily(),  # noqa: B008
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self._by_name, self._family = dict(by_name), family
        self.rate_hz, self.model, self.tags = rate_hz, model, dict(tags or {})
        self.vocals, self.instrumental = (self._by_name[name] for name in STEMS)

    def __getitem__(self, name: str) -> Floats:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def save(
        self,
        folder: str | PathLike[str],
        *,
        suffix: str = "wav",
        bit_depth: str = "24",
        stems: Iterable[str] | None = None,
    ) -> float:
        """Write stems into `folder`, each under its name, and replace existing files.

        Parameters
        ----------
        folder : path
            Created if it does not exist.
        suffix : {"wav", "flac", "mp3", "ogg", "opus", "m4a"}
        bit_depth : {"16", "24", "float"}
        stems : iterable of str, optional
            Those that add up to the song, by default.

        Returns
        -------
        float
            The one gain of all stems in decibels: 0.0 unless an integer format would clip.

        Raises
        ------
        ConfigError
            If there is no such stem.
        AudioError
            If a file cannot be written; then no file exists.
        """
        names = requested_stems([ALL] if stems is None else list(stems), tuple(self))
        files = StemFiles(
            {name: Path(folder) / f"{name}.{suffix}" for name in names},
            rate_hz=self.rate_hz,
            n_channels=self.vocals.shape[0],
            bit_depth=bit_depth,
            family=self._family,
        )
        mixture = self._family.sum(self._by_name)
        estimates = np.stack([self._by_name[name] for name in self._family.estimated])
        with files:
            files.write(mixture, estimates)
            list(files.finish([mixture], source=None, tags=self.tags))
            files.commit()
        return float(20 * np.log10(files.gain))


@dataclass(frozen=True)
class Report:
    """What became of one song.

    `gain_db` is 0.0 unless the stems would have clipped. `largest_error` is the largest
    difference between the song and the sum of its stems before any gain, relative to full
    scale. It compares the samples in the files if `is_lossless`, else the samples passed to the
    encoder. `wiener` is the number of iterations of the Wiener filter. `confidence` is empty
    unless it was requested. `parts` are the stems that add up to the song, written or not.
    """

    song: Location
    outputs: dict[str, Location]
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
    parts: tuple[str, ...] = STEMS

    @property
    def duration_s(self) -> float:
        """Length of the separated region in seconds."""
        return self.n_samples / self.rate_hz


@dataclass(frozen=True)
class Progress:
    """How many seconds of a song are done, and how many there are in total.

    `total_s` is None if it is unknown before the whole song is read. `is_complete` is True only in
    the last progress, when the files have their names.
    """

    done_s: float
    total_s: float | None
    is_complete: bool = False


class Separation:
    """One song on its way into files: an iterator over `Progress`, and a context manager.

    Nothing happens before the first step. If the caller leaves the block or calls `close` before
    the last step, no file remains.

    Parameters
    ----------
    song : Path
    steps : generator of Progress
        Does the work and returns the report.

    Examples
    --------
    >>> with Separator().to_files("song.mp3", targets) as separation:  # doctest: +SKIP
    ...     for progress in separation:
    ...         print(progress.done_s, progress.total_s)
    >>> separation.report.gain_db                                      # doctest: +SKIP
    0.0
    """

    def __init__(self, song: Path, steps: Generator[Progress, None, Report]) -> None:
        self._song, self._steps = song, steps
        self._report: Report | None = None

    @property
    def report(self) -> Report:
        """What became of the song.

        Raises
        ------
        AudioError
            If the separation is not complete, which means that its iterator has not ended.
        """
        if self._report is None:
            raise AudioError(f"{self._song}: is not separated yet; iterate to the end, or call run")
        return self._report

    def run(self) -> Report:
        """Run all remaining steps and return the report.

        Raises
        ------
        AudioError
            See `Separator.to_files`.
        """
        for _ in self:
            pass
        return self.report

    def close(self) -> None:
        """Stop the separation; unless it is complete, no file remains."""
        self._steps.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Progress:
        try:
            return next(self._steps)
        except StopIteration as end:
            # A call after the end gets no value.
            self._report = end.value or self._report
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def region_s(length_s: float | None, start_s: float, duration_s: float | None) -> float | None:
    """Return how many seconds will be separated; None if that is unknown."""
    rest = None if length_s is None else max(0.0, length_s - start_s)
    known = [value for value in (rest, duration_s) if value is not None]
    return min(known, default=None)
