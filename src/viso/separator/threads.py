"""Work in other threads: one reads ahead of the network, one writes behind it."""

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
    """Run a generator in its own thread, a few items before the caller asks for them.

    Parameters
    ----------
    items : generator
        Closed at the end, in that thread.
    depth : int
        Items in work or waiting at a time.

    Yields
    ------
    The items, in their order. An error of the generator comes in its place among them. When the
    caller leaves the iterator, early or late, the thread ends.
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

    Encoders call back into Python, where the exception of a Ctrl-C would be lost. Python hands
    signals to the main thread alone, so what runs here is safe from them.

    Parameters
    ----------
    function : callable
    depth : int
        Calls that may wait. With more, the caller waits.

    Yields
    ------
    callable
        Takes the arguments of a call and returns at once. It raises what an earlier call raised.
        When the block ends, all calls are over. If it ends without an error, it raises the error
        that a call had.
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
