"""A thread that gives one worker, a process of its own, one job after another."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, TypeVar

from viso.batch.child import Child
from viso.studio.messages import (
    Assignment,
    CancelJob,
    DescribedModels,
    DescribeModels,
    JobCancelled,
    JobDone,
    JobFailed,
    JobProgress,
    LiveProgress,
)
from viso.studio.tables import JobRow

if TYPE_CHECKING:
    from viso.studio.worker_pool import WorkerPool

__all__ = ["WorkerThread"]

_POLL_S = 0.2
_TRIES = 3  # of processes that die before they have told of the models

T = TypeVar("T")

_log = logging.getLogger(__name__)


class WorkerThread(threading.Thread):
    """A thread with a process of its own."""

    def __init__(self, pool: WorkerPool, *, describes: bool) -> None:
        super().__init__(name="viso-studio", daemon=True)
        self._pool, self._describes = pool, describes
        self.child: Child | None = None

    def run(self) -> None:
        try:
            if self._describes:
                self._pool.has_described(self._described())
            while (job := self._pool.next_job()) is not None:
                how = self._attempted(job)
                if how is None:  # the studio ends
                    return
                self._note(job, how)
        finally:
            self._end_child()

    def _note(self, job: JobRow, how: JobDone | JobFailed | JobCancelled) -> None:
        self._insist("the end of a job cannot be noted", lambda: self._pool.has_ended(job, how))

    def _insist(self, trouble: str, act: Callable[[], T]) -> T | None:
        """Act on the list of jobs, however often it takes: the disk may be full for a while.

        None if the studio ends before.
        """
        while not self._pool.is_ending:
            try:
                return act()
            except sqlite3.Error:
                _log.exception("%s; trying again", trouble)
                self._pool.pause()
        return None

    def _attempted(self, job: JobRow) -> JobDone | JobFailed | JobCancelled | None:
        """Work on a job, whatever becomes of it: the thread is there for the next one."""
        try:
            return self._worked(job)
        except Exception:
            _log.exception("a job cannot be worked on")
            self._end_child()
            return JobFailed("cannot be worked on; the studio's log says why")

    def _connection(self) -> Connection:
        if self.child is None:
            self.child = self._pool.new_child()
        return self.child.connection

    def _end_child(self) -> str:
        child, self.child = self.child, None
        if child is None:
            return "could not be started"
        with suppress(OSError):
            child.connection.send(None)
        return child.end()

    def _described(self) -> DescribedModels | None:
        for _ in range(_TRIES):
            try:
                connection = self._connection()
                connection.send(DescribeModels(self._pool.models))
                while not connection.poll(_POLL_S):
                    if self._pool.is_ending:
                        return None
                told = connection.recv()
                if isinstance(told, DescribedModels):
                    return told
            except (EOFError, OSError):
                _log.warning("a worker ended while it looked for models (%s)", self._end_child())
        return None

    def _worked(self, job: JobRow) -> JobDone | JobFailed | JobCancelled | None:
        """Work on a job; None if the studio ends before."""
        order = self._insist("a job cannot be looked up", lambda: self._pool.order(job))
        if not isinstance(order, Assignment):
            return order
        try:
            connection = self._connection()
            connection.send(order)
            return self._heard(connection, job)
        except (EOFError, OSError):
            how = self._end_child()
            if self._pool.is_ending:
                return None
            if self._pool.is_left(job.id):
                return JobCancelled()
            return JobFailed(
                f"{order.name}: the process that worked on it ended ({how}); try it again, or a "
                "region of it"
            )

    def _heard(
        self, connection: Connection, job: JobRow
    ) -> JobDone | JobFailed | JobCancelled | None:
        began = heard = time.monotonic()
        is_told = False
        while not self._pool.is_ending:
            if self._pool.is_left(job.id) and not is_told:
                connection.send(CancelJob(job.id))
                is_told = True
            if not connection.poll(_POLL_S):
                if time.monotonic() - heard > self._pool.patience_s:
                    self._end_child()
                    return JobFailed(f"no progress for {self._pool.patience_s:g} s; given up")
                continue
            heard = time.monotonic()
            event = connection.recv()
            if isinstance(event, JobDone | JobFailed | JobCancelled):
                return event
            if isinstance(event, JobProgress):
                speed = event.done_s / max(1e-9, heard - began)
                self._pool.has_moved(
                    job.id, LiveProgress(event.done_s, event.total_s, speed or None)
                )
        return None
