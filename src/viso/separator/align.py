"""Streams that run at different delays, brought back into step."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["Lockstep"]

Number = TypeVar("Number", np.float32, np.complex64)


class Lockstep(Generic[Number]):
    """Takes the pieces of some streams, gives back what has come of all of them.

    Parameters
    ----------
    n_streams : int
    """

    def __init__(self, n_streams: int) -> None:
        self._waiting: list[deque[npt.NDArray[Number]]] = [deque() for _ in range(n_streams)]

    def add(self, stream: int, piece: npt.NDArray[Number]) -> None:
        """Add the next piece [shape=(..., any)] of a stream; the last axis is time."""
        queue = self._waiting[stream]
        if piece.shape[-1] or not queue:
            queue.append(piece)

    def step(self, *pieces: npt.NDArray[Number]) -> list[npt.NDArray[Number]]:
        """Add a piece to every stream, and take."""
        for stream, piece in enumerate(pieces):
            self.add(stream, piece)
        return self.take()

    def take(self) -> list[npt.NDArray[Number]]:
        """Return the next array of every stream, all as long; of each, a piece has been added."""
        n = min(sum(piece.shape[-1] for piece in queue) for queue in self._waiting)
        return [_taken(queue, n) for queue in self._waiting]


def _taken(queue: deque[npt.NDArray[Number]], n: int) -> npt.NDArray[Number]:
    """Take `n` moments from the front of a queue; one piece, if empty, always stays."""
    parts = []
    while n:
        piece = queue.popleft()
        parts.append(piece[..., :n])
        n -= parts[-1].shape[-1]
        if n == 0:
            rest = piece[..., parts[-1].shape[-1] :]
            # A view of nothing would keep the whole piece in memory.
            queue.appendleft(rest if rest.size else rest.copy())
    if not parts:
        return queue[0][..., :0]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
