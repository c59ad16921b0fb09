"""Prefetching: the same items in the same order, errors in their place, no thread left."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from viso.separator.threads import prefetch


def threads() -> set[str]:
    return {thread.name.partition("_")[0] for thread in threading.enumerate()}


@pytest.mark.parametrize("n", [0, 1, 2, 50])
@pytest.mark.parametrize("depth", [1, 3])
def test_the_same_items(n: int, depth: int) -> None:
    assert list(prefetch((k for k in range(n)), depth=depth)) == list(range(n))
    assert "viso-prefetch" not in threads()


def test_an_error_comes_in_its_place() -> None:
    def items() -> Generator[int]:
        yield 1
        raise ValueError("mine")

    found = prefetch(items())
    assert next(found) == 1
    with pytest.raises(ValueError, match="mine"):
        next(found)
    assert "viso-prefetch" not in threads()


def test_it_runs_ahead_but_not_far() -> None:
    begun = threading.Semaphore(0)

    def items() -> Generator[int]:
        for k in range(100):
            begun.release()
            yield k

    found = prefetch(items(), depth=2)
    assert next(found) == 0
    for _ in range(3):  # one taken, two waiting
        assert begun.acquire(timeout=60)
    assert not begun.acquire(timeout=0.1)
    found.close()  # type: ignore[attr-defined]


def test_leaving_early_closes_the_generator_in_its_thread() -> None:
    closed = []

    def items() -> Generator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(threading.current_thread().name)

    found = prefetch(items())
    next(found)
    found.close()  # type: ignore[attr-defined]
    assert closed == ["viso-prefetch_0"]
    assert "viso-prefetch" not in threads()
