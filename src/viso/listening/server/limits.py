"""Who may begin a test, and how often an address may begin one or guess the author's token.

The server keeps addresses only in memory, at most 10,000 for each limit. It forgets all of them
when it ends.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

__all__ = ["Entrance", "Pace", "Slowdown", "Verdict"]

Clock = Callable[[], float]

_MOST_ADDRESSES = 10_000  # remembered at once
_FREE_TRIES = 3
_LONGEST_WAIT_S = 60.0
_FORGOTTEN_S = 600.0


@dataclass(frozen=True)
class Entrance:
    """Who may begin a test.

    If `is_open`, everybody who knows the address may begin; otherwise the author gives out links.
    At most `most` listeners may begin, and none from `closes_at` on. Listeners who have begun may
    finish. Without a link, `per_hour` listeners may begin from one address in an hour (0: any
    number).
    """

    is_open: bool = True
    most: int = 1000
    closes_at: datetime | None = None
    per_hour: int = 100

    @property
    def is_closed(self) -> bool:
        """Whether the closing time has passed."""
        return self.closes_at is not None and datetime.now(UTC) >= self.closes_at


class Pace:
    """Lets an address do something `most` times in `seconds`; any thread may call it.

    Parameters
    ----------
    most : int
        0 for no limit.
    seconds : float
    clock : callable
        Returns seconds that never decrease.
    """

    def __init__(self, most: int, seconds: float, *, clock: Clock = time.monotonic) -> None:
        self._most, self._seconds, self._clock = most, seconds, clock
        self._taken: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, address: str) -> int:
        """Count one use; return 0, or the whole seconds until the next use is allowed."""
        if not self._most:
            return 0
        with self._lock:
            now = self._clock()
            times = self._taken.setdefault(address, deque())
            self._taken.move_to_end(address)
            while times and now - times[0] >= self._seconds:
                times.popleft()
            if len(times) >= self._most:
                return max(1, math.ceil(times[0] + self._seconds - now))
            times.append(now)
            _forget_oldest(self._taken)
            return 0

    def give_back(self, address: str) -> None:
        """Remove the last use from the count, because nothing came of it."""
        with self._lock:
            if times := self._taken.get(address):
                times.pop()


class Verdict(NamedTuple):
    """Whether a secret is right; it is not checked if there are seconds to wait."""

    is_right: bool
    wait_s: int


class Slowdown:
    """Checks secrets; each wrong one makes its address wait longer. Any thread may call it.

    The first 3 wrong secrets cost nothing; then the wait doubles from 1 s to 60 s. Secrets that
    arrive during the wait are not checked, so many guesses at once are no faster. A right secret,
    or 10 minutes without a wrong one, resets the count.

    Parameters
    ----------
    clock : callable
        Returns seconds that never decrease.
    """

    def __init__(self, *, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, address: str, is_right: Callable[[], bool]) -> Verdict:
        """Return whether the secret is right, or how long the address must wait."""
        with self._lock:
            now = self._clock()
            count, free_at = self._wrong.get(address, (0, -math.inf))
            if now < free_at:
                return Verdict(False, max(1, math.ceil(free_at - now)))
            if is_right():
                self._wrong.pop(address, None)
                return Verdict(True, 0)
            count = 1 if now - free_at > _FORGOTTEN_S else count + 1
            wait_s = min(_LONGEST_WAIT_S, 2.0 ** (count - _FREE_TRIES - 1))
            self._wrong[address] = count, now + (wait_s if count > _FREE_TRIES else 0.0)
            self._wrong.move_to_end(address)
            _forget_oldest(self._wrong)
            return Verdict(False, 0)


def _forget_oldest(found: OrderedDict[str, Any]) -> None:
    while len(found) > _MOST_ADDRESSES:
        found.popitem(last=False)
