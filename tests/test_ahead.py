"""An iterator that works ahead in a thread: same items, same errors, nothing left running."""

from __future__ import annotations

import threading
import time

import pytest

from viso.separator.ahead import ahead


def threads():
    return [t for t in threading.enumerate() if t.name == "viso-ahead"]


def test_the_same_items_in_the_same_order():
    with ahead(iter(range(1000))) as items:
        assert list(items) == list(range(1000))
    with ahead(iter([])) as items:
        assert list(items) == []
    assert threads() == []


def test_the_source_runs_beside_its_consumer():
    second_begun = threading.Event()

    def source():
        yield 1
        second_begun.set()
        yield 2

    with ahead(source()) as items:
        assert next(items) == 1
        assert second_begun.wait(30), "nobody has asked for the second yet"


def test_it_is_never_more_than_depth_ahead():
    made = []

    def source():
        for number in range(50):
            made.append(number)
            yield number

    with ahead(source(), depth=3) as items:
        for number in items:
            time.sleep(0.005)
            # One is in the consumer's hands, one is waiting to be put.
            assert len(made) <= number + 1 + 3 + 1


def test_an_error_comes_in_its_place():
    def source():
        yield 1
        yield 2
        raise ValueError("third")

    with ahead(source()) as items:
        assert [next(items), next(items)] == [1, 2]
        with pytest.raises(ValueError, match="third"):
            next(items)
    assert threads() == []


@pytest.mark.parametrize("reason", [KeyboardInterrupt, RuntimeError])
def test_a_consumer_that_gives_up_stops_and_closes_the_source(reason):
    closed = threading.Event()

    def source():
        try:
            number = 0
            while True:
                yield number
                number += 1
        finally:
            closed.set()

    with pytest.raises(reason), ahead(source()) as items:
        next(items)
        raise reason
    assert closed.is_set()
    assert threads() == []


def test_the_source_is_touched_by_one_thread_only():
    seen = set()

    def source():
        try:
            for number in range(5):
                seen.add(threading.get_ident())
                yield number
        finally:
            seen.add(threading.get_ident())

    with ahead(source()) as items:
        list(items)
    assert len(seen) == 1
    assert threading.get_ident() not in seen
