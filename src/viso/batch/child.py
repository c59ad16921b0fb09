"""A spawned process and our end of the pipe to it."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

__all__ = ["Child"]

_PATIENCE_S = 15.0  # for a process to notice that it must end, and to clear up


class Child:
    """A process that gets one end of a pipe when it starts.

    Parameters
    ----------
    target : callable
        The function it runs; the first argument is its `Connection`.
    args : tuple
        The other arguments.
    name : str
    patience_s : float
        Seconds for it to end by itself, and again after SIGTERM.

    Attributes
    ----------
    connection : Connection
        Our end. It closes when the process ends.
    process : SpawnProcess
    """

    def __init__(
        self,
        target: Callable[..., None],
        args: tuple[Any, ...],
        *,
        name: str,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection: Connection
        self.connection, theirs = context.Pipe()
        self._patience_s = patience_s
        self.process: SpawnProcess = context.Process(
            target=target, args=(theirs, *args), name=name, daemon=True
        )
        with _deaf_children():
            self.process.start()
        # Otherwise we would not notice that the process ends.
        theirs.close()

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid or 0

    def end(self) -> str:
        """End the process, by force if necessary; return how it ended."""
        self.connection.close()
        for hurry in (self.process.terminate, self.process.kill, lambda: None):
            self.process.join(self._patience_s)
            if self.process.exitcode is not None:
                break
            hurry()
        code = self.process.exitcode
        if code is None or code >= 0:
            return f"exit code {code}"
        with suppress(ValueError):
            return signal.Signals(-code).name
        return f"signal {-code}"


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Hold Ctrl-C back from processes started in the block, until they can handle it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Otherwise the tracker would start here, where signals are blocked, and unblock them.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
