"""Carry out a plan on a Ray cluster, with one actor and one model for each worker.

Claims and manifest stay with the process that coordinates the batch. Ray retries nothing: when an
actor dies, its song gets an event, and the batch submits the song once more.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Self

from viso import errors
from viso._version import __version__
from viso.batch.claims import remove_hidden
from viso.batch.cluster_worker import ClusterWorker, Hello
from viso.batch.planning import Plan
from viso.batch.protocol import Died, Done, Event, Order, Step, Unable
from viso.batch.settings import SeparationConfig
from viso.errors import ConfigError, ModelError, how_to_install
from viso.stores.address import absolute

__all__ = ["Cluster", "RayEngine"]

_LOOK_S = 2.0  # between two looks at the nodes
_NOBODY_S = 600.0  # without any worker, until the batch gives up
_PATIENCE_S = 20.0  # for all workers to give up their songs
_STILLBORN = 4  # workers in a row that die before they load their model


class Cluster:
    """A connection to a Ray cluster, for a ``with`` block; see docs/serve/scale.md for an example.

    Parameters
    ----------
    address : str
        "auto" finds the cluster that this machine belongs to, "host:6379" names one, "local"
        starts one on this machine alone.

    Raises
    ------
    ConfigError
        If Ray is not installed or there is no such cluster.
    """

    def __init__(self, address: str = "auto") -> None:
        if address.startswith("ray://"):
            raise ConfigError(
                f"address {address!r}: Ray's client port cannot stream; run viso on a node of the "
                "cluster, with the address auto"
            )
        try:
            import ray
        except ImportError as error:
            raise ConfigError(
                f"engine ray: Ray is not installed; it needs the extra [cluster]: "
                f"{how_to_install('cluster')}"
            ) from error
        self._ray: Any = ray
        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            _connect(ray, address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_ours:
            self._ray.shutdown()

    def n_slots(self, config: SeparationConfig, *, threads: int = 1) -> int:
        """Return how many workers fit on the live nodes, at least 1.

        Parameters
        ----------
        config : SeparationConfig
            With the device "cuda" each worker takes a GPU.
        threads : int
            CPU threads of each worker, and so its cores.
        """
        return max(1, _n_slots(self._ray, _needs(config, threads)))

    def engine(self, plan: Plan) -> RayEngine:
        """Return an engine that carries out a plan on this cluster; see `viso.batch.run`."""
        return RayEngine(self._ray, plan)


def _connect(ray: Any, address: str) -> None:
    how = {"include_dashboard": False} if address == "local" else {}
    # Ray's handler would end the process at once; viso's clears up first.
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **how)
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"address {address!r}: no Ray cluster answers ({' '.join(str(error).split()):.200}); "
            "begin one with ray start --head, or say --address local"
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _needs(config: SeparationConfig, threads: int) -> dict[str, float]:
    needs = {"CPU": float(max(1, threads))}
    return {**needs, "GPU": 1.0} if config.device == "cuda" else needs


def _n_slots(ray: Any, needs: dict[str, float]) -> int:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(min(int(node.get(what, 0.0) // n) for what, n in needs.items()) for node in nodes)


@dataclass
class _Remote:
    """An actor; its next messages come through `stream`."""

    actor: Any
    stream: Any
    hello: Hello | None = None
    order: Order | None = None

    @property
    def is_free(self) -> bool:
        return self.hello is not None and self.order is None


class RayEngine:
    """Separates songs in actors of a cluster; see `Engine` and `Cluster.engine`.

    A song goes only to a worker that is ready and idle, so the batch claims no more songs than it
    works on. The engine starts workers as nodes join, up to the plan's jobs, and replaces workers
    that died.
    """

    def __init__(self, ray: Any, plan: Plan) -> None:
        self._ray, self._plan = ray, plan
        self._wanted = min(plan.n_jobs, max(1, len(plan.tasks)))
        self._needs = _needs(plan.config, plan.threads)
        self._workers: list[_Remote] = []
        self._waiting: list[Order] = []
        self._died_on: dict[int, str] = {}
        self._looked_s = float("-inf")
        self._served_s = time.monotonic()
        self._n_stillborn = 0

    @property
    def n_jobs(self) -> int:
        """How many workers are ready; 1 while there is none."""
        return max(1, len(self.pids))

    @property
    def pids(self) -> list[int]:
        """The workers' process ids, each on its own machine."""
        return [worker.hello.pid for worker in self._workers if worker.hello]

    def submit(self, order: Order) -> None:
        """See `Engine.submit`."""
        self._waiting.append(order)
        self._hand_out()

    def events(self, *, timeout_s: float) -> list[Event]:
        """See `Engine.events`."""
        try:
            return self._received(timeout_s)
        except self._ray.exceptions.RayError as error:
            text = " ".join(str(error).split()) or type(error).__name__
            raise ConfigError(
                f"the cluster does not answer any more ({text:.200}); begin it again, and the same "
                "command goes on where it stopped"
            ) from error

    def _received(self, timeout_s: float) -> list[Event]:
        self._tend()
        streams = {one.stream: one for one in self._workers if one.stream is not None}
        if not streams:
            time.sleep(timeout_s)
            return []
        # The first call waits for one message; the second collects all that have arrived.
        self._ray.wait(list(streams), timeout=timeout_s)
        ready, _ = self._ray.wait(list(streams), num_returns=len(streams), timeout=0)
        found: list[Event] = []
        for stream in ready:
            found.extend(self._receive(streams[stream]))
        self._hand_out()
        return found

    def _tend(self) -> None:
        """Start workers where there is room."""
        now = time.monotonic()
        if any(worker.hello for worker in self._workers):
            self._served_s = now
        elif now - self._served_s > _NOBODY_S:
            raise ConfigError(
                f"the cluster gave no worker {self._needs} for {_NOBODY_S:.0f} s; see ray status, "
                "and start the batch again: it goes on where it stopped"
            )
        if now - self._looked_s < _LOOK_S:
            return
        self._looked_s = now
        n_slots = max(1, _n_slots(self._ray, self._needs))
        for _ in range(min(self._wanted, n_slots) - len(self._workers)):
            self._workers.append(self._started())

    def _started(self) -> _Remote:
        plan = self._plan
        kind = self._ray.remote(
            num_cpus=self._needs["CPU"],
            num_gpus=self._needs.get("GPU", 0),
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=3,  # so that `stop` runs beside a song and beside one that is ending
        )(ClusterWorker)
        actor = kind.remote(plan.config, plan.threads, absolute(plan.out))
        return _Remote(actor, actor.load.remote())

    def _hand_out(self) -> None:
        for order in list(self._waiting):
            worker = self._worker_for(order)
            if worker is None:
                continue
            self._waiting.remove(order)
            worker.order = order
            # Another node has another working folder, so paths must be absolute.
            table = None if order.table is None else absolute(order.table)
            targets = {stem: absolute(place) for stem, place in order.targets.items()}
            there = replace(order, song=absolute(order.song), targets=targets, table=table)
            method = worker.actor.separate.options(num_returns="streaming")
            worker.stream = method.remote(there)

    def _worker_for(self, order: Order) -> _Remote | None:
        """Return a free worker; if the song's worker died, one on another node where possible."""
        died_on = self._died_on.get(order.number)
        elsewhere = [w for w in self._workers if w.hello and w.hello.node != died_on]
        return next((w for w in elsewhere or self._workers if w.is_free), None)

    def _receive(self, worker: _Remote) -> list[Event]:
        """Take the next message of a worker, and return its events."""
        ray = self._ray
        try:
            if worker.hello is None:
                self._check_hello(worker, ray.get(worker.stream))
                return []
            event: Event = ray.get(next(worker.stream))
        except (ray.exceptions.RayError, StopIteration) as error:
            return self._record_death(worker, error)
        if isinstance(event, Step):
            return [event]
        order, worker.order, worker.stream = worker.order, None, None
        self._died_on.pop(event.number, None)
        if isinstance(event, Done) and order is not None:
            # The report names the paths of the order, not those of the node.
            report = replace(event.report, song=order.song, outputs=order.targets)
            event = replace(event, report=report)
        return [event]

    def _check_hello(self, worker: _Remote, answer: Hello | Unable) -> None:
        if isinstance(answer, Unable):
            raise getattr(errors, answer.kind, ModelError)(answer.reason)
        if answer.version != __version__:
            raise ConfigError(
                f"node {answer.host}: has viso {answer.version}, here is {__version__}; install "
                "one version on all nodes"
            )
        if answer.facts != self._plan.facts:
            raise ModelError(
                f"node {answer.host}: {self._plan.config.model} is another model there; put the "
                "same file on all nodes"
            )
        if not answer.sees_output:
            raise ConfigError(
                f"node {answer.host}: does not see {absolute(self._plan.out)}; songs and output "
                "must lie in a store, or on a file system that all nodes have under the same path"
            )
        worker.hello, worker.stream = answer, None
        self._n_stillborn = 0

    def _record_death(self, worker: _Remote, error: Exception) -> list[Event]:
        self._workers.remove(worker)
        self._ray.kill(worker.actor)
        text = (str(error).strip() or type(error).__name__).splitlines()[0]
        if worker.hello is None:
            self._n_stillborn += 1
            if self._n_stillborn >= _STILLBORN:
                raise ConfigError(
                    f"{self._n_stillborn} workers in a row ended before their model was loaded "
                    f"({text:.200}); is viso installed on all nodes?"
                ) from error
            return []
        if worker.order is None:
            return []
        self._died_on[worker.order.number] = worker.hello.node
        # A living worker on another machine may have the same pid; it would lose its files.
        pid = None if worker.hello.pid in self.pids else worker.hello.pid
        return [Died(worker.order.number, f"{text:.200} on {worker.hello.host}", pid)]

    def stop(self) -> None:
        """See `Engine.stop`."""
        self._waiting.clear()
        busy = [worker for worker in self._workers if worker.order]
        try:
            # A lost cluster can raise any kind of error.
            with suppress(Exception):
                if stops := [worker.actor.stop.remote() for worker in busy]:
                    self._ray.wait(stops, num_returns=len(stops), timeout=_PATIENCE_S)
            while self._workers:
                with suppress(Exception):
                    self._ray.kill(self._workers.pop().actor)
        finally:
            # Some workers ended before they could clear up, as when the whole cluster is stopped.
            for worker in busy:
                if worker.hello and worker.order:
                    remove_hidden(worker.order.targets.values(), worker.hello.pid)
