"""TFC-TDF as in its third version: residual blocks, normalised before they are activated.

    block of n channels:  norm, GELU, conv 3x3
                          norm, GELU, dense down, norm, GELU, dense up; added to its input
                          norm, GELU, conv 3x3; added to a 1x1 convolution of the block's input

A U-Net of such blocks, the dense layers over frequency (Choi et al. 2020, arXiv 1912.02591; Kim
et al. 2023, arXiv 2306.09382), here over the uneven bands of `Viso` and far narrower.
This is the network as it was compared; `viso.train.networks.tfc_tdf` came of it, which adds what
it skips.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from viso.dsp.stft import SpectralConfig
from viso.train.networks.banded import N_FEATURES, Banded
from viso.train.recipe import VisoSettings

__all__ = ["TfcTdf"]

CHANNELS = (16, 32, 48, 64)
BOTTLENECK = 8


def _before(channels: int, layer: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.InstanceNorm2d(channels, affine=True), nn.GELU(), layer)


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, bands: int) -> None:
        super().__init__()
        hidden = max(1, bands // BOTTLENECK)
        self.first = _before(inputs, _conv(inputs, outputs))
        self.across = nn.Sequential(
            _before(outputs, nn.Linear(bands, hidden, bias=False)),
            _before(outputs, nn.Linear(hidden, bands, bias=False)),
        )
        self.second = _before(outputs, _conv(outputs, outputs))
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        y = y + self.across(y)
        both: Tensor = self.second(y) + self.shortcut(x)
        return both


class TfcTdf(Banded):
    """See the module's drawing.

    Parameters
    ----------
    settings : VisoSettings
    spectral : SpectralConfig
    """

    def __init__(self, settings: VisoSettings, spectral: SpectralConfig) -> None:
        super().__init__(settings, spectral)
        n = self.bands.n_bands
        self.enter = nn.Conv2d(N_FEATURES, CHANNELS[0], 1, bias=False)
        self.down, self.halving = nn.ModuleList(), nn.ModuleList()
        self.doubling, self.up = nn.ModuleList(), nn.ModuleList()
        for depth, (wide, narrow) in enumerate(pairwise(CHANNELS)):
            self.down.append(_Block(wide, wide, n >> depth))
            self.halving.append(_before(wide, nn.Conv2d(wide, narrow, 2, 2, bias=False)))
            self.doubling.append(
                _before(narrow, nn.ConvTranspose2d(narrow, wide, 2, 2, bias=False))
            )
            self.up.append(_Block(2 * wide, wide, n >> depth))
        self.middle = _Block(CHANNELS[-1], CHANNELS[-1], n >> len(self.down))
        self.out = _before(CHANNELS[0], nn.Conv2d(CHANNELS[0], 2, 1))

    def raw_logits(self, features: Tensor) -> Tensor:
        """See `Banded.raw_logits`."""
        x = self.enter(self.normalised(features))
        skipped = []
        for block, halve in zip(self.down, self.halving, strict=True):
            skipped.append(block(x))
            x = halve(skipped[-1])
        x = self.middle(x)
        for block, double in zip(reversed(self.up), reversed(self.doubling), strict=True):
            x = block(torch.cat([double(x), skipped.pop()], dim=1))
        logits: Tensor = self.out(x)
        return logits
