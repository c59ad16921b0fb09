"""The order in which a listener hears a test: drawn from its seed, balanced over listeners.

A group of listeners hears every trial equally often at every position, and equally often right
after every other trial (Williams 1949). The same holds for the stimuli within a trial. Every group
gets new orders. They do not depend on a library's random numbers, so the same seed always gives the
same orders.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from viso.errors import ConfigError
from viso.listening.definition import ListeningTest

__all__ = ["PlayingOrder", "order_of"]

_SIDES = ((0, 0), (0, 1), (1, 0), (1, 1))


class PlayingOrder(NamedTuple):
    """What one listener hears.

    `trials` holds indices into the test's trials, training first. `stimuli` holds, for each trial
    in the test's order, indices into its stimuli from the first position to the last. `hidden`
    holds, for each trial of an ABX test, the position (0 is A, 1 is B) whose sound is X.
    """

    trials: tuple[int, ...]
    stimuli: tuple[tuple[int, ...], ...]
    hidden: tuple[int, ...]


def order_of(test: ListeningTest, listener: int) -> PlayingOrder:
    """Return the order of a listener.

    Parameters
    ----------
    test : ListeningTest
    listener : int
        Counted from 0. Consecutive listeners are balanced.

    Raises
    ------
    ConfigError
        If the number is negative.
    """
    if listener < 0:
        raise ConfigError(f"listener {listener}: listeners are counted from 0")
    training = [i for i, trial in enumerate(test.trials) if trial.training]
    rated = [i for i, trial in enumerate(test.trials) if not trial.training]
    places = _balanced(len(rated), listener, f"{test.seed}:trials")
    stimuli: list[tuple[int, ...]] = []
    hidden: list[int] = []
    for trial in test.trials:
        key = f"{test.seed}:{trial.name}"
        if test.kind == "abx":
            # Draw the side and X together; otherwise X could always be the same system.
            block, index = divmod(listener, len(_SIDES))
            first, other = _SIDES[_shuffled(len(_SIDES), f"{key}:{block}")[index]]
            stimuli.append((first, 1 - first))
            hidden.append(other)
        else:
            stimuli.append(_balanced(len(trial.stimuli), listener, key))
    return PlayingOrder(tuple(training + [rated[i] for i in places]), tuple(stimuli), tuple(hidden))


def _shuffled(n: int, key: str) -> list[int]:
    """Return 0 to n - 1 in an order that depends only on the key."""
    return sorted(range(n), key=lambda i: hashlib.sha256(f"{key}:{i}".encode()).digest())


def _balanced(n: int, listener: int, key: str) -> tuple[int, ...]:
    """Return a listener's row of a Latin square whose labels and rows the key shuffles."""
    square = _williams(n)
    block, index = divmod(listener, len(square))
    row = square[_shuffled(len(square), f"{key}:{block}:rows")[index]]
    labels = _shuffled(n, f"{key}:{block}:labels")
    return tuple(labels[i] for i in row)


def _williams(n: int) -> list[list[int]]:
    """Return a Latin square balanced for the preceding item; two squares if n is odd."""
    first = [0]
    for step in range(1, n):
        first.append((first[-1] + (step if step % 2 else -step)) % n)
    rows = [[(value + shift) % n for value in first] for shift in range(n)]
    return rows if n % 2 == 0 or n == 1 else rows + [row[::-1] for row in rows]
