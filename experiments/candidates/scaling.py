"""What more songs give: a straight line over the logarithm of their number, with its doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from candidates.training import Record

__all__ = ["Line", "fit", "groups", "songs_table"]

Doubles = npt.NDArray[np.float64]

_RESAMPLES = 10_000


@dataclass(frozen=True)
class Line:
    """Mean uSDR over the logarithm of the number of songs.

    `slope` is decibels a doubling; `bends` are slope and height of each resample of the
    validation songs [shape=(resamples, 2)], height at one song.
    """

    slope: float
    height: float
    bends: Doubles

    def at(self, n_songs: float) -> tuple[float, float, float]:
        """Return the line at this many songs, and the 95 % interval of the resamples there."""
        x = np.log2(n_songs)
        low, high = np.percentile(self.bends @ [x, 1.0], [2.5, 97.5])
        return float(self.slope * x + self.height), float(low), float(high)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the slope."""
        low, high = np.percentile(self.bends[:, 0], [2.5, 97.5])
        return float(low), float(high)


def fit(records: Sequence[Record], *, seed: int = 0) -> Line | None:
    """Fit a line through runs that differ in their share of the songs (and seeds) alone.

    The bootstrap draws the validation songs: it tells how far the line hangs on which songs
    judge, not on the chance of training; several seeds a share make that smaller.

    Parameters
    ----------
    records : sequence of Record
    seed : int
        Of the bootstrap.

    Returns
    -------
    Line, or None with fewer than two numbers of songs
    """
    if len({record["songs"] for record in records}) < 2:
        return None
    x = np.log2([record["songs"] for record in records])
    judges = sorted(set.intersection(*(set(record["scores"]) for record in records)))
    scores = np.array([[record["scores"][name] for name in judges] for record in records])
    slope, height = np.polyfit(x, scores.mean(axis=1), 1)
    # The line is linear in the scores: that of a mean over songs is the mean of the songs' lines.
    lines = np.polyfit(x, scores, 1)
    random = np.random.default_rng(seed)
    drawn = random.integers(0, len(judges), (_RESAMPLES, len(judges)))
    return Line(float(slope), float(height), lines[:, drawn].mean(axis=2).T)


def groups(records: Sequence[Record]) -> list[list[Record]]:
    """Return runs that may stand on one curve, a list for each curve with two points or more."""
    curves: dict[str, list[Record]] = {}
    for record in records:
        same = ("design", "budget_s", "alone", "longest_s", "corpus", "recipe")
        curves.setdefault(str([record[key] for key in same]), []).append(record)
    return [runs for runs in curves.values() if len({run["songs"] for run in runs}) > 1]


def songs_table(records: Sequence[Record], *, ahead: Sequence[int] = (240,)) -> str:
    """Return a table for each curve, and its line.

    Parameters
    ----------
    records : sequence of Record
    ahead : sequence of int
        Numbers of songs to draw the line on to.
    """
    return "\n\n".join(_curve(runs, ahead) for runs in groups(records))


def _curve(runs: Sequence[Record], ahead: Sequence[int]) -> str:
    one, line = runs[0], fit(runs)
    assert line is not None
    source = "songs alone" if one["alone"] else "songs beside all other groups"
    cut = f", at most {one['longest_s']:g} s of each" if one["longest_s"] else ""
    lines = [
        f"`{one['design']}`, {one['budget_s'] / 60:g} minutes of processor time, {source}{cut}:",
        "",
        "| songs | seed | audio, h | loss | mean | median | mean of songs all of these heard |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    heard = set.intersection(*(set(run["heard"]) for run in runs))
    for run in sorted(runs, key=lambda r: (r["songs"], r["seed"])):
        values = list(run["scores"].values())
        lines.append(
            f"| {run['songs']} | {run['seed']} | {run['hours']:.2f} | {run['loss']:.2f} | "
            f"{np.mean(values):.2f} | {np.median(values):.2f} | "
            f"{np.mean([run['heard'][name] for name in heard]):.2f} |"
        )
    low, high = line.interval
    lines += ["", f"A doubling of the songs: {line.slope:+.2f} dB ({low:+.2f} to {high:+.2f})."]
    for n_songs in ahead:
        value, low, high = line.at(n_songs)
        lines.append(f"The line at {n_songs} songs: {value:.2f} dB ({low:.2f} to {high:.2f}).")
    return "\n".join(lines)
