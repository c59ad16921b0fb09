"""The stereo image: channels swapped, sources moved aside, wider or narrower."""

from __future__ import annotations

import torch
from torch import Tensor

from viso.train.augment.draw import uniform

__all__ = ["pan", "swap_channels", "widen"]


def swap_channels(audio: Tensor, chosen: Tensor) -> Tensor:
    """Swap left and right of the chosen chunks (Uhlich et al. 2017).

    Parameters
    ----------
    audio : Tensor [shape=(batch, 2, n)]
    chosen : bool Tensor [shape=(batch,)]
    """
    return torch.where(chosen[:, None, None], audio.flip(1), audio)


def pan(
    audio: Tensor, chosen: Tensor, *, most_db: float = 3.0, generator: torch.Generator
) -> Tensor:
    """Move the chosen chunks off the centre.

    Parameters
    ----------
    audio : Tensor [shape=(batch, 2, n)]
    chosen : bool Tensor [shape=(batch,)]
    most_db : float
        The level between the channels is drawn from minus to plus this, in decibels.
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
    """Scale what differs between the channels of the chosen chunks.

    Parameters
    ----------
    audio : Tensor [shape=(batch, 2, n)]
    chosen : bool Tensor [shape=(batch,)]
    width : (float, float)
        Range of the factor for the side (left - right) / 2: 0 gives mono, 1 leaves all as it
        was. The mid stays.
    generator : torch.Generator
    """
    factor = uniform(len(audio), *width, generator)[:, None, None]
    mid = audio.mean(dim=1, keepdim=True)
    return torch.where(chosen[:, None, None], torch.lerp(mid, audio, factor), audio)
