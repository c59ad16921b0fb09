"""Work ahead: while one portion is written, the next is computed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, Full, Queue
from typing import Generic, TypeVar

__all__ = ["ahead"]

T = TypeVar("T")

_LOOK_S = 0.2  # how long a thread waits before it looks whether it should stop


@contextmanager
def ahead(source: Iterator[T], *, depth: int = 2) -> Iterator[Iterator[T]]:
    """Run an iterator in a thread of its own, at most `depth` items ahead.

    What it raises is raised to the consumer, in its place. On leaving the block the thread is
    over, and the source closed if it is a generator.

    Parameters
    ----------
    source : iterator
        Touched by the thread alone.
    depth : int
        Items that may wait.

    Yields
    ------
    iterator
        The same items in the same order.
    """
    worker = _Worker(source, depth)
    worker.start()
    try:
        yield worker.items()
    finally:
        worker.stop.set()
        worker.join()


class _Worker(threading.Thread, Generic[T]):
    """Moves the items of an iterator into a queue; each as a list of one, the end as an error."""

    def __init__(self, source: Iterator[T], depth: int) -> None:
        super().__init__(name="viso-ahead", daemon=True)
        self._source = source
        self._waiting: Queue[list[T] | BaseException] = Queue(depth)
        self.stop = threading.Event()

    def run(self) -> None:
        try:
            for item in self._source:
                self._put([item])
                if self.stop.is_set():
                    return
            self._put(StopIteration())
        except BaseException as error:  # whatever it is, the consumer must hear of it
            self._put(error)
        finally:
            close = getattr(self._source, "close", None)
            if close is not None:
                close()

    def _put(self, word: list[T] | BaseException) -> None:
        while not self.stop.is_set():
            try:
                self._waiting.put(word, timeout=_LOOK_S)
                break
            except Full:
                pass

    def items(self) -> Iterator[T]:
        """Yield what the thread has found."""
        while True:
            try:
                # In short turns, so that Ctrl-C is heard on every system.
                word = self._waiting.get(timeout=_LOOK_S)
            except Empty:
                if self.stop.is_set():
                    return
                continue
            if isinstance(word, StopIteration):
                return
            if isinstance(word, BaseException):
                raise word
            yield word[0]
