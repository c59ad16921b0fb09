"""Work ahead: while one portion is computed, the next ones are read."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["ahead"]

T = TypeVar("T")


class _End:
    """Stands behind the last item."""


def ahead(items: Generator[T], *, depth: int = 3) -> Iterator[T]:
    """Run a generator in a thread of its own, a few items before they are asked for.

    Parameters
    ----------
    items : generator
        Closed at the end, in that thread.
    depth : int
        Items that may be worked on or wait.

    Yields
    ------
    The items, in their order. An error of the generator comes in its place among them; when
    the iterator is left, early or late, the thread is over.
    """
    with ThreadPoolExecutor(1, "viso-ahead") as thread:
        waiting = deque(thread.submit(next, items, _End()) for _ in range(depth))
        try:
            while not isinstance(item := waiting.popleft().result(), _End):
                waiting.append(thread.submit(next, items, _End()))
                yield item
        finally:
            for future in waiting:
                future.cancel()
            thread.submit(items.close).result()
