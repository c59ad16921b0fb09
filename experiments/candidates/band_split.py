"""Band-split networks: a vector for each subband and frame, mixed over time and over subbands.

    features of 8 neighbouring bands    (B, T, K, 32)     K subbands
    dense, one for each subband         (B, T, K, C)
    pairs: over time, over subbands     (B, T, K, C)      each added to its input
    dense, tanh, dense                  (B, T, K, 16)     masks of mid and side of the 8 bands

`BandGru` walks both axes with GRUs that run both ways, as BSRNN does (Luo and Yu 2022, arXiv
2209.15174) with more and wider layers. `BandConv` has no recurrence: over time a depthwise
convolution and two dense layers, over subbands two dense layers that see a whole moment through
a bottleneck.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from viso.dsp.stft import SpectralConfig
from viso.train.networks.banded import N_FEATURES, Banded
from viso.train.recipe import VisoSettings

__all__ = ["BandConv", "BandGru"]

BANDS_A_SUBBAND = 8
PAIRS = 3
GRU_FEATURES, GRU_WIDTH = 48, 48
CONV_FEATURES, CONV_HIDDEN = 64, 256
TAPS, DILATIONS = 7, (1, 2, 4, 8, 1)


class _Recurrent(nn.Module):
    """A GRU both ways along the second axis of (n, steps, features), added to its input."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.memory = nn.GRU(features, width, bidirectional=True, batch_first=True)
        self.recall = nn.Linear(2 * width, features)

    def forward(self, x: Tensor) -> Tensor:
        recalled: Tensor = self.recall(self.memory(self.norm(x))[0])
        return x + recalled


class _GruPair(nn.Module):
    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.over_time = _Recurrent(features, width)
        self.over_bands = _Recurrent(features, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, frames, subbands, features = x.shape
        x = x.transpose(1, 2).reshape(batch * subbands, frames, features)
        x = self.over_time(x).view(batch, subbands, frames, features).transpose(1, 2)
        x = self.over_bands(x.reshape(batch * frames, subbands, features))
        return x.view(batch, frames, subbands, features)


class _ConvPair(nn.Module):
    def __init__(self, features: int, subbands: int, *, hidden: int, dilation: int) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(features)
        self.around = nn.Conv2d(
            features,
            features,
            (TAPS, 1),
            padding=(TAPS // 2 * dilation, 0),
            dilation=(dilation, 1),
            groups=features,
        )
        self.widen = nn.Linear(features, 2 * features)
        self.narrow = nn.Linear(2 * features, features)
        self.norm_2 = nn.LayerNorm(features)
        self.gather = nn.Linear(subbands * features, hidden)
        self.spread = nn.Linear(hidden, subbands * features)

    def forward(self, x: Tensor) -> Tensor:
        # Channels are last already: no copy on either side of the convolution.
        y = self.around(self.norm_1(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = x + self.narrow(torch.relu(self.widen(y)))
        moment = torch.relu(self.gather(self.norm_2(x).flatten(2)))
        return x + self.spread(moment).view_as(x)


class _BandSplit(Banded):
    """Splits features into subbands, runs `pairs` over them, and draws their masks."""

    def __init__(self, settings: VisoSettings, spectral: SpectralConfig, features: int) -> None:
        super().__init__(settings, spectral)
        self.n_subbands = self.bands.n_bands // BANDS_A_SUBBAND
        inputs, outputs = N_FEATURES * BANDS_A_SUBBAND, 2 * BANDS_A_SUBBAND
        # A matrix each, not one stack of them: Muon makes matrices orthogonal.
        self.split = nn.ModuleList(nn.Linear(inputs, features) for _ in range(self.n_subbands))
        self.merge = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(features),
                nn.Linear(features, 2 * features),
                nn.Tanh(),
                nn.Linear(2 * features, outputs),
            )
            for _ in range(self.n_subbands)
        )
        self.pairs: nn.Sequential

    def raw_logits(self, features: Tensor) -> Tensor:
        """See `Banded.raw_logits`."""
        x = self.normalised(features)
        batch, _, frames, bands = x.shape
        parts = x.permute(0, 2, 3, 1).reshape(batch, frames, self.n_subbands, -1).unbind(2)
        split = [layer(part) for layer, part in zip(self.split, parts, strict=True)]
        mixed = self.pairs(torch.stack(split, dim=2)).unbind(2)
        merged = [layer(part) for layer, part in zip(self.merge, mixed, strict=True)]
        masks = torch.stack(merged, dim=2).view(batch, frames, bands, 2)
        return masks.permute(0, 3, 1, 2)


class BandGru(_BandSplit):
    """Band-split with GRUs (see the module's drawing).

    Parameters
    ----------
    settings : VisoSettings
    spectral : SpectralConfig
    """

    def __init__(self, settings: VisoSettings, spectral: SpectralConfig) -> None:
        super().__init__(settings, spectral, GRU_FEATURES)
        self.pairs = nn.Sequential(*(_GruPair(GRU_FEATURES, GRU_WIDTH) for _ in range(PAIRS)))


class BandConv(_BandSplit):
    """Band-split with convolutions over time and dense layers over subbands.

    Parameters
    ----------
    settings : VisoSettings
    spectral : SpectralConfig
    """

    def __init__(self, settings: VisoSettings, spectral: SpectralConfig) -> None:
        super().__init__(settings, spectral, CONV_FEATURES)
        self.pairs = nn.Sequential(
            *(
                _ConvPair(CONV_FEATURES, self.n_subbands, hidden=CONV_HIDDEN, dilation=dilation)
                for dilation in DILATIONS
            )
        )
