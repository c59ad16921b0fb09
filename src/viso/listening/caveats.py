"""Warnings about an analysis: too few listeners, or none that counts."""

from __future__ import annotations

from viso.listening.analysis import Analysis

__all__ = ["caveats"]

_OFTEN_ENOUGH = 20  # listeners, by BS.1534-3
_SIGNIFICANT = 0.05


def caveats(analysis: Analysis) -> list[str]:
    """Return warnings as sentences, the most important first; empty if there are none."""
    if analysis.test.kind != "mushra":
        return _few_answers(analysis)
    n_kept = analysis.n_kept
    if not n_kept:
        return [
            f"None of the {analysis.n_listeners} listeners passes the screening, so nothing is "
            "said of the systems. The table of listeners shows why each was left out: look at how "
            "the test was done, and get more listeners."
        ]
    found = []
    n_pairs = len(analysis.comparisons) // max(1, len(analysis.test.questions))
    if n_pairs and (caveat := _cannot_show(n_kept, n_pairs)):
        found.append(caveat)
    if n_kept < _OFTEN_ENOUGH:
        found.append(
            f"{n_kept} {_listeners(n_kept)}: ITU-R BS.1534-3 finds that {_OFTEN_ENOUGH} are often "
            "enough."
        )
    return found


def _few_answers(analysis: Analysis) -> list[str]:
    rows = analysis.pairs
    if not rows:
        return []
    if analysis.test.kind == "abx":
        # Guesses are independent, even of one listener, so answers count.
        fewest = min(row.n_answers for row in rows)
        least = 0.5**fewest * len(rows)
        if least > _SIGNIFICANT:
            return [
                f"{fewest} answers to a pair cannot tell hearing from guessing: p is at least "
                f"{min(1.0, least):.2g} for {_pairs(len(rows))}."
            ]
        return []
    caveat = _cannot_show(min(row.n_listeners for row in rows), len(rows))
    return [caveat] if caveat else []


def _cannot_show(n_listeners: int, n_pairs: int) -> str:
    """Return a warning if `n_listeners` are too few to show a difference, else an empty text."""
    least = 2.0 ** (1 - n_listeners) * n_pairs
    if least <= _SIGNIFICANT:
        return ""
    needed = n_listeners
    while 2.0 ** (1 - needed) * n_pairs > _SIGNIFICANT:
        needed += 1
    return (
        f"{n_listeners} {_listeners(n_listeners)}: too few to show any difference. p, corrected "
        f"by Holm, is at least {min(1.0, least):.2g} for {_pairs(n_pairs)}; it can fall below "
        f"{_SIGNIFICANT:g} with {needed} listeners."
    )


def _listeners(n: int) -> str:
    return "listener counts" if n == 1 else "listeners count"


def _pairs(n: int) -> str:
    return "1 pair" if n == 1 else f"{n} pairs"
