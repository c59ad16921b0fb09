"""A U-Net of MobileNet blocks over stacked subbands, with 0.3 million parameters.

    features of 4 subbands, stacked     (B, 16, T, N/4)
    4 scales of depthwise 3x3, 1x1      halved by averages, doubled by repetition
    masks of the 4 subbands             (B, 8, T, N/4)

After the shape that bytesep trains as "MobileNet, subband" (Kong et al. 2021, arXiv 2109.05418):
there the subbands are filtered from the waveform, here they are quarters of the uneven bands.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from viso.dsp.stft import SpectralConfig
from viso.train.networks.banded import N_FEATURES, Banded
from viso.train.recipe import VisoSettings

__all__ = ["SubbandMobile"]

SUBBANDS = 4
CHANNELS = (32, 64, 160, 272)


def _separable(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
        nn.BatchNorm2d(inputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_separable(inputs, outputs), _separable(outputs, outputs))


class SubbandMobile(Banded):
    """See the module's drawing.

    Parameters
    ----------
    settings : VisoSettings
    spectral : SpectralConfig
    """

    def __init__(self, settings: VisoSettings, spectral: SpectralConfig) -> None:
        super().__init__(settings, spectral)
        inputs = N_FEATURES * SUBBANDS
        self.down = nn.ModuleList(
            _block(before, after) for before, after in pairwise((inputs, *CHANNELS))
        )
        self.up = nn.ModuleList(
            _block(below + beside, beside) for beside, below in pairwise(CHANNELS)
        )
        self.out = nn.Conv2d(CHANNELS[0], 2 * SUBBANDS, 1)

    def raw_logits(self, features: Tensor) -> Tensor:
        """See `Banded.raw_logits`."""
        x = self.normalised(features)
        batch, channels, frames, bands = x.shape
        x = x.reshape(batch, channels, frames, SUBBANDS, bands // SUBBANDS)
        x = x.permute(0, 1, 3, 2, 4).flatten(1, 2)
        x = x.contiguous(memory_format=torch.channels_last)
        skipped = []
        for number, block in enumerate(self.down):
            x = block(functional.avg_pool2d(x, 2) if number else x)
            skipped.append(x)
        x = skipped.pop()
        for block in reversed(self.up):
            doubled = functional.interpolate(x, scale_factor=2.0)
            x = block(torch.cat([doubled, skipped.pop()], dim=1))
        masks = self.out(x).unflatten(1, (2, SUBBANDS)).transpose(2, 3)
        return masks.flatten(3)
