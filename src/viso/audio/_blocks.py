"""Cuts a stream of blocks of any size into blocks of one size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

__all__ = ["Block", "reblock"]

Block = npt.NDArray[np.float32]
"""Sound [shape=(channels, samples), float32, full scale = 1.0]."""


def reblock(chunks: Iterable[Block], block_size: int) -> Iterator[Block]:
    """Yield the same samples in blocks of `block_size`; only the last may be shorter.

    Parameters
    ----------
    chunks : iterable of np.ndarray [shape=(channels, any)]
    block_size : int > 0
        Samples per block.

    Yields
    ------
    np.ndarray [shape=(channels, block_size)], C-contiguous, owned by the receiver
    """
    waiting: list[Block] = []
    n_waiting = 0
    for chunk in chunks:
        waiting.append(chunk)
        n_waiting += chunk.shape[1]
        if n_waiting < block_size:
            continue
        joined = waiting[0] if len(waiting) == 1 else np.concatenate(waiting, axis=1)
        n_whole = n_waiting - n_waiting % block_size
        for start in range(0, n_whole, block_size):
            yield joined[:, start : start + block_size].copy()
        waiting, n_waiting = [joined[:, n_whole:]], n_waiting - n_whole
    if n_waiting:
        yield np.concatenate(waiting, axis=1)
