"""Runs work in other threads: one decodes ahead of the network, one encodes after it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["background_writer", "prefetch"]

T = TypeVar("T")


class _End:
    """Comes after the last item."""


def prefetch(items: Generator[T], *, depth: int = 3) -> Iterator[T]:
    """Run a generator in its own thread, a few items ahead of the caller.

    Parameters
    ----------
    items : generator
        Closed at the end, in that thread.
    depth : int
        How many items are in work or waiting at a time.

    Yields
    ------
    The items, in their order. An error of the generator is raised in its place among them. When
    the caller closes the iterator, the thread ends.
    """
    with ThreadPoolExecutor(1, "viso-prefetch") as thread:
        waiting = deque(thread.submit(next, items, _End()) for _ in range(depth))
        try:
            while not isinstance(item := waiting.popleft().result(), _End):
                waiting.append(thread.submit(next, items, _End()))
                yield item
        finally:
            for future in waiting:
                future.cancel()
            thread.submit(items.close).result()


@contextmanager
def background_writer(
    function: Callable[..., None], *, depth: int = 2
) -> Iterator[Callable[..., None]]:
    """Call a function in its own thread, one call after the other.

    Encoders call back into Python, where the exception of a Ctrl-C would be lost. Python handles
    signals only in the main thread, so they cannot interrupt the function here.

    Parameters
    ----------
    function : callable
    depth : int
        How many calls may wait. With more, the caller waits.

    Yields
    ------
    callable
        Takes the arguments of a call and returns at once. It raises the error of an earlier call.
        When the block ends, all calls have ended. If the block ends without an error, the error of
        a call is raised.
    """
    calls: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1, "viso-writer") as thread:

        def put(*values: object) -> None:
            while len(calls) > depth or (calls and calls[0].done()):
                calls.popleft().result()
            calls.append(thread.submit(function, *values))

        try:
            yield put
            while calls:
                calls.popleft().result()
        finally:
            thread.shutdown(wait=True, cancel_futures=True)
