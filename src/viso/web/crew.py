"""The workers of a studio: each a process, and a thread here that gives it one job after another.

If a process dies, its job has failed and the next job gets a new process.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

from viso.batch.child import Child
from viso.web.folders import Folders
from viso.web.hub import Hub
from viso.web.orders import (
    Cancel,
    Cancelled,
    Describe,
    Described,
    Done,
    Failed,
    Offer,
    Order,
    Step,
)
from viso.web.settings import StudioConfig
from viso.web.store import JobRow, Store
from viso.web.worker import work

__all__ = ["Crew", "Live"]

_POLL_S = 0.2
_PATIENCE_S = 2.0  # for a process to end
_RETRY_S = 5.0
_TRIES = 3  # of processes that die before they have told of the models

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Live:
    """How far a running job is, and how fast (times real time), if that is known."""

    done_s: float = 0.0
    total_s: float | None = None
    speed: float | None = None


class Crew:
    """Takes jobs from a store as they come, and works on them.

    Parameters
    ----------
    store : Store
    folders : Folders
    hub : Hub
        Told whenever something changes.
    config : StudioConfig

    Attributes
    ----------
    offers : tuple of Offer
        The models that can be run; empty until `are_described` is set.
    are_described : threading.Event
    """

    def __init__(self, store: Store, folders: Folders, hub: Hub, config: StudioConfig) -> None:
        self.offers: tuple[Offer, ...] = ()
        self.are_described = threading.Event()
        self._store, self._folders, self._hub, self._config = store, folders, hub, config
        self._news = threading.Condition()
        self._is_ending = False
        self._left: set[str] = set()
        self._live: dict[str, Live] = {}
        self._threads: list[threading.Thread] = []

    @property
    def pids(self) -> list[int]:
        """The processes that are alive, as the system numbers them."""
        return [
            thread.child.pid
            for thread in self._threads
            if isinstance(thread, _Hand) and thread.child is not None
        ]

    def start(self) -> None:
        """Begin to work."""
        self._threads = [
            _Hand(self, describes=number == 0) for number in range(self._config.n_jobs)
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

    def live(self, job: str) -> Live | None:
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
        """Wait for a job; None if the crew is to end."""
        with self._news:
            while not self._is_ending:
                if (job := self._claimed()) is not None:
                    self._live[job.id] = Live()
                    break
                self._news.wait(_RETRY_S)
            else:
                return None
        self._hub.tell()  # all others have moved up
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

    def has_moved(self, job: str, live: Live) -> None:
        """Note how far a job is."""
        self._live[job] = live
        self._hub.tell(job)

    def has_ended(self, job: JobRow, how: Done | Failed | Cancelled) -> None:
        """Note how a job ended, and remove what nobody can ask for."""
        expires_s = time.time() + self._config.keep_s
        if isinstance(how, Done):
            is_kept = self._store.end_job(
                job.id,
                "done",
                expires_s=expires_s,
                n_samples=how.n_samples,
                gain_db=how.gain_db,
                speed=how.n_samples / how.rate_hz / max(1e-9, how.took_s),
                loudness=None if how.loudness is None else json.dumps(how.loudness),
            )
        else:
            is_kept = False
            state = "failed" if isinstance(how, Failed) else "cancelled"
            error = how.reason if isinstance(how, Failed) else None
            self._store.end_job(job.id, state, expires_s=expires_s, error=error)
        if not is_kept:
            self._folders.remove_job(job.id)
        if self._store.song(job.song) is None:  # it was deleted meanwhile
            self._folders.remove_song(job.song)
        with self._news:
            self._left.discard(job.id)
            self._live.pop(job.id, None)
        self._hub.tell(job.id)

    def order(self, job: JobRow) -> Order | Failed | Cancelled:
        """Return what to tell a worker, or how the job ends without one."""
        song = self._store.song(job.song)
        if song is None:
            return Cancelled()
        said = next((offer.said for offer in self.offers if offer.name == job.model), None)
        if said is None:  # the studio was started again with others
            return Failed(f"{job.model}: is no longer on offer; choose another model")
        return Order(
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

    def has_described(self, told: Described | None) -> None:
        """Note what models there are; None if no process lived to tell."""
        if told is not None:
            self.offers = tuple({offer.name: offer for offer in told.offers}.values())
            for refusal in told.refusals:
                _log.warning("%s", refusal)
        self.are_described.set()

    @property
    def patience_s(self) -> float:
        """Seconds without a sign after which a job is given up."""
        return self._config.patience_s

    @property
    def models(self) -> tuple[str, ...]:
        """Models that the studio was told to offer."""
        return self._config.models


class _Hand(threading.Thread):
    """A thread with a process of its own."""

    def __init__(self, crew: Crew, *, describes: bool) -> None:
        super().__init__(name="viso-studio", daemon=True)
        self._crew, self._describes = crew, describes
        self.child: Child | None = None

    def run(self) -> None:
        try:
            if self._describes:
                self._crew.has_described(self._described())
            while (job := self._crew.next_job()) is not None:
                how = self._worked(job)
                if how is None:  # the studio ends
                    return
                self._note(job, how)
        finally:
            self._end_child()

    def _note(self, job: JobRow, how: Done | Failed | Cancelled) -> None:
        """Note how a job ended, however often it takes: the disk may be full for a while."""
        while not self._crew.is_ending:
            try:
                self._crew.has_ended(job, how)
            except sqlite3.Error:
                _log.exception("the end of a job cannot be noted; trying again")
                time.sleep(_RETRY_S)
            else:
                return

    def _connection(self) -> Connection:
        if self.child is None:
            self.child = self._crew.new_child()
        return self.child.connection

    def _end_child(self) -> str:
        child, self.child = self.child, None
        if child is None:
            return "could not be started"
        with suppress(OSError):
            child.connection.send(None)
        return child.end()

    def _described(self) -> Described | None:
        for _ in range(_TRIES):
            try:
                connection = self._connection()
                connection.send(Describe(self._crew.models))
                while not connection.poll(_POLL_S):
                    if self._crew.is_ending:
                        return None
                told = connection.recv()
                if isinstance(told, Described):
                    return told
            except (EOFError, OSError):
                _log.warning("a worker ended while it looked for models (%s)", self._end_child())
        return None

    def _worked(self, job: JobRow) -> Done | Failed | Cancelled | None:
        """Work on a job; None if the studio ends before."""
        order = self._crew.order(job)
        if not isinstance(order, Order):
            return order
        try:
            connection = self._connection()
            connection.send(order)
            return self._heard(connection, job)
        except (EOFError, OSError):
            how = self._end_child()
            if self._crew.is_ending:
                return None
            if self._crew.is_left(job.id):
                return Cancelled()
            return Failed(
                f"{order.name}: the process that worked on it ended ({how}); try it again, or a "
                "region of it"
            )

    def _heard(self, connection: Connection, job: JobRow) -> Done | Failed | Cancelled | None:
        began = heard = time.monotonic()
        is_told = False
        while not self._crew.is_ending:
            if self._crew.is_left(job.id) and not is_told:
                connection.send(Cancel(job.id))
                is_told = True
            if not connection.poll(_POLL_S):
                if time.monotonic() - heard > self._crew.patience_s:
                    self._end_child()
                    return Failed(f"no progress for {self._crew.patience_s:g} s; given up")
                continue
            heard = time.monotonic()
            event = connection.recv()
            if isinstance(event, Done | Failed | Cancelled):
                return event
            if isinstance(event, Step):
                speed = event.done_s / max(1e-9, heard - began)
                self._crew.has_moved(job.id, Live(event.done_s, event.total_s, speed or None))
        return None
