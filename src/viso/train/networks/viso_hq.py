"""The larger network: a second, wider `viso` that corrects the mask of the first.

    features of the mixture      (B, 4, T, N) ---+------------------+
    first viso, as it was                        |                  |
    logits of its masks          (B, 2, T, N) <--+----> / 4, tanh --+
    second viso, with a memory   (B, 2, T, N) <---------------------+
    sum, sigmoid                 (B, 2, T, N)      masks of mid and side

The second begins with a last layer of zeros, so that the pair begins where the first stands. The
first is not trained along: only the second's gradients are paid for.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from viso.config import SpectralConfig
from viso.train.networks.banded import N_FEATURES, jittered
from viso.train.networks.bands import Bands
from viso.train.networks.viso import Viso
from viso.train.widths import VisoHqSettings

__all__ = ["VisoHq"]


class VisoHq(nn.Module):
    """Spectra of mid and side in, their vocal masks out (see the module's drawing).

    Parameters
    ----------
    settings : VisoHqSettings
    spectral : SpectralConfig

    Raises
    ------
    ConfigError
        If the bands do not fit the transform.
    """

    def __init__(self, settings: VisoHqSettings, spectral: SpectralConfig) -> None:
        super().__init__()
        self.settings = settings
        self.first = Viso(settings.first, spectral).requires_grad_(False).eval()
        self.second = Viso(settings.second, spectral, inputs=N_FEATURES + 2)
        nn.init.zeros_(self.second.out.weight)
        assert self.second.out.bias is not None
        nn.init.zeros_(self.second.out.bias)

    @property
    def bands(self) -> Bands:
        """The bands of both."""
        return self.first.bands

    def train(self, mode: bool = True) -> Self:
        """Switch training on or off, for the second network only."""
        super().train(mode)
        self.first.train(False)
        return self

    def count(self) -> int:
        """Return the number of parameters, the first network's included."""
        return self.first.count() + self.second.count()

    def powers(self, parts: Tensor) -> Tensor:
        """Return the power in every band (see `Viso.powers`)."""
        return self.first.powers(parts)

    def features(self, powers: Tensor) -> Tensor:
        """Return what both networks see (see `Viso.features`)."""
        return self.first.features(powers)

    def logits(self, features: Tensor) -> Tensor:
        """Return the masks of mid and side before the sigmoid, for all frames.

        Parameters
        ----------
        features : Tensor [shape=(batch, 4, frames, bands)]
            `frames` a multiple of 4.

        Returns
        -------
        Tensor [shape=(batch, 2, frames, bands)]
        """
        if self.training:
            features = jittered(features, bels=self.settings.second.level_jitter)
        drawn = self.first.raw_logits(features)
        return drawn + self.second.raw_logits(torch.cat([features, torch.tanh(drawn / 4)], dim=1))

    def forward(self, spectra: Tensor) -> Tensor:
        """Return the vocal mask (see `Viso.forward`).

        Parameters
        ----------
        spectra : Tensor [shape=(batch, 4, frames, bins)]

        Returns
        -------
        Tensor [shape=(batch, 2, frames - 2 context, bins)]
        """
        logits = self.logits(self.features(self.powers(spectra)))
        context = self.settings.context_frames
        middle = logits[:, :, context : logits.shape[2] - context]
        return self.bands.spread(torch.sigmoid(middle))
