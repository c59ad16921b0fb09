"""The workers of a studio: each a process, and a thread here that gives it one job after another.

If a process dies, its job fails and the next job gets a new process.
"""

from __future__ import annotations

import itertools
import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TypeVar

from viso.batch.child import Child
from viso.batch.protocol import Cancel, Cancelled, Failed, Step
from viso.studio.folders import Folders
from viso.studio.job_events import JobEvents
from viso.studio.messages import (
    DescribedModels,
    DescribeModels,
    JobDone,
    LiveProgress,
    OfferedModel,
    SeparationJob,
)
from viso.studio.removal import Remover
from viso.studio.settings import StudioConfig
from viso.studio.store import Store
from viso.studio.tables import JobRow
from viso.studio.worker import work

__all__ = ["WorkerPool", "WorkerThread"]

_PATIENCE_S = 2.0  # for a process to end
_RETRY_S = 5.0
_POLL_S = 0.2
_TRIES = 3  # of processes that die before they have described the models

T = TypeVar("T")

_log = logging.getLogger(__name__)


class WorkerPool:
    """Takes jobs from a store as they come, and has them separated.

    Parameters
    ----------
    store : Store
    folders : Folders
    remover : Remover
    events : JobEvents
        Notified of every change.
    config : StudioConfig

    Attributes
    ----------
    offers : tuple of OfferedModel
        The models that can be run; empty until `are_described` is set.
    are_described : threading.Event
    """

    def __init__(
        self,
        store: Store,
        folders: Folders,
        remover: Remover,
        events: JobEvents,
        config: StudioConfig,
    ) -> None:
        self.offers: tuple[OfferedModel, ...] = ()
        self.are_described = threading.Event()
        self._store, self._folders, self._remover = store, folders, remover
        self._events, self._config = events, config
        self._condition = threading.Condition()
        self._is_ending = False
        self._cancelled: set[str] = set()
        self._running: dict[str, LiveProgress] = {}
        self._threads: list[WorkerThread] = []
        self._numbers = itertools.count(1)

    @property
    def pids(self) -> list[int]:
        """The processes that are alive, as the system numbers them."""
        return [thread.child.pid for thread in self._threads if thread.child is not None]

    def start(self) -> None:
        """Start the threads."""
        self._threads = [
            WorkerThread(self, describes=number == 0) for number in range(self._config.n_jobs)
        ]
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Wake a thread that waits for a job."""
        with self._condition:
            self._condition.notify_all()

    def cancel(self, job: str) -> None:
        """Cancel a job if it is running."""
        with self._condition:
            if job in self._running:
                self._cancelled.add(job)

    def progress(self, job: str) -> LiveProgress | None:
        """Return the progress of a running job."""
        return self._running.get(job)

    def stop(self) -> None:
        """End all processes; jobs that run stay recorded as running, and are done again."""
        with self._condition:
            self._is_ending = True
            self._condition.notify_all()
        for thread in self._threads:
            thread.join()

    @property
    def is_healthy(self) -> bool:
        """Whether every thread that was started still works."""
        return self._is_ending or all(thread.is_alive() for thread in self._threads)

    # The methods below are for the threads.

    def next_job(self) -> JobRow | None:
        """Wait for a job; None if the pool stops."""
        with self._condition:
            while not self._is_ending:
                if (job := self._claimed()) is not None:
                    self._running[job.id] = LiveProgress()
                    break
                self._condition.wait(_RETRY_S)
            else:
                return None
        self._events.notify()  # all other jobs have moved up in the queue
        return job

    def _claimed(self) -> JobRow | None:
        try:
            return self._store.claim()
        except sqlite3.Error:
            _log.exception("no job can be begun; trying again")
            return None

    def is_cancelled(self, job: str) -> bool:
        """Whether a running job is cancelled."""
        return job in self._cancelled

    @property
    def is_ending(self) -> bool:
        """Whether the pool stops."""
        return self._is_ending

    def wait_to_retry(self) -> None:
        """Wait some seconds, or until the pool stops."""
        with self._condition:
            self._condition.wait_for(lambda: self._is_ending, _RETRY_S)

    def record_progress(self, job: str, progress: LiveProgress) -> None:
        """Record the progress of a job."""
        self._running[job] = progress
        self._events.notify(job)

    def record_end(self, job: JobRow, how: JobDone | Failed | Cancelled) -> None:
        """Record how a job ended, and remove files that nobody can ask for.

        A second call for the same job changes nothing.

        Raises
        ------
        sqlite3.Error
            If the store cannot be read or written.
        """
        expires_s = time.time() + self._config.keep_s
        if isinstance(how, JobDone):
            self._store.end_job(
                job.id,
                "done",
                expires_s=expires_s,
                n_samples=how.n_samples,
                gain_db=how.gain_db,
                speed=how.n_samples / how.rate_hz / max(1e-9, how.took_s),
                loudness=None if how.loudness is None else json.dumps(how.loudness),
            )
        else:
            state = "failed" if isinstance(how, Failed) else "cancelled"
            error = how.reason if isinstance(how, Failed) else None
            self._store.end_job(job.id, state, expires_s=expires_s, error=error)
        # `end_job` returns False at a second try, because the job has ended before.
        row = self._store.job(job.id)
        if row is None or row.state != "done":
            self._remover.remove("job", job.id)
        if ("song", job.song) in self._store.removals():  # it was deleted meanwhile
            self._remover.remove("song", job.song)
        with self._condition:
            self._cancelled.discard(job.id)
            self._running.pop(job.id, None)
        self._events.notify(job.id)

    def separation(self, job: JobRow) -> SeparationJob | Failed | Cancelled:
        """Return the message for a worker, or how the job ends without one.

        Raises
        ------
        sqlite3.Error
            If the store cannot be read.
        """
        number = next(self._numbers)
        song = self._store.song(job.song)
        if song is None:
            return Cancelled(number)
        model = next((offer.model for offer in self.offers if offer.name == job.model), None)
        if model is None:  # the studio was started again with other models
            reason = f"{job.model}: is no longer on offer; choose another model"
            return Failed(number, "ModelError", reason)
        return SeparationJob(
            number=number,
            song=self._folders.song(job.song),
            name=song.name,
            model=model,
            start_s=job.start_s,
            duration_s=job.duration_s,
            folder=self._folders.job(job.id),
            longest_s=self._config.length_s,
            stems=job.stem_names,
        )

    def new_child(self) -> Child:
        """Start a process."""
        return Child(
            work, (self._config.threads,), name="viso-studio-worker", patience_s=_PATIENCE_S
        )

    def record_models(self, described: DescribedModels | None) -> None:
        """Record the models that can be run; None if every process died."""
        if described is not None:
            self.offers = tuple({offer.name: offer for offer in described.offers}.values())
            for refusal in described.refusals:
                _log.warning("%s", refusal)
        self.are_described.set()

    @property
    def patience_s(self) -> float:
        """Seconds without a message after which a job fails."""
        return self._config.patience_s

    @property
    def models(self) -> tuple[str, ...]:
        """Models that the settings name."""
        return self._config.models


class WorkerThread(threading.Thread):
    """A thread that gives one process, its own, one job after another.

    Parameters
    ----------
    pool : WorkerPool
    describes : bool
        Whether its process describes the models before its first job.

    Attributes
    ----------
    child : Child or None
        The process, while there is one.
    """

    def __init__(self, pool: WorkerPool, *, describes: bool) -> None:
        super().__init__(name="viso-studio", daemon=True)
        self._pool, self._describes = pool, describes
        self.child: Child | None = None

    def run(self) -> None:
        """See `threading.Thread`."""
        try:
            if self._describes:
                self._pool.record_models(self._described())
            while (job := self._pool.next_job()) is not None:
                how = self._carried_out(job)
                if how is None:  # the studio ends
                    return
                self._record_end(job, how)
        finally:
            self._end_child()

    def _record_end(self, job: JobRow, how: JobDone | Failed | Cancelled) -> None:
        self._retried("the end of a job cannot be noted", lambda: self._pool.record_end(job, how))

    def _retried(self, trouble: str, act: Callable[[], T]) -> T | None:
        """Use the store, again until it works: the disk may be full for a while.

        None if the studio ends before.
        """
        while not self._pool.is_ending:
            try:
                return act()
            except sqlite3.Error:
                _log.exception("%s; trying again", trouble)
                self._pool.wait_to_retry()
        return None

    def _carried_out(self, job: JobRow) -> JobDone | Failed | Cancelled | None:
        """Carry out a job. No error ends the thread: the next job needs it."""
        try:
            return self._separated(job)
        except Exception as error:
            _log.exception("a job cannot be worked on")
            self._end_child()
            reason = "cannot be worked on; the studio's log says why"
            return Failed(0, type(error).__name__, reason)

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
                answer = connection.recv()
                if isinstance(answer, DescribedModels):
                    return answer
            except (EOFError, OSError):
                _log.warning("a worker ended while it looked for models (%s)", self._end_child())
        return None

    def _separated(self, job: JobRow) -> JobDone | Failed | Cancelled | None:
        """Have a job separated; None if the studio ends before."""
        message = self._retried("a job cannot be looked up", lambda: self._pool.separation(job))
        if not isinstance(message, SeparationJob):
            return message
        try:
            connection = self._connection()
            connection.send(message)
            return self._await_end(connection, job, message.number)
        except (EOFError, OSError):
            how = self._end_child()
            if self._pool.is_ending:
                return None
            if self._pool.is_cancelled(job.id):
                return Cancelled(message.number)
            reason = (
                f"{message.name}: the process that worked on it ended ({how}); try it again, or a "
                "region of it"
            )
            return Failed(message.number, "Died", reason)

    def _await_end(
        self, connection: Connection, job: JobRow, number: int
    ) -> JobDone | Failed | Cancelled | None:
        """Receive messages until a job ends; pass on its progress, and its cancellation."""
        began_s = received_s = time.monotonic()
        is_cancel_sent = False
        while not self._pool.is_ending:
            if self._pool.is_cancelled(job.id) and not is_cancel_sent:
                connection.send(Cancel(number))
                is_cancel_sent = True
            if not connection.poll(_POLL_S):
                if time.monotonic() - received_s > self._pool.patience_s:
                    self._end_child()
                    reason = f"no progress for {self._pool.patience_s:g} s; given up"
                    return Failed(number, "Died", reason)
                continue
            received_s = time.monotonic()
            message = connection.recv()
            if isinstance(message, JobDone | Failed | Cancelled):
                return message
            if isinstance(message, Step):
                speed = message.done_s / max(1e-9, received_s - began_s)
                progress = LiveProgress(message.done_s, message.total_s, speed or None)
                self._pool.record_progress(job.id, progress)
        return None
