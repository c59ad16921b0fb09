"""Workers of batches that heed a `Hold`, here and on a cluster.

Processes of workers import this module by name, so the folder of the tests must be in their path.
"""

from __future__ import annotations

from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from helpers.held_songs import Hold, held_viso, hold_songs
from viso.batch import cluster, local, worker
from viso.batch.cluster_worker import ClusterWorker, Hello
from viso.batch.protocol import Unable
from viso.batch.settings import SeparationConfig


class HeldWorker(ClusterWorker):
    """A worker of a cluster that heeds the hold beside the output folder."""

    def load(self) -> Hello | Unable:
        assert isinstance(self._out, Path)
        hold_songs(Hold(self._out.parent))
        return super().load()


def serve(beside: Path, connection: Connection, config: SeparationConfig, threads: int) -> None:
    """As `viso.batch.worker.serve`, heeding the hold beside a path."""
    hold_songs(Hold(beside))
    worker.serve(connection, config, threads)


def install(beside: Path, put: Any = setattr) -> None:
    """Let this process start such workers; `put` may be a monkeypatch's `setattr`."""
    put(cluster, "ClusterWorker", HeldWorker)
    put(local, "serve", partial(serve, beside))


def command_of_batch(hold: Hold) -> str:
    """Return the code of a `viso` whose workers heed a hold."""
    beside = str(hold.folder.parent)
    return held_viso(
        hold, first=f"from helpers import held_workers; held_workers.install(Path({beside!r}))"
    )
