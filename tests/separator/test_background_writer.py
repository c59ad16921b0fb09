"""Calls in a thread behind the caller: in order, with their errors, and over at the end."""

from __future__ import annotations

import threading

import pytest

from viso.separator.threads import background_writer


def threads():
    return [t for t in threading.enumerate() if t.name.startswith("viso-writer")]


def test_calls_are_made_in_order_by_one_other_thread():
    seen, makers = [], set()

    def note(number, letter):
        makers.add(threading.get_ident())
        seen.append((number, letter))

    with background_writer(note) as put:
        for number in range(500):
            put(number, "x")
    assert seen == [(number, "x") for number in range(500)]
    assert len(makers) == 1
    assert threading.get_ident() not in makers
    assert threads() == []


def test_the_caller_goes_on_meanwhile():
    may_end = threading.Event()
    with background_writer(lambda: may_end.wait(30)) as put:
        put()
        put()
        may_end.set()


def test_the_caller_waits_for_more_than_depth():
    made = []
    gate = threading.Semaphore(0)

    def slow(number):
        assert gate.acquire(timeout=30)
        made.append(number)

    def put_all(put):
        for number in range(10):
            put(number)

    with background_writer(slow, depth=2) as put:
        caller = threading.Thread(target=put_all, args=(put,))
        caller.start()
        caller.join(0.2)
        assert caller.is_alive(), "three calls at most are under way or waiting"
        for _ in range(10):
            gate.release()
        caller.join(30)
        assert not caller.is_alive()
    assert made == list(range(10))


def test_an_error_reaches_the_caller_at_a_later_call_or_at_the_end():
    def fail(number):
        if number == 3:
            raise ValueError("third")

    with pytest.raises(ValueError, match="third"), background_writer(fail) as put:
        for number in range(1, 100):
            put(number)
    with pytest.raises(ValueError, match="third"), background_writer(fail) as put:
        put(3)
    assert threads() == []


@pytest.mark.parametrize("reason", [KeyboardInterrupt, RuntimeError])
def test_a_caller_that_gives_up_leaves_nothing_running(reason):
    made = []
    with pytest.raises(reason), background_writer(made.append) as put:
        put(1)
        raise reason
    assert threads() == []
    assert made in ([], [1])
