"""Cut songs that come in blocks of any size into windows of one size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Blocks", "Signals", "blocks_of", "stacked", "windows_of"]

Signals = npt.NDArray[Any]
Doubles = npt.NDArray[np.float64]
Blocks = Callable[[], Iterable[tuple[Signals, Signals]]]
"""A function that is called once for each pass over a song. It yields (references, estimates) from
start to end, both real and of one shape [shape=(sources, channels, n)] with any n."""

_BLOCK = 1 << 16


def blocks_of(references: Signals, estimates: Signals) -> Blocks:
    """Return whole arrays [shape=(sources, channels, n)] as `Blocks`.

    Raises
    ------
    ValueError
        If the shapes differ or do not have three axes.
    """
    references, estimates = np.asarray(references), np.asarray(estimates)
    _check(references, estimates, None)

    def blocks() -> Iterator[tuple[Signals, Signals]]:
        for first in range(0, references.shape[2], _BLOCK):
            part = slice(first, first + _BLOCK)
            yield references[:, :, part], estimates[:, :, part]

    return blocks


def stacked(blocks: Iterable[tuple[Signals, Signals]]) -> Iterator[Signals]:
    """Yield every block as one array, the references before the estimates.

    Yields
    ------
    array [shape=(2, sources, channels, n)]

    Raises
    ------
    ValueError
        If the blocks differ in sources or channels, or a block is not a pair of one shape.
    """
    wanted = None
    for references, estimates in blocks:
        _check(references, estimates, wanted)
        wanted = references.shape[:2]
        yield np.stack([references, estimates])


def _check(references: Signals, estimates: Signals, wanted: tuple[int, ...] | None) -> None:
    if references.shape != estimates.shape:
        raise ValueError(f"references have shape {references.shape}, estimates {estimates.shape}")
    if references.ndim != 3 or 0 in references.shape[:2]:
        raise ValueError(f"shape {references.shape} is not (sources, channels, samples)")
    if wanted is not None and references.shape[:2] != wanted:
        raise ValueError(f"a block of shape {references.shape} after (sources, channels) {wanted}")


def windows_of(
    blocks: Iterable[Signals], *, size: int, hop: int, lead: int = 0, rest: bool = False
) -> Iterator[Doubles]:
    """Yield the windows of a signal; the sizes of the blocks do not change them.

    Parameters
    ----------
    blocks : iterable of arrays [shape=(..., n)]
    size, hop : int
        Length of a window, and distance between the starts of two windows, in samples.
    lead : int
        Number of zeros before the signal.
    rest : bool
        Whether to yield the incomplete last window too, filled up with zeros.

    Yields
    ------
    float64 array [shape=(..., size)]
        Always the same buffer; the next window overwrites it.
    """
    buffer: Doubles | None = None
    filled, skip, kept = lead, 0, max(0, size - hop)
    for block in blocks:
        if buffer is None:
            buffer = np.zeros((*block.shape[:-1], size))
        first, n = 0, block.shape[-1]
        while first < n:
            if skip:
                step = min(skip, n - first)
                skip -= step
                first += step
                continue
            step = min(size - filled, n - first)
            buffer[..., filled : filled + step] = block[..., first : first + step]
            filled += step
            first += step
            if filled == size:
                yield buffer
                buffer[..., :kept] = buffer[..., size - kept :]
                filled, skip = kept, max(0, hop - size)
    if rest and buffer is not None and filled > lead:
        buffer[..., filled:] = 0
        yield buffer
