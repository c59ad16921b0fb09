"""Stacked harmonics: feature maps of the power at multiples of a band's frequency."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["Harmonics"]

_NOTHING = -7.0  # the logarithm that `Banded.features` gives to silence


class Harmonics(nn.Module):
    """Adds, for every band, the power at other multiples of its frequency.

    The overtones of a voice are at two, three and four times its fundamental frequency. With them
    as further feature maps, a small convolution sees a whole voice at any pitch and need not learn
    each pitch separately. These are the stacked harmonics of Bittner et al. 2017 (ISMIR); the paper
    has a logarithmic frequency axis.

    Parameters
    ----------
    width : Tensor [shape=(bands,)]
        Bins of each band; the first begins at 0 Hz.
    ratios : sequence of float
        Multiples of a band's frequency, one for each further map.
    """

    def __init__(self, width: Tensor, ratios: Sequence[float]) -> None:
        super().__init__()
        n = len(width)
        centre = torch.cumsum(width, 0) - width / 2
        place = torch.stack([_place(ratio * centre, centre) for ratio in ratios])
        below = place.floor().clamp(0, n - 2)
        self.below: Tensor
        self.share: Tensor
        self.heard: Tensor
        self.register_buffer("below", below.long(), persistent=False)
        self.register_buffer("share", (place - below).clamp(0, 1), persistent=False)
        self.register_buffer("heard", (place <= n - 1).float(), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return the features, followed by the harmonics of the first map.

        Parameters
        ----------
        features : Tensor [shape=(batch, maps, frames, bands)]
            Logarithms of power; the first map is that of mid.

        Returns
        -------
        Tensor [shape=(batch, maps + ratios, frames, bands)]
            Values between two bands are interpolated; above the highest band there is silence.
        """
        first = features[:, 0]
        maps = []
        for below, share, heard in zip(self.below, self.share, self.heard, strict=True):
            lower, upper = first[..., below], first[..., below + 1]
            maps.append(heard * (lower + share * (upper - lower)) + _NOTHING * (1 - heard))
        return torch.cat([features, torch.stack(maps, dim=1)], dim=1)


def _place(wanted: Tensor, centre: Tensor) -> Tensor:
    """Return the positions of frequencies between the bands' centres, in fractions of bands."""
    after = torch.searchsorted(centre, wanted).clamp(1, len(centre) - 1)
    low, high = centre[after - 1], centre[after]
    place: Tensor = after - 1 + (wanted - low) / (high - low)
    return place.clamp_min(0)
