"""An engine separates the songs of a batch: processes of this machine, or a cluster.

An engine knows nothing of manifests and plans. It takes orders and reports their progress and how
they ended. It must see the output folder under the path that the orders have.
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
        Orders that it takes at a time; it may change.
    pids : sequence of int
        Processes that write the files of orders, as their machines number them.
    """

    @property
    def n_jobs(self) -> int: ...

    @property
    def pids(self) -> Sequence[int]: ...

    def submit(self, order: Order) -> None:
        """Begin a song; no more than `n_jobs` at a time, but for those whose worker `Died`."""
        ...

    def events(self, *, timeout_s: float) -> list[Event]:
        """Return what has happened since, after waiting for it no longer than this.

        Raises
        ------
        VisoError
            If no song can be separated, whichever it is.
        """
        ...

    def stop(self) -> None:
        """End all that runs, and remove what is half-made. Nothing may be submitted after."""
        ...
