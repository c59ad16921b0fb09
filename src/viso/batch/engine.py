"""An engine separates the songs of a batch: processes of this machine, or a cluster.

An engine knows nothing about manifests and plans. It takes orders, and reports their progress and
results. It must see the output folder under the path that the orders give.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from viso.batch.protocol import Event, Order

__all__ = ["Engine"]


class Engine(Protocol):
    """Separates songs, several at a time.

    Attributes
    ----------
    n_jobs : int
        How many orders it takes at a time; this may change.
    pids : sequence of int
        Ids of the processes that write the orders' files, each on its own machine.
    """

    @property
    def n_jobs(self) -> int: ...

    @property
    def pids(self) -> Sequence[int]: ...

    def submit(self, order: Order) -> None:
        """Begin a song; at most `n_jobs` run at a time, not counting songs whose worker `Died`."""
        ...

    def events(self, *, timeout_s: float) -> list[Event]:
        """Return the events since the last call; wait at most `timeout_s` for one.

        Raises
        ------
        VisoError
            If the engine cannot separate any song.
        """
        ...

    def stop(self) -> None:
        """End all workers and remove unfinished files. Nothing may be submitted after this."""
        ...
