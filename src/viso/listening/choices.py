"""The results of an ABX or a preference test, pair by pair."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from viso.listening.definition import REFERENCE, ListeningTest
from viso.listening.records import Choice
from viso.listening.statistics import binomial_p, holm, mean_interval, share_interval
from viso.metrics.permutation import sign_flip_p_value

__all__ = ["PairRow", "pair_rows"]


@dataclass(frozen=True)
class PairRow:
    """Two conditions of an ABX or preference test.

    ABX: `share` is the share of right answers; `low` and `high` bound its 95 % interval (Wilson).
    `p` is the probability that guessing does as well: X is drawn for every answer, so guesses of
    one listener are independent.

    Preference: `share` is the share of answers for `one`; an undecided answer counts half for each.
    It is a mean over listeners, with its 95 % interval. `p` is that of a permutation test over
    listeners.

    `p_holm` is corrected for all pairs.
    """

    one: str
    other: str
    share: float
    low: float
    high: float
    p: float
    p_holm: float
    n_answers: int
    n_undecided: int
    n_listeners: int


def pair_rows(test: ListeningTest, choices: Iterable[Choice]) -> list[PairRow]:
    """Return a row for every pair of conditions.

    Parameters
    ----------
    test : ListeningTest
        Of the kind ``abx`` or ``preference``.
    choices : iterable of Choice
    """
    trials = {trial.name: trial for trial in test.rated}
    rank = {name: index for index, name in enumerate((REFERENCE, *test.systems))}
    answers: dict[tuple[str, str], list[tuple[str, float]]] = defaultdict(list)
    for choice in choices:
        trial = trials[choice.trial]
        names = trial.of(choice.a).condition, trial.of(choice.b).condition
        one, other = sorted(names, key=lambda name: rank[name])
        if choice.choice == "none":
            score = 0.5
        elif test.kind == "abx":
            score = float((choice.a if choice.choice == "a" else choice.b) == choice.x)
        else:
            score = float(names[0 if choice.choice == "a" else 1] == one)
        answers[one, other].append((choice.listener, score))
    rows = [
        (_abx if test.kind == "abx" else _preference)(one, other, found)
        for (one, other), found in answers.items()
    ]
    corrected = holm([row.p for row in rows])
    return [replace(row, p_holm=p) for row, p in zip(rows, corrected, strict=True)]


def _abx(one: str, other: str, answers: list[tuple[str, float]]) -> PairRow:
    hits, n = sum(score == 1 for _, score in answers), len(answers)
    share, low, high = share_interval(hits, n)
    p = binomial_p(hits, n)
    listeners = {listener for listener, _ in answers}
    return PairRow(one, other, share, low, high, p, p, n, 0, len(listeners))


def _preference(one: str, other: str, answers: list[tuple[str, float]]) -> PairRow:
    by_listener: dict[str, list[float]] = defaultdict(list)
    for listener, score in answers:
        by_listener[listener].append(score)
    units = np.array([np.mean(scores) for scores in by_listener.values()])
    mean, low, high = mean_interval(units)
    p = sign_flip_p_value(units - 0.5)
    undecided = sum(score == 0.5 for _, score in answers)
    low, high = max(0.0, low), min(1.0, high)
    return PairRow(one, other, mean, low, high, p, p, len(answers), undecided, units.size)
