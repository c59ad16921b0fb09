"""Choose the excerpts of a song: the loudest vocal passages, or the requested ones."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from viso.audio import open_audio
from viso.errors import DataError

__all__ = ["Excerpt", "loudest", "read_excerpts"]

_STEP_S = 0.1


class Excerpt(NamedTuple):
    """A passage of a song, in seconds."""

    start_s: float
    duration_s: float


def loudest(vocals: Path, *, duration_s: float, count: int) -> list[Excerpt]:
    """Return the passages of a song in which the voice has the most energy, the loudest first.

    They start at whole tenths of a second and do not overlap.

    Parameters
    ----------
    vocals : Path
        The true vocals; read in blocks.
    duration_s : float
        Length of each passage; a shorter song is one passage.
    count : int
        Largest number of passages; there are fewer if the song has fewer with a voice.

    Raises
    ------
    DataError
        If there is no voice in the song.
    AudioError
        If the file cannot be read.
    """
    energies = _energies(vocals)
    total = np.pad(np.cumsum(energies), (1, 0))
    width = min(max(1, round(duration_s / _STEP_S)), energies.size)
    passages = total[width:] - total[:-width]
    found = []
    for _ in range(count):
        start = int(np.argmax(passages))
        if passages[start] <= 0:
            break
        found.append(Excerpt(round(start * _STEP_S, 1), min(duration_s, energies.size * _STEP_S)))
        passages[max(0, start - width + 1) : start + width] = -1
    if not found:
        raise DataError(f"{vocals}: no voice is heard in it; leave this song out")
    return found


def _energies(path: Path) -> npt.NDArray[np.float64]:
    """Return the energy of every whole tenth of a second [shape=(tenths,)]."""
    parts: list[float] = []
    with open_audio(path) as file:
        step = max(1, round(_STEP_S * file.rate_hz))
        for block in file.blocks(block_size=step):
            if block.shape[1] == step or not parts:
                parts.append(float(np.square(block, dtype=np.float64).sum()))
    return np.array(parts)


def read_excerpts(path: Path) -> dict[str, list[Excerpt]]:
    """Read the requested excerpts.

    Parameters
    ----------
    path : Path
        CSV with the columns ``song``, ``start_s`` and ``duration_s``.

    Returns
    -------
    dict of str to list of Excerpt
        By song.

    Raises
    ------
    DataError
        If the file cannot be read or has another format, or a figure is out of range.
    """
    found: dict[str, list[Excerpt]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for line, row in enumerate(csv.DictReader(file), 2):
                found.setdefault(row["song"], []).append(_excerpt(path, line, row))
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise DataError(
            f"{path}: no table of excerpts ({error!r:.80}); its columns are song, start_s and "
            "duration_s"
        ) from error
    if not found:
        raise DataError(f"{path}: names no excerpt; give each a line: song, start_s, duration_s")
    return found


def _excerpt(path: Path, line: int, row: Mapping[str, str]) -> Excerpt:
    excerpt = Excerpt(float(row["start_s"]), float(row["duration_s"]))
    if not (0 <= excerpt.start_s < math.inf and 1 <= excerpt.duration_s <= 60):
        raise DataError(
            f"{path}: line {line}: {excerpt.duration_s} s from {excerpt.start_s} s; start at 0 or "
            "later, and take 1 to 60 s"
        )
    return excerpt
