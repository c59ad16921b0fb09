"""The stereo image: swaps channels, pans sources, makes them wider or narrower."""

from __future__ import annotations

import torch
from torch import Tensor

from viso.train.augment.draw import uniform

__all__ = ["pan", "swap_channels", "widen"]


def swap_channels(audio: Tensor, chosen: Tensor) -> Tensor:
    """Swap the left and right channels of the chosen chunks (Uhlich et al. 2017).

    Parameters
    ----------
    audio : Tensor [shape=(batch, 2, n)]
    chosen : bool Tensor [shape=(batch,)]
    """
    return torch.where(chosen[:, None, None], audio.flip(1), audio)


def pan(
    audio: Tensor, chosen: Tensor, *, most_db: float = 3.0, generator: torch.Generator
) -> Tensor:
    """Pan the chosen chunks off the centre.

    Parameters
    ----------
    audio : Tensor [shape=(batch, 2, n)]
    chosen : bool Tensor [shape=(batch,)]
    most_db : float
        Range, from minus to plus this, of the level difference of the channels, in decibels.
    generator : torch.Generator
    """
    offset_db = uniform(len(audio), -most_db / 2, most_db / 2, generator) * chosen
    gains = 10 ** (torch.stack([offset_db, -offset_db], dim=1) / 20)
    return audio * gains[:, :, None]


def widen(
    audio: Tensor,
    chosen: Tensor,
    *,
    width: tuple[float, float] = (0.3, 1.6),
    generator: torch.Generator,
) -> Tensor:
    """Scale the difference of the channels of the chosen chunks.

    Parameters
    ----------
    audio : Tensor [shape=(batch, 2, n)]
    chosen : bool Tensor [shape=(batch,)]
    width : (float, float)
        Range of the factor for the side (left - right) / 2: 0 gives mono, 1 changes nothing. The
        mid stays the same.
    generator : torch.Generator
    """
    factor = uniform(len(audio), *width, generator)[:, None, None]
    mid = audio.mean(dim=1, keepdim=True)
    return torch.where(chosen[:, None, None], torch.lerp(mid, audio, factor), audio)
