"""Which listeners count: post-screening by the rule of ITU-R BS.1534-3, 4.1.2."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from viso.listening.definition import MID_ANCHOR, OVERALL, ListeningTest
from viso.listening.records import Ratings

__all__ = ["Screened", "screen"]

_THRESHOLD = 90
_MOST_PERCENT = 15
_UNFIT = 0.25  # above this share of fooled listeners, a trial's anchor proves nothing


@dataclass(frozen=True)
class Screened:
    """A listener, and whether the ratings count.

    The listener rated `n_trials` trials. In `n_missed` of them the hidden reference got less than
    90; in `n_anchor` of `n_anchor_trials` the 7 kHz anchor got more than 90. `reasons` tell why the
    ratings do not count.
    """

    listener: str
    n_trials: int
    n_missed: int
    n_anchor: int
    n_anchor_trials: int
    is_kept: bool
    reasons: tuple[str, ...] = ()


def screen(
    test: ListeningTest, ratings: Iterable[Ratings], *, mid_anchor: bool = False
) -> list[Screened]:
    """Tell which listeners hear the hidden reference.

    A listener who rates it below 90 in more than 15 % of the trials is left out. `mid_anchor` adds
    the standard's second rule: a listener who rates the 7 kHz anchor above 90 in more than 15 % of
    the trials is left out too. Trials in which more than a quarter of the listeners do so do not
    count for this rule. It is off by default, since many separated voices hold little above 7 kHz.

    Parameters
    ----------
    test : ListeningTest
        Of the kind ``mushra``.
    ratings : iterable of Ratings
        Only the ratings of the overall question decide.
    mid_anchor : bool

    Returns
    -------
    list of Screened
        One for each listener, sorted by name.
    """
    trials = {trial.name: trial for trial in test.rated}
    missed: dict[str, dict[str, bool]] = {}
    fooled: dict[str, dict[str, bool]] = {}
    for record in ratings:
        missed.setdefault(record.listener, {})
        if record.question != OVERALL:
            continue
        trial = trials[record.trial]
        for stimulus in trial.stimuli:
            value = record.ratings[stimulus.id]
            if stimulus.role == "reference":
                missed.setdefault(record.listener, {})[trial.name] = value < _THRESHOLD
            elif stimulus.condition == MID_ANCHOR:
                fooled.setdefault(record.listener, {})[trial.name] = value > _THRESHOLD
    unfit = {name for name in trials if _share(fooled, name) > _UNFIT}
    found = []
    for listener, misses in sorted(missed.items()):
        anchors = [hit for name, hit in fooled.get(listener, {}).items() if name not in unfit]
        reasons = []
        if not misses:
            reasons.append(f"rated nothing for the question {OVERALL!r}")
        if _is_too_often(misses.values()):
            reasons.append(
                f"rated the hidden reference below {_THRESHOLD} in "
                f"{_part(misses.values())}, more than {_MOST_PERCENT} %"
            )
        if mid_anchor and _is_too_often(anchors):
            reasons.append(
                f"rated the 7 kHz anchor above {_THRESHOLD} in "
                f"{_part(anchors)}, more than {_MOST_PERCENT} %"
            )
        found.append(
            Screened(
                listener=listener,
                n_trials=len(misses),
                n_missed=sum(misses.values()),
                n_anchor=sum(anchors),
                n_anchor_trials=len(anchors),
                is_kept=not reasons,
                reasons=tuple(reasons),
            )
        )
    return found


def _is_too_often(hits: Collection[bool]) -> bool:
    # In integers, so that 3 of 20 is not more than 15 %.
    return sum(hits) * 100 > _MOST_PERCENT * len(hits)


def _part(hits: Collection[bool]) -> str:
    return f"{sum(hits)} of {len(hits)} trials ({100 * sum(hits) / len(hits):.0f} %)"


def _share(fooled: dict[str, dict[str, bool]], trial: str) -> float:
    answers = [hits[trial] for hits in fooled.values() if trial in hits]
    return sum(answers) / len(answers) if answers else 0.0
