"""Aligns streams that have different delays."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["StreamAligner"]

Number = TypeVar("Number", np.float32, np.complex64)


class StreamAligner(Generic[Number]):
    """Takes blocks of several streams and returns the samples that all of them have.

    Parameters
    ----------
    n_streams : int
    """

    def __init__(self, n_streams: int) -> None:
        self._waiting: list[deque[npt.NDArray[Number]]] = [deque() for _ in range(n_streams)]

    def add(self, stream: int, block: npt.NDArray[Number]) -> None:
        """Add the next block [shape=(..., any)] of a stream; the last axis is time."""
        queue = self._waiting[stream]
        if block.shape[-1] or not queue:
            queue.append(block)

    def step(self, *blocks: npt.NDArray[Number]) -> list[npt.NDArray[Number]]:
        """Add a block to every stream, then call `take`."""
        for stream, block in enumerate(blocks):
            self.add(stream, block)
        return self.take()

    def take(self) -> list[npt.NDArray[Number]]:
        """Return the next array of every stream, all of one length; each stream needs a block."""
        n = min(sum(block.shape[-1] for block in queue) for queue in self._waiting)
        return [_taken(queue, n) for queue in self._waiting]


def _taken(queue: deque[npt.NDArray[Number]], n: int) -> npt.NDArray[Number]:
    """Take `n` samples or frames from the front of a queue; leave a block, even if it is empty."""
    parts = []
    while n:
        block = queue.popleft()
        parts.append(block[..., :n])
        n -= parts[-1].shape[-1]
        if n == 0:
            rest = block[..., parts[-1].shape[-1] :]
            # An empty view would keep the whole block in memory.
            queue.appendleft(rest if rest.size else rest.copy())
    if not parts:
        return queue[0][..., :0]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
