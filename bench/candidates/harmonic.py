"""The flagship with harmonics laid over each other, as in harmonic constant-Q features.

Where a voice has its fundamental in a band, its overtones stand in the bands at two, three and
four times that frequency. Here every band also sees the power of the middle there, and at a
half and a third of its frequency, so that a 3x3 convolution sees a whole voice at any pitch and
need not learn each pitch by itself (the stacked harmonics of Bittner et al. 2017, there over a
logarithmic axis). All else is `Viso`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from viso.config import SpectralConfig
from viso.train.networks.viso import N_FEATURES, Viso
from viso.train.recipe import VisoSettings

__all__ = ["Harmonic"]

RATIOS = (1 / 3, 1 / 2, 2.0, 3.0, 4.0)


class Harmonic(Viso):
    """See the module.

    Parameters
    ----------
    settings : VisoSettings
    spectral : SpectralConfig
    """

    def __init__(self, settings: VisoSettings, spectral: SpectralConfig) -> None:
        super().__init__(settings, spectral, inputs=N_FEATURES + len(RATIOS))
        width = self.bands.width
        centre = torch.cumsum(width, 0) - width / 2
        n = self.bands.n_bands
        at = torch.stack([_place(ratio * centre, centre) for ratio in RATIOS])
        self.below: Tensor
        self.share: Tensor
        self.heard: Tensor
        below = at.floor().clamp(0, n - 2)
        self.register_buffer("below", below.long(), persistent=False)
        self.register_buffer("share", (at - below).clamp(0, 1), persistent=False)
        self.register_buffer("heard", (at <= n - 1).float(), persistent=False)

    def raw_logits(self, features: Tensor) -> Tensor:
        """See `Viso.raw_logits`; takes the four feature maps."""
        middle = features[:, 0]
        stacked = []
        for below, share, heard in zip(self.below, self.share, self.heard, strict=True):
            lower, upper = middle[..., below], middle[..., below + 1]
            there = lower + share * (upper - lower)
            stacked.append(heard * there - 7 * (1 - heard))  # silence, above the highest band
        return super().raw_logits(torch.cat([features, torch.stack(stacked, dim=1)], dim=1))


def _place(wanted: Tensor, centre: Tensor) -> Tensor:
    """Return where frequencies lie among the bands' centres, in bands and parts of one."""
    after = torch.searchsorted(centre, wanted).clamp(1, len(centre) - 1)
    low, high = centre[after - 1], centre[after]
    place: Tensor = after - 1 + (wanted - low) / (high - low)
    return place.clamp_min(0)
