"""Rows of a MUSHRA analysis: the means over listeners and the quartiles of every condition."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from viso.listening.definition import ListeningTest
from viso.listening.statistics import mean_interval

__all__ = ["MeanRow", "QuartileRow", "Rating", "conditions_of", "mean_rows", "quartile_rows"]


@dataclass(frozen=True)
class Rating:
    """One slider of one listener, 0 to 100."""

    listener: str
    trial: str
    song: str
    question: str
    condition: str
    role: str
    value: float
    is_kept: bool


@dataclass(frozen=True)
class MeanRow:
    """The mean rating of a condition for a question.

    `of` is a trial's name, a listener, or empty (all trials). `low` and `high` bound the 95 %
    interval over listeners; for a listener, over trials. They are ``nan`` for a single value.
    """

    question: str
    condition: str
    role: str
    of: str
    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class QuartileRow:
    """The median and the quartiles of all `n` ratings of a condition for a question.

    A rating is that of one listener in one trial. BS.1534-3 requires these figures beside the
    means.
    """

    question: str
    condition: str
    role: str
    least: float
    lower_quartile: float
    median: float
    upper_quartile: float
    most: float
    n: int


def conditions_of(test: ListeningTest) -> list[tuple[str, str]]:
    """Return all conditions with their roles: the reference, systems in the given order, anchors.

    Trials may hold different conditions.
    """
    roles = {s.condition: s.role for trial in test.rated for s in trial.stimuli}
    by_role = {role: [c for c, r in roles.items() if r == role] for role in ("reference", "anchor")}
    systems = [name for name in test.systems if name in roles]
    names = [*by_role["reference"], *systems, *sorted(by_role["anchor"], reverse=True)]
    return [(name, roles[name]) for name in names]


def mean_rows(
    test: ListeningTest,
    ratings: Iterable[Rating],
    *,
    over: Callable[[Rating], str],
    of: Callable[[Rating], str],
) -> list[MeanRow]:
    """Return the mean over units (`over`) for every question, group (`of`) and condition."""
    cells: dict[tuple[str, str, str], dict[str, list[float]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for rating in ratings:
        cells[rating.question, rating.condition, of(rating)][over(rating)].append(rating.value)
    groups = sorted({group for _, _, group in cells})
    rows = []
    for question in test.questions:
        for group in groups:
            for condition, role in conditions_of(test):
                units = cells.get((question.name, condition, group))
                if units:
                    values = np.array([np.mean(unit) for unit in units.values()])
                    mean, low, high = mean_interval(values)
                    rows.append(
                        MeanRow(
                            question=question.name,
                            condition=condition,
                            role=role,
                            of=group,
                            mean=mean,
                            low=low,
                            high=high,
                            n=values.size,
                        )
                    )
    return rows


def quartile_rows(test: ListeningTest, ratings: Iterable[Rating]) -> list[QuartileRow]:
    """Return the median and quartiles of every condition, for every question."""
    cells: dict[tuple[str, str], list[float]] = defaultdict(list)
    for rating in ratings:
        cells[rating.question, rating.condition].append(rating.value)
    rows = []
    for question in test.questions:
        for condition, role in conditions_of(test):
            values = cells.get((question.name, condition))
            if values:
                least, lower, median, upper, most = np.percentile(values, [0, 25, 50, 75, 100])
                rows.append(
                    QuartileRow(
                        question=question.name,
                        condition=condition,
                        role=role,
                        least=float(least),
                        lower_quartile=float(lower),
                        median=float(median),
                        upper_quartile=float(upper),
                        most=float(most),
                        n=len(values),
                    )
                )
    return rows
