"""How often an address may begin, or be wrong: by a clock that the test moves."""

from __future__ import annotations

import pytest

pytest.importorskip("fastapi", reason="needs the extra [web]")

from viso.listening.server import limits
from viso.listening.server.limits import Pace, Slowdown, Verdict


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_pace_over_time() -> None:
    clock = Clock()
    pace = Pace(2, 60.0, clock=clock)
    assert [pace.take("a"), pace.take("a"), pace.take("b")] == [0, 0, 0]
    clock.now_s += 10
    assert pace.take("a") == 50
    pace.give_back("a")
    assert [pace.take("a"), pace.take("a")] == [0, 50]
    clock.now_s += 50
    assert pace.take("a") == 0
    assert [Pace(0, 60.0, clock=clock).take("a") for _ in range(5)] == [0] * 5


def test_wrong_ones_wait_longer_and_longer() -> None:
    clock, looked = Clock(), []
    slow = Slowdown(clock=clock)

    def check(is_right: bool) -> Verdict:
        return slow.check("a", lambda: looked.append(1) or is_right)

    assert [check(False) for _ in range(4)] == [(False, 0)] * 4
    # While the address waits nothing is looked at, not even what is right.
    assert check(True) == (False, 1) and len(looked) == 4
    assert slow.check("b", lambda: True) == (True, 0)
    for wait_s in (2, 4, 8, 16, 32, 60, 60):
        clock.now_s += 60
        assert check(False) == (False, 0)
        assert check(False) == (False, wait_s)
    clock.now_s += 60
    assert check(True) == (True, 0)
    assert [check(False) for _ in range(3)] == [(False, 0)] * 3 and check(True).is_right
    assert [check(False) for _ in range(4)] == [(False, 0)] * 4
    clock.now_s += 700
    assert [check(False) for _ in range(3)] == [(False, 0)] * 3


def test_what_is_remembered_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MOST_ADDRESSES", 3)
    clock = Clock()
    pace, slow = Pace(1, 60.0, clock=clock), Slowdown(clock=clock)
    for name in "abcde":
        assert pace.take(name) == 0
        slow.check(name, lambda: False)
    assert len(pace._taken) == len(slow._wrong) == 3
