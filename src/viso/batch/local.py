"""Separate songs in processes of this machine, each with its own model.

The standard library's pool loses all its work if one of its processes is killed. Here such a death
is an event of one song, and the next song gets a new process.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait

from viso import errors
from viso.batch.child import Child
from viso.batch.protocol import Died, Event, Order, Ready, Step, Unable
from viso.batch.settings import SeparationConfig
from viso.batch.worker import serve
from viso.errors import ConfigError, ModelError
from viso.separator.uninterrupted import uninterrupted

__all__ = ["LocalEngine", "n_cores", "usual_jobs"]

_WORKER_BYTES = 500e6  # that a process takes with a large model
_STILLBORN = 4  # processes in a row that die before they load their model
_SILENT_S = 600.0  # without a sign of life: a step takes seconds, with the largest models minutes


def n_cores() -> int:
    """Return the number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows
        return os.cpu_count() or 1


def usual_jobs() -> int:
    """Return the usual number of songs at a time: one for each core, if memory allows."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return n_cores()
    return max(1, min(n_cores(), int(memory / 2 / _WORKER_BYTES)))


class _Worker(Child):
    """A process and the order it works on."""

    def __init__(self, config: SeparationConfig, threads: int) -> None:
        super().__init__(serve, (config, threads), name="viso-worker")
        self.order: Order | None = None
        self.is_ready = False
        self.silent_s = 0.0


class LocalEngine:
    """Separates songs in processes of this machine; see `Engine`.

    Parameters
    ----------
    config : SeparationConfig
    n_jobs : int
        Processes that run at the same time.
    threads : int
        CPU threads of each network; 0 takes all cores.
    patience_s : float
        Seconds without a sign of life from a working process, until it is ended and its song
        fails. Seconds in which this process itself was stopped do not count.

    Raises
    ------
    ConfigError
        If `n_jobs` is less than 1 or `threads` less than 0.
    """

    def __init__(
        self,
        config: SeparationConfig,
        *,
        n_jobs: int,
        threads: int,
        patience_s: float = _SILENT_S,
    ) -> None:
        if n_jobs < 1 or threads < 0:
            raise ConfigError(f"{n_jobs} jobs of {threads} threads: need 1 or more, 0 or more")
        self._config, self._threads = config, threads
        self._patience_s = patience_s
        self.n_jobs = n_jobs
        self._workers: list[_Worker] = []
        self._n_stillborn = 0

    @property
    def pids(self) -> list[int]:
        """The ids of the processes."""
        return [worker.pid for worker in self._workers]

    def submit(self, order: Order) -> None:
        """See `Engine.submit`."""
        worker = next((worker for worker in self._workers if worker.order is None), None)
        if worker is None:
            if len(self._workers) >= self.n_jobs:
                raise AssertionError("more orders than jobs")
            # An interrupt between the start and the append would lose the process.
            with uninterrupted():
                worker = _Worker(self._config, self._threads)
                self._workers.append(worker)
        worker.order, worker.silent_s = order, 0.0
        # If it has died, `events` learns it from the connection.
        with suppress(OSError):
            worker.connection.send(order)

    def events(self, *, timeout_s: float) -> list[Event]:
        """See `Engine.events`."""
        if not self._workers:
            time.sleep(timeout_s)
            return []
        began = time.monotonic()
        ready = wait([worker.connection for worker in self._workers], timeout_s)
        waited_s = min(time.monotonic() - began, timeout_s)  # longer only if we were stopped
        found: list[Event] = []
        for worker in list(self._workers):
            if worker.connection in ready:
                worker.silent_s = 0.0
                found.extend(self._receive(worker))
            elif worker.is_ready and worker.order is not None:
                worker.silent_s += waited_s
                if worker.silent_s > self._patience_s:
                    found.extend(self._end_silent(worker, worker.order))
        return found

    def _end_silent(self, worker: _Worker, order: Order) -> list[Event]:
        """End a process that hangs, in a decoder or on a drive that does not answer."""
        worker.process.kill()
        reason = (
            f"{order.song}: its process gave no sign of life for {self._patience_s:g} s and was "
            "ended; if its drive answers the file is damaged: convert it to WAV"
        )
        return [replace(event, reason=reason) for event in self._record_death(worker)]

    def _receive(self, worker: _Worker) -> list[Event]:
        found: list[Event] = []
        try:
            while worker.connection.poll():
                message = worker.connection.recv()
                if isinstance(message, Ready):
                    worker.is_ready, self._n_stillborn = True, 0
                elif isinstance(message, Unable):
                    raise getattr(errors, message.kind, ModelError)(message.reason)
                else:
                    found.append(message)
                    if not isinstance(message, Step):
                        worker.order = None
        except (EOFError, OSError):
            found.extend(self._record_death(worker))
        return found

    def _record_death(self, worker: _Worker) -> list[Died]:
        self._workers.remove(worker)
        how = worker.end()
        if not worker.is_ready:
            self._n_stillborn += 1
            if self._n_stillborn >= _STILLBORN:
                raise ConfigError(
                    f"{self._n_stillborn} processes in a row ended before their model was loaded "
                    f"({how}); take fewer jobs, and in a script start the batch below "
                    "if __name__ == '__main__'"
                )
        return [] if worker.order is None else [Died(worker.order.number, how, worker.pid)]

    def stop(self) -> None:
        """See `Engine.stop`."""
        with uninterrupted():
            for worker in self._workers:
                _tell_to_stop(worker.connection)
            while self._workers:
                self._workers.pop().end()


def _tell_to_stop(connection: Connection) -> None:
    with suppress(OSError):
        connection.send(None)
