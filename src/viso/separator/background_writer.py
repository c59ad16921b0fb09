"""Work behind: while the next portion is computed, the last one is written."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

__all__ = ["behind"]


@contextmanager
def behind(function: Callable[..., None], *, depth: int = 2) -> Iterator[Callable[..., None]]:
    """Call a function in a thread of its own, one call after the other.

    Encoders call back into Python, where the exception of a Ctrl-C would be lost; Python hands
    signals to the main thread alone, so what runs here is safe from them.

    Parameters
    ----------
    function : callable
    depth : int
        Calls that may wait; with more, the caller waits.

    Yields
    ------
    callable
        Takes the arguments of a call and returns at once. It raises what an earlier call
        raised. On leaving the block all calls are over, and if it is left without an error,
        one that a call had is raised.
    """
    calls: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1, "viso-behind") as thread:

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
