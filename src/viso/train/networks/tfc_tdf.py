"""TFC-TDF: a U-Net of residual blocks, normalised song by song before they are activated.

Read from top to bottom, with B songs, T frames, N bands and four scales of a, b, c, d channels::

    features             (B, maps, T, N)     see `Banded`
    conv 1x1, block      (B, a, T, N)        ---------------------------------------+
    halve, block         (B, b, T/2, N/2)    ------------------------------+        |
    halve, block         (B, c, T/4, N/4)    ---------------------+        |        |
    halve, block         (B, d, T/8, N/8)                         |        |        |
    double, add, block   (B, c, T/4, N/4)    <--------------------+        |        |
    double, add, block   (B, b, T/2, N/2)    <-----------------------------+        |
    double, add, block   (B, a, T, N)        <--------------------------------------+
    conv 1x1             (B, 2, T, N)        logits of the masks

A block, with norm and GELU before every layer but the shortcut:

    conv 3x3; dense down, dense up over frequency, added; conv 3x3; a 1x1 convolution of the
    block's input, added

Further blocks of a scale (`blocks`) begin as the identity: a network that has them begins where
one without them stands, and can go on from its weights.

The blocks are those of Choi et al. 2020 (arXiv 1912.02591) as Kim et al. 2023 (arXiv 2306.09382)
order them: the norm is that of an instance, which takes the level and colour of a recording away
at every layer. Here the network is far narrower, sees uneven bands in place of bins and adds what
it skips in place of stacking it (at the finest scale a stack would cost a third of the time).

Mean and variance of the norm are those of the frames in which anything sounds. With the plain
norm of an instance the silence that a chunk is padded with before and after a song moves them:
of the same weights that cost 0.8 dB on excerpts of seven seconds.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from viso.config import SpectralConfig
from viso.train.networks.banded import Banded, sounding
from viso.train.networks.norms import SongNorm
from viso.train.widths import TfcTdfSettings

__all__ = ["TfcTdf", "with_further_blocks"]

_NOTHING = 1e-7  # of the loudest frame's power; `Banded.features` cannot tell what is softer


class _Before(nn.Module):
    """A layer, its input normalised and activated."""

    def __init__(self, channels: int, layer: nn.Module) -> None:
        super().__init__()
        self.norm, self.layer = SongNorm(channels), layer

    def forward(self, x: Tensor, heard: Tensor | None) -> Tensor:
        after: Tensor = self.layer(functional.gelu(self.norm(x, heard)))
        return after


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)


class _Block(nn.Module):
    def __init__(self, channels: int, bands: int, hidden: int) -> None:
        super().__init__()
        self.first = _Before(channels, _conv(channels, channels))
        self.narrow = _Before(channels, nn.Linear(bands, hidden, bias=False))
        self.widen = _Before(channels, nn.Linear(hidden, bands, bias=False))
        self.second = _Before(channels, _conv(channels, channels))
        self.shortcut = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor, heard: Tensor | None) -> Tensor:
        y = self.first(x, heard)
        y = y + self.widen(self.narrow(y, heard), heard)
        both: Tensor = self.second(y, heard) + self.shortcut(x)
        return both

    def become_identity(self) -> None:
        """Give back what comes in, until something is learnt."""
        for kernel in self.second.layer.parameters():
            nn.init.zeros_(kernel)
        nn.init.dirac_(self.shortcut.weight)


class _Stage(_Block):
    """The first block of a scale and those behind it."""

    def __init__(self, channels: int, bands: int, hidden: int, blocks: int) -> None:
        super().__init__(channels, bands, hidden)
        self.further = nn.ModuleList(_Block(channels, bands, hidden) for _ in range(blocks - 1))
        for block in self.further:
            cast(_Block, block).become_identity()

    def forward(self, x: Tensor, heard: Tensor | None) -> Tensor:
        x = super().forward(x, heard)
        for block in self.further:
            x = block(x, heard)
        return x


class TfcTdf(Banded):
    """Spectra of mid and side in, their vocal masks out (see the module's drawing).

    Parameters
    ----------
    settings : TfcTdfSettings
    spectral : SpectralConfig

    Raises
    ------
    ConfigError
        If the bands do not fit the transform.
    """

    settings: TfcTdfSettings

    def __init__(self, settings: TfcTdfSettings, spectral: SpectralConfig) -> None:
        super().__init__(settings, spectral)
        widths = settings.channels
        self.enter = nn.Conv2d(self.n_maps, widths[0], 1, bias=False)
        self.down, self.halving = nn.ModuleList(), nn.ModuleList()
        self.doubling, self.up = nn.ModuleList(), nn.ModuleList()
        for depth, (fine, coarse) in enumerate(pairwise(widths)):
            self.down.append(self._stage(depth))
            self.halving.append(_Before(fine, nn.Conv2d(fine, coarse, 2, 2, bias=False)))
            self.doubling.append(
                _Before(coarse, nn.ConvTranspose2d(coarse, fine, 2, 2, bias=False))
            )
            self.up.append(self._stage(depth))
        self.middle = self._stage(len(widths) - 1)
        self.out = _Before(widths[0], nn.Conv2d(widths[0], 2, 1))

    def _stage(self, depth: int) -> _Stage:
        settings = self.settings
        bands = self.bands.n_bands >> depth
        hidden = max(1, bands // settings.bottleneck)
        blocks = settings.blocks[depth] if settings.blocks else 1
        return _Stage(settings.channels[depth], bands, hidden, blocks)

    def heard(self, powers: Tensor) -> list[Tensor | None]:
        """Return what every frame weighs in the norms, by scale.

        Parameters
        ----------
        powers : Tensor [shape=(batch, channels, frames, bands)]

        Returns
        -------
        list of Tensor [shape=(batch, 1, frames)]
            None where all frames weigh the same, but only while the network is trained: an
            exported graph cannot choose between two ways.
        """
        n_scales = len(self.settings.channels)
        sounds = sounding(powers)
        if self.training and bool(sounds.all()):
            return [None] * n_scales
        weights: list[Tensor | None] = []
        for depth in range(n_scales):
            if depth:
                sounds = sounds.view(sounds.shape[0], -1, 2).mean(dim=2)
            weights.append((sounds / sounds.sum(dim=1, keepdim=True))[:, None])
        return weights

    def raw_logits(self, features: Tensor) -> Tensor:
        """See `Banded.raw_logits`; `frames` a multiple of 2 to the power of the scales less one."""
        powers = torch.pow(10.0, features[:, :2])
        heard = self.heard(powers)
        # Silence shall look like what is usual, or its neighbours would hear something enormous.
        sounds = sounding(powers, share=_NOTHING)[:, None, :, None]
        x = self.enter(self.normalised(features) * sounds)
        skipped = []
        for depth, (block, halve) in enumerate(zip(self.down, self.halving, strict=True)):
            skipped.append(block(x, heard[depth]))
            x = halve(skipped[-1], heard[depth])
        x = self.middle(x, heard[-1])
        for depth in reversed(range(len(self.up))):
            doubled = self.doubling[depth](x, heard[depth + 1])
            x = self.up[depth](doubled + skipped.pop(), heard[depth])
        logits: Tensor = self.out(x, heard[0])
        return logits


def with_further_blocks(weights: dict[str, Tensor], fresh: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights of a network of fewer blocks, with those of `fresh` where it had none."""
    return {name: value for name, value in fresh.items() if ".further." in name} | weights
