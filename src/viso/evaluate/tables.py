"""Figures of systems from figures of songs: medians with intervals, paired comparisons."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from viso.metrics import gnsdr
from viso.metrics.permutation import sign_flip_p_value
from viso.separator import STEMS

__all__ = [
    "Comparison",
    "Row",
    "Scores",
    "by_group",
    "compare",
    "gnsdr_rows",
    "stems_among",
    "summary",
]

Scores = Mapping[str, Mapping[str, Mapping[str, float]]]
"""The values of one song, by system, stem and metric."""

Doubles = npt.NDArray[np.float64]

_RESAMPLES = 10_000


@dataclass(frozen=True)
class Row:
    """One system's figures for one stem and metric, over songs.

    `low` and `high` bound the bootstrap 95 % interval of the median.
    """

    system: str
    stem: str
    metric: str
    median: float
    low: float
    high: float
    mean: float
    n_songs: int


@dataclass(frozen=True)
class Comparison:
    """Two systems compared on the songs for which both have figures.

    `difference` is the median of the paired differences (one minus other); `low` and `high` bound
    its bootstrap 95 % interval. `p` is the two-sided p-value of the mean difference under random
    signs. `n_better` is the number of songs where `one` is better.
    """

    one: str
    other: str
    stem: str
    metric: str
    difference: float
    low: float
    high: float
    p: float
    n_better: int
    n_songs: int


def _values(songs: Mapping[str, Scores], system: str, stem: str, metric: str) -> Doubles:
    """Return a value for each song, nan if there is none."""
    return np.array(
        [scores.get(system, {}).get(stem, {}).get(metric, np.nan) for scores in songs.values()],
        np.float64,
    )


def _stems(songs: Mapping[str, Scores]) -> list[str]:
    found = (stem for scores in songs.values() for stems in scores.values() for stem in stems)
    return _in_order(found)


def _in_order(stems: Iterable[str]) -> list[str]:
    """Return each stem once, vocals and instrumental first."""
    found = dict.fromkeys(stems)
    return sorted(found, key=lambda stem: STEMS.index(stem) if stem in STEMS else len(STEMS))


def stems_among(rows: Iterable[Row]) -> list[str]:
    """Return the stems of rows, each once, vocals and instrumental first."""
    return _in_order(row.stem for row in rows)


def _interval(values: Doubles, seed: int) -> tuple[float, float]:
    random = np.random.default_rng(seed)
    drawn = random.choice(values, (_RESAMPLES, values.size))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    return float(low), float(high)


def summary(songs: Mapping[str, Scores], *, seed: int = 0) -> list[Row]:
    """Return a row for every stem, system and metric: median, its interval, mean over songs.

    Parameters
    ----------
    songs : mapping of str to Scores
    seed : int
        Seed of the bootstrap (10,000 resamples of the songs).

    Returns
    -------
    list of Row
        A row and its count leave out songs without a finite figure (a silent stem).
    """
    systems = list(dict.fromkeys(name for scores in songs.values() for name in scores))
    metrics = list(
        dict.fromkeys(
            metric
            for scores in songs.values()
            for stems in scores.values()
            for values in stems.values()
            for metric in values
        )
    )
    rows = []
    for stem, system, metric in itertools.product(_stems(songs), systems, metrics):
        values = _values(songs, system, stem, metric)
        values = values[np.isfinite(values)]
        if values.size:
            median, mean = float(np.median(values)), float(values.mean())
            low, high = _interval(values, seed)
            rows.append(Row(system, stem, metric, median, low, high, mean, values.size))
    return rows


def gnsdr_rows(
    songs: Mapping[str, Scores], durations_s: Mapping[str, float], *, seed: int = 0
) -> list[Row]:
    """Return a row for every stem and system, whose median and mean are both the GNSDR.

    Parameters
    ----------
    songs : mapping of str to Scores
        Only songs with the metric ``nsdr`` count.
    durations_s : mapping of str to float
        Lengths of the songs.
    seed : int
        Seed of the bootstrap.
    """
    systems = list(dict.fromkeys(name for scores in songs.values() for name in scores))
    lengths = np.array([durations_s[song] for song in songs])
    random = np.random.default_rng(seed)
    rows = []
    for stem, system in itertools.product(_stems(songs), systems):
        values = _values(songs, system, stem, "nsdr")
        kept = np.isfinite(values)
        if not kept.any():
            continue
        values, weights = values[kept], lengths[kept]
        drawn = random.integers(0, values.size, (_RESAMPLES, values.size))
        means = (values[drawn] * weights[drawn]).sum(axis=1) / weights[drawn].sum(axis=1)
        low, high = np.percentile(means, [2.5, 97.5])
        value = gnsdr(values, weights)
        rows.append(Row(system, stem, "gnsdr", value, float(low), float(high), value, values.size))
    return rows


def by_group(
    songs: Mapping[str, Scores], group_of: Callable[[str], str | None]
) -> dict[str, list[Row]]:
    """Return the `summary` of every group of songs, the largest group first.

    Parameters
    ----------
    songs : mapping of str to Scores
    group_of : callable
        Maps a song's name to its group, such as a genre; None means the group ``other``.
    """
    parts: dict[str, dict[str, Scores]] = {}
    for name, scores in songs.items():
        parts.setdefault(group_of(name) or "other", {})[name] = scores
    order = sorted(parts, key=lambda group: (-len(parts[group]), group))
    return {group: summary(parts[group]) for group in order}


def compare(
    songs: Mapping[str, Scores], one: str, other: str, *, stem: str, metric: str, seed: int = 0
) -> Comparison | None:
    """Compare two systems song by song.

    The p-value is that of a permutation test: if the systems were equally good, every difference
    would be as likely with the other sign. With up to 16 songs, all signs are tried; with more,
    100,000 sets are drawn.

    Parameters
    ----------
    songs : mapping of str to Scores
    one, other : str
        Names of the systems.
    stem, metric : str
    seed : int

    Returns
    -------
    Comparison, or None if no song has finite figures of both
    """
    with np.errstate(invalid="ignore"):
        differences = _values(songs, one, stem, metric) - _values(songs, other, stem, metric)
    differences = differences[np.isfinite(differences)]
    if not differences.size:
        return None
    low, high = _interval(differences, seed)
    return Comparison(
        one=one,
        other=other,
        stem=stem,
        metric=metric,
        difference=float(np.median(differences)),
        low=low,
        high=high,
        p=sign_flip_p_value(differences, seed=seed),
        n_better=int((differences > 0).sum()),
        n_songs=differences.size,
    )
