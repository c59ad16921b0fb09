"""Notifies the followers of a job when it changes; any thread may notify."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["JobEvents"]


class JobEvents:
    """Followers of jobs in one event loop.

    Attributes
    ----------
    is_closing : bool
        The studio stops: followers should stop waiting.
    """

    def __init__(self) -> None:
        self.is_closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._followers: dict[str, set[asyncio.Event]] = {}

    def open(self) -> None:
        """Use the running event loop for the followers."""
        self._loop, self.is_closing = asyncio.get_running_loop(), False

    def notify(self, *jobs: str) -> None:
        """Wake the followers of these jobs, or of all jobs if none is named."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: there are no followers
                self._loop.call_soon_threadsafe(self._wake, jobs)

    def close(self) -> None:
        """Wake all followers, and tell them to stop."""
        self.is_closing = True
        self.notify()

    def _wake(self, jobs: tuple[str, ...]) -> None:
        for job in jobs or list(self._followers):
            for event in self._followers.get(job, ()):
                event.set()

    @contextmanager
    def follow(self, job: str) -> Iterator[asyncio.Event]:
        """Follow a job in the block; the event is set whenever the job changes."""
        event = asyncio.Event()
        self._followers.setdefault(job, set()).add(event)
        try:
            yield event
        finally:
            self._followers[job].discard(event)
            if not self._followers[job]:
                del self._followers[job]
