"""Two passes: a second, wider `viso` corrects the masks of the first, which is trained already.

    features of the mixture      (B, 4, T, N) ---+------------------+
    first viso, as it was                        |                  |
    logits of its masks          (B, 2, T, N) <--+----> / 4, tanh --+
    second viso, with a memory   (B, 2, T, N) <---------------------+
    sum                          (B, 2, T, N)

The second begins with a last layer of zeros, so that the pair begins where the first stands. The
first is not trained along: only the second's gradients are paid for.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from viso.dsp.stft import SpectralConfig
from viso.train.networks.banded import N_FEATURES, Banded
from viso.train.networks.viso import Viso
from viso.train.recipe import VisoSettings

__all__ = ["TwoPass"]

SECOND = {"channels": (16, 32, 64), "hidden": 384, "recurrent": 192}


class TwoPass(Banded):
    """See the module's drawing.

    Parameters
    ----------
    settings : VisoSettings
        Of the first; the second has its bands and chunks.
    spectral : SpectralConfig
    """

    def __init__(self, settings: VisoSettings, spectral: SpectralConfig) -> None:
        super().__init__(settings, spectral)
        del self.norm  # each of the two has its own
        second = VisoSettings.model_validate({**settings.model_dump(), **SECOND})
        self.first = Viso(settings, spectral).requires_grad_(False).eval()
        self.second = Viso(second, spectral, inputs=N_FEATURES + 2)
        nn.init.zeros_(self.second.out.weight)
        assert self.second.out.bias is not None
        nn.init.zeros_(self.second.out.bias)

    def train(self, mode: bool = True) -> Self:
        """Switch training on or off, for the second network only."""
        super().train(mode)
        self.first.train(False)
        return self

    def raw_logits(self, features: Tensor) -> Tensor:
        """See `Banded.raw_logits`."""
        drawn = self.first.raw_logits(features)
        return drawn + self.second.raw_logits(torch.cat([features, torch.tanh(drawn / 4)], dim=1))
