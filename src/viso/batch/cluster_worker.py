"""The worker on a cluster's node: an actor that holds one loaded model.

It gets the paths of songs, and reads and writes the files itself: no audio goes through Ray.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass

from viso._version import __version__
from viso.batch.database import FILE
from viso.batch.output_lease import MARK
from viso.batch.owners import this_host
from viso.batch.protocol import Done, Failed, Order, Step, Unable
from viso.batch.settings import SeparationConfig
from viso.batch.worker import separate_order
from viso.errors import VisoError
from viso.separator import Separator
from viso.stores.address import Address, Location
from viso.stores.objects import is_there

__all__ = ["ClusterWorker", "Hello"]

_STEP_S = 1.0  # between two progress messages: a thousand workers may report to one process
_PATIENCE_S = 15.0  # for a song to be given up


@dataclass(frozen=True)
class Hello:
    """A worker is ready: where it runs and what it separates with."""

    pid: int
    node: str
    host: str
    version: str
    facts: str
    sees_output: bool


class ClusterWorker:
    """Separates one song at a time; Ray calls its methods in threads of one process.

    Parameters
    ----------
    config : SeparationConfig
    threads : int
        CPU threads of each network; 0 takes all cores.
    out : Path or Address
        The output folder, absolute.
    """

    def __init__(self, config: SeparationConfig, threads: int, out: Location) -> None:
        self._config, self._threads, self._out = config, threads, out
        self._separator: Separator | None = None
        self._is_over = threading.Event()
        self._is_busy = threading.Lock()

    def load(self) -> Hello | Unable:
        """Load the model; return `Hello`, or `Unable` with the reason."""
        import ray

        try:
            loaded = self._config.separator(threads=self._threads)
        except VisoError as error:
            return Unable(type(error).__name__, str(error))
        self._separator = loaded
        try:
            sees = is_there(self._out / (MARK if isinstance(self._out, Address) else FILE))
        except VisoError as error:
            return Unable(type(error).__name__, f"node {this_host().split()[0]}: {error}")
        return Hello(
            os.getpid(),
            ray.get_runtime_context().get_node_id(),
            this_host().split()[0],
            __version__,
            self._config.facts(model=loaded.made_of, sha256=loaded.sha256, wiener=loaded.wiener),
            sees,
        )

    def separate(self, order: Order) -> Generator[Step | Done | Failed]:
        """See `separate_order`; after `stop` the stream ends early and leaves no file."""
        if self._separator is None:
            raise AssertionError("a worker loads its model first")
        sent_s = time.monotonic()
        with (
            self._is_busy,
            closing(separate_order(self._separator, self._config, order)) as events,
        ):
            for event in events:
                if self._is_over.is_set():
                    return
                if isinstance(event, Step):
                    if time.monotonic() - sent_s < _STEP_S:
                        continue
                    sent_s = time.monotonic()
                yield event

    def stop(self) -> None:
        """Give up the current song; return when none of its files is left."""
        self._is_over.set()
        if self._is_busy.acquire(timeout=_PATIENCE_S):
            self._is_busy.release()
