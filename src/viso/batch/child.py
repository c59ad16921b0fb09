"""A spawned process and this side of the pipe to it."""

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

_PATIENCE_S = 15.0  # for a process to take notice and clear up


class Child:
    """A process that was started with one end of a pipe.

    Parameters
    ----------
    target : callable
        What it runs; its first argument is its `Connection`.
    args : tuple
        The others.
    name : str
    patience_s : float
        For it to take notice that it shall end, and again after SIGTERM.

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
        # Else its end would not be noticed.
        theirs.close()

    @property
    def pid(self) -> int:
        """The process, as the system numbers it."""
        return self.process.pid or 0

    def end(self) -> str:
        """Wait for the process, by force if need be; return how it ended."""
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
    """Have processes that are started in the block not hear a Ctrl-C before they can mind it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # It would be started in the block, and lift the block.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
