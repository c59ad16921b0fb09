"""Random choice: which chunks an augmentation changes, and by how much."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

import torch
from torch import Tensor

__all__ = ["on_chosen", "picked", "shuffle", "some", "uniform"]

P = ParamSpec("P")


def uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Return `n` numbers drawn uniformly from low to high [shape=(n,)]."""
    drawn = torch.rand(n, generator=generator, device=generator.device)
    return low + (high - low) * drawn


def some(n: int, share: float, generator: torch.Generator) -> Tensor:
    """Choose a share of `n` chunks.

    Their number is `n * share`, rounded up or down at random. So the share is right on average,
    and every batch costs about the same.

    Parameters
    ----------
    n : int
    share : float
        From 0 to 1.
    generator : torch.Generator

    Returns
    -------
    bool Tensor [shape=(n,)]
    """
    order = torch.rand(n, generator=generator, device=generator.device).argsort()
    return order < (n * share + uniform(1, 0.0, 1.0, generator)).floor()


def picked(chosen: Tensor) -> Tensor:
    """Return the indices of the chosen rows [shape=(k,)].

    On a GPU this waits for the choice, once per augmentation; it saves the work on the chunks
    that are not chosen, usually most of them.
    """
    return torch.nonzero(chosen)[:, 0]


def on_chosen(
    augment: Callable[Concatenate[Tensor, P], Tensor],
) -> Callable[Concatenate[Tensor, Tensor, P], Tensor]:
    """Turn an augmentation of all chunks into an augmentation of the chosen chunks.

    Parameters
    ----------
    augment : callable
        Takes chunks [shape=(k, 2, n)] and keywords, returns chunks of that shape. It does not
        change its input.

    Returns
    -------
    callable
        Takes `audio` [shape=(batch, 2, n)], `chosen` [shape=(batch,)] and the keywords. It passes
        the chosen chunks to `augment`; the others come back bit for bit.
    """

    @wraps(augment)
    def augmented(audio: Tensor, chosen: Tensor, /, *args: P.args, **keywords: P.kwargs) -> Tensor:
        rows = picked(chosen)
        if not len(rows):
            return audio
        return audio.index_copy(0, rows, augment(audio[rows], *args, **keywords))

    return augmented


def shuffle(audio: Tensor, chosen: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Permute the chosen chunks of one source, to mix sources of different songs.

    Parameters
    ----------
    audio : Tensor [shape=(batch, 2, n)]
    chosen : bool Tensor [shape=(batch,)]
    generator : torch.Generator

    Returns
    -------
    audio : Tensor [shape=(batch, 2, n)]
    order : int64 Tensor [shape=(batch,)]
        The old index of the chunk in each row, to permute other facts about the chunks. If two or
        more chunks are chosen, none of them keeps its row.

    References
    ----------
    Uhlich et al., "Improving music source separation based on deep neural networks through
    data augmentation and network blending", ICASSP 2017.
    """
    rows = picked(chosen)
    # Each row passes its chunk to the next in one ring of random order: unlike a permutation
    # drawn from all, this has no fixed points.
    ring = rows[torch.rand(len(rows), generator=generator, device=rows.device).argsort()]
    order = torch.arange(len(audio), device=audio.device)
    order[ring] = ring.roll(1)
    return audio[order] if len(rows) else audio, order
