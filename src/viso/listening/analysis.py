"""The results of a listening test: means, paired tests, correlation with SDR."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from viso.listening.choices import PairRow, pair_rows
from viso.listening.definition import ListeningTest
from viso.listening.results import Results
from viso.listening.rows import MeanRow, QuartileRow, Rating, mean_rows, quartile_rows
from viso.listening.screening import Screened, screen
from viso.listening.statistics import Correlation, correlate, holm, mean_interval
from viso.metrics.permutation import sign_flip_p_value

__all__ = ["Analysis", "Comparison", "analyse"]

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """Two systems, compared by listeners who rated both.

    `difference` is the mean of listeners' mean differences (one minus other) over trials; `low` and
    `high` bound its 95 % interval. `p` is that of a permutation test over listeners; `p_holm` is
    corrected for all pairs of a question. `n_better` counts listeners who rate `one` higher.
    """

    question: str
    one: str
    other: str
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    n_better: int
    n_listeners: int


@dataclass(frozen=True)
class Analysis:
    """All results of a test; fields that do not belong to its kind are empty.

    If no listener of a MUSHRA test passes the screening, there are no results for conditions;
    `ratings`, `by_listener` and `screened` still hold the data.

    `correlations` and `points` are by question and measure (``sdr``, ``si_sdr``). `points` hold a
    triple of system, measure and mean rating for each trial and system.
    """

    test: ListeningTest
    n_listeners: int
    ratings: tuple[Rating, ...]
    screened: tuple[Screened, ...]
    means: tuple[MeanRow, ...]
    quartiles: tuple[QuartileRow, ...]
    by_trial: tuple[MeanRow, ...]
    by_listener: tuple[MeanRow, ...]
    comparisons: tuple[Comparison, ...]
    correlations: dict[str, dict[str, Correlation]]
    points: dict[str, dict[str, tuple[tuple[str, float, float], ...]]]
    pairs: tuple[PairRow, ...]

    @property
    def n_kept(self) -> int:
        """The number of listeners whose ratings count."""
        return sum(found.is_kept for found in self.screened)


def analyse(test: ListeningTest, results: Results, *, mid_anchor: bool = False) -> Analysis:
    """Return the results of a test.

    Parameters
    ----------
    test : ListeningTest
    results : Results
        See `read_results`.
    mid_anchor : bool
        Whether to screen by the 7 kHz anchor too; see `viso.listening.screening.screen`.

    Returns
    -------
    Analysis
    """
    if test.kind != "mushra":
        rows = tuple(pair_rows(test, results.choices))
        n_listeners = len({choice.listener for choice in results.choices})
        return Analysis(test, n_listeners, (), (), (), (), (), (), (), {}, {}, rows)
    screened = screen(test, results.ratings, mid_anchor=mid_anchor)
    kept = {found.listener for found in screened if found.is_kept}
    ratings = _ratings(test, results, kept)
    counted = [rating for rating in ratings if rating.is_kept]
    points = _points(test, counted)
    return Analysis(
        test=test,
        n_listeners=len(screened),
        ratings=tuple(ratings),
        screened=tuple(screened),
        means=tuple(mean_rows(test, counted, over=lambda r: r.listener, of=lambda r: "")),
        quartiles=tuple(quartile_rows(test, counted)),
        by_trial=tuple(mean_rows(test, counted, over=lambda r: r.listener, of=lambda r: r.trial)),
        by_listener=tuple(
            mean_rows(test, ratings, over=lambda r: r.trial, of=lambda r: r.listener)
        ),
        comparisons=tuple(_comparisons(test, counted)),
        correlations=_correlations(points),
        points={
            question: {
                measure: tuple((system, x, y) for system, _, x, y in found)
                for measure, found in measures.items()
            }
            for question, measures in points.items()
        },
        pairs=(),
    )


def _ratings(test: ListeningTest, results: Results, kept: set[str]) -> list[Rating]:
    trials = {trial.name: trial for trial in test.rated}
    return [
        Rating(
            listener=record.listener,
            trial=record.trial,
            song=trials[record.trial].song,
            question=record.question,
            condition=stimulus.condition,
            role=stimulus.role,
            value=record.ratings[stimulus.id],
            is_kept=record.listener in kept,
        )
        for record in results.ratings
        for stimulus in trials[record.trial].stimuli
    ]


def _comparisons(test: ListeningTest, ratings: Sequence[Rating]) -> list[Comparison]:
    values = {(r.question, r.listener, r.trial, r.condition): r.value for r in ratings}
    found = []
    for question in test.questions:
        pairs = []
        for one, other in combinations(test.systems, 2):
            differences: dict[str, list[float]] = defaultdict(list)
            for (asked, listener, trial, condition), value in values.items():
                # Trials may hold different systems.
                beside = values.get((asked, listener, trial, other))
                if asked == question.name and condition == one and beside is not None:
                    differences[listener].append(value - beside)
            if differences:
                units = np.array([np.mean(unit) for unit in differences.values()])
                pairs.append(_comparison(question.name, one, other, units))
        corrected = holm([pair.p for pair in pairs])
        found += [replace(pair, p_holm=p) for pair, p in zip(pairs, corrected, strict=True)]
    return found


def _comparison(question: str, one: str, other: str, units: Doubles) -> Comparison:
    mean, low, high = mean_interval(units)
    p = sign_flip_p_value(units)
    return Comparison(
        question=question,
        one=one,
        other=other,
        difference=mean,
        low=low,
        high=high,
        p=p,
        p_holm=p,
        n_better=int((units > 0).sum()),
        n_listeners=units.size,
    )


Points = dict[str, dict[str, list[tuple[str, str, float, float]]]]


def _points(test: ListeningTest, ratings: Sequence[Rating]) -> Points:
    """Return system, song, measure and mean rating of every trial and system."""
    cells: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for rating in ratings:
        cells[rating.question, rating.trial, rating.condition].append(rating.value)
    points: Points = {}
    for question in test.questions:
        for trial in test.rated:
            for stimulus in trial.stimuli:
                values = cells.get((question.name, trial.name, stimulus.condition))
                if stimulus.role != "system" or not values:
                    continue
                measures = {"sdr": stimulus.sdr_db, "si_sdr": stimulus.si_sdr_db}
                for measure, x in measures.items():
                    if x is not None and math.isfinite(x):
                        point = (stimulus.condition, trial.song, x, float(np.mean(values)))
                        points.setdefault(question.name, {}).setdefault(measure, []).append(point)
    return points


def _correlations(points: Points) -> dict[str, dict[str, Correlation]]:
    return {
        question: {
            measure: correlate(
                np.array([x for _, _, x, _ in found]),
                np.array([y for _, _, _, y in found]),
                [song for _, song, _, _ in found],
            )
            for measure, found in measures.items()
        }
        for question, measures in points.items()
    }
