"""The workers of a studio: each a process, and a thread here that gives it one job after another.

If a process dies, its job has failed and the next job gets a new process.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time

from viso.batch.child import Child
from viso.studio.folders import Folders
from viso.studio.job_events import JobEvents
from viso.studio.messages import (
    Assignment,
    DescribedModels,
    JobCancelled,
    JobDone,
    JobFailed,
    LiveProgress,
    OfferedModel,
)
from viso.studio.removal import Remover
from viso.studio.settings import StudioConfig
from viso.studio.store import Store
from viso.studio.tables import JobRow
from viso.studio.worker import work
from viso.studio.worker_thread import WorkerThread

__all__ = ["WorkerPool"]

_PATIENCE_S = 2.0  # for a process to end
_RETRY_S = 5.0

_log = logging.getLogger(__name__)


class WorkerPool:
    """Takes jobs from a store as they come, and works on them.

    Parameters
    ----------
    store : Store
    folders : Folders
    remover : Remover
    events : JobEvents
        Told whenever something changes.
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
        self._news = threading.Condition()
        self._is_ending = False
        self._left: set[str] = set()
        self._live: dict[str, LiveProgress] = {}
        self._threads: list[WorkerThread] = []

    @property
    def pids(self) -> list[int]:
        """The processes that are alive, as the system numbers them."""
        return [thread.child.pid for thread in self._threads if thread.child is not None]

    def start(self) -> None:
        """Begin to work."""
        self._threads = [
            WorkerThread(self, describes=number == 0) for number in range(self._config.n_jobs)
        ]
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Say that a job waits."""
        with self._news:
            self._news.notify_all()

    def leave(self, job: str) -> None:
        """Have a job left that may be running."""
        with self._news:
            if job in self._live:
                self._left.add(job)

    def live(self, job: str) -> LiveProgress | None:
        """Return how far a running job is."""
        return self._live.get(job)

    def stop(self) -> None:
        """End all processes; jobs that run stay noted as running, to be done again."""
        with self._news:
            self._is_ending = True
            self._news.notify_all()
        for thread in self._threads:
            thread.join()

    # What the threads use.

    def next_job(self) -> JobRow | None:
        """Wait for a job; None if the pool is to end."""
        with self._news:
            while not self._is_ending:
                if (job := self._claimed()) is not None:
                    self._live[job.id] = LiveProgress()
                    break
                self._news.wait(_RETRY_S)
            else:
                return None
        self._events.tell()  # all others have moved up
        return job

    def _claimed(self) -> JobRow | None:
        try:
            return self._store.claim()
        except sqlite3.Error:
            _log.exception("no job can be begun; trying again")
            return None

    def is_left(self, job: str) -> bool:
        """Whether a job is to be left."""
        return job in self._left

    @property
    def is_ending(self) -> bool:
        """Whether all is to be left."""
        return self._is_ending

    @property
    def is_whole(self) -> bool:
        """Whether every thread that was started still works."""
        return self._is_ending or all(thread.is_alive() for thread in self._threads)

    def pause(self) -> None:
        """Wait before something is tried again; not if all is to be left."""
        with self._news:
            self._news.wait_for(lambda: self._is_ending, _RETRY_S)

    def has_moved(self, job: str, live: LiveProgress) -> None:
        """Note how far a job is."""
        self._live[job] = live
        self._events.tell(job)

    def has_ended(self, job: JobRow, how: JobDone | JobFailed | JobCancelled) -> None:
        """Note how a job ended, and remove what nobody can ask for; again, it changes nothing.

        Raises
        ------
        sqlite3.Error
            If it cannot be noted, or not be read what was.
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
            state = "failed" if isinstance(how, JobFailed) else "cancelled"
            error = how.reason if isinstance(how, JobFailed) else None
            self._store.end_job(job.id, state, expires_s=expires_s, error=error)
        # Not what `end_job` returns: at a second try the job has ended before.
        row = self._store.job(job.id)
        if row is None or row.state != "done":
            self._remover.remove("job", job.id)
        if ("song", job.song) in self._store.removals():  # it was deleted meanwhile
            self._remover.remove("song", job.song)
        with self._news:
            self._left.discard(job.id)
            self._live.pop(job.id, None)
        self._events.tell(job.id)

    def order(self, job: JobRow) -> Assignment | JobFailed | JobCancelled:
        """Return what to tell a worker, or how the job ends without one."""
        song = self._store.song(job.song)
        if song is None:
            return JobCancelled()
        said = next((offered.said for offered in self.offers if offered.name == job.model), None)
        if said is None:  # the studio was started again with others
            return JobFailed(f"{job.model}: is no longer on offered; choose another model")
        return Assignment(
            job=job.id,
            song=self._folders.song(job.song),
            name=song.name,
            model=said,
            start_s=job.start_s,
            duration_s=job.duration_s,
            folder=self._folders.job(job.id),
            most_s=self._config.length_s,
        )

    def new_child(self) -> Child:
        """Start a process."""
        return Child(
            work, (self._config.threads,), name="viso-studio-worker", patience_s=_PATIENCE_S
        )

    def has_described(self, told: DescribedModels | None) -> None:
        """Note what models there are; None if no process lived to tell."""
        if told is not None:
            self.offers = tuple({offered.name: offered for offered in told.offers}.values())
            for refusal in told.refusals:
                _log.warning("%s", refusal)
        self.are_described.set()

    @property
    def patience_s(self) -> float:
        """Seconds without a sign after which a job is given up."""
        return self._config.patience_s

    @property
    def models(self) -> tuple[str, ...]:
        """Models that the studio was told to offered."""
        return self._config.models
