"""Wakes those who follow a job when something has changed, from whatever thread."""

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
        The studio ends: nobody should wait any longer.
    """

    def __init__(self) -> None:
        self.is_closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._followers: dict[str, set[asyncio.Event]] = {}

    def open(self) -> None:
        """Take the running event loop as that of the followers."""
        self._loop, self.is_closing = asyncio.get_running_loop(), False

    def tell(self, *jobs: str) -> None:
        """Wake the followers of these jobs; of all, if none is said."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody follows
                self._loop.call_soon_threadsafe(self._wake, jobs)

    def close(self) -> None:
        """Wake all for good."""
        self.is_closing = True
        self.tell()

    def _wake(self, jobs: tuple[str, ...]) -> None:
        for job in jobs or list(self._followers):
            for event in self._followers.get(job, ()):
                event.set()

    @contextmanager
    def following(self, job: str) -> Iterator[asyncio.Event]:
        """Follow a job in the block, by an event that is set when it has changed."""
        event = asyncio.Event()
        self._followers.setdefault(job, set()).add(event)
        try:
            yield event
        finally:
            self._followers[job].discard(event)
            if not self._followers[job]:
                del self._followers[job]
