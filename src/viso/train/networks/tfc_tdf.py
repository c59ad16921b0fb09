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

The blocks are those of Choi et al. 2020 (arXiv 1912.02591) as Kim et al. 2023 (arXiv 2306.09382)
order them: the norm is that of an instance, which takes the level and colour of a recording away
at every layer. Here the network is far narrower, sees uneven bands in place of bins and adds what
it skips in place of stacking it (at the finest scale a stack would cost a third of the time).
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from viso.config import SpectralConfig
from viso.train.networks.banded import Banded
from viso.train.widths import TfcTdfSettings

__all__ = ["TfcTdf"]


def _before(channels: int, layer: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.InstanceNorm2d(channels, affine=True), nn.GELU(), layer)


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)


class _Block(nn.Module):
    def __init__(self, channels: int, bands: int, hidden: int) -> None:
        super().__init__()
        self.first = _before(channels, _conv(channels, channels))
        self.across = nn.Sequential(
            _before(channels, nn.Linear(bands, hidden, bias=False)),
            _before(channels, nn.Linear(hidden, bands, bias=False)),
        )
        self.second = _before(channels, _conv(channels, channels))
        self.shortcut = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        y = y + self.across(y)
        both: Tensor = self.second(y) + self.shortcut(x)
        return both


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
            self.down.append(self._block(depth))
            self.halving.append(_before(fine, nn.Conv2d(fine, coarse, 2, 2, bias=False)))
            self.doubling.append(
                _before(coarse, nn.ConvTranspose2d(coarse, fine, 2, 2, bias=False))
            )
            self.up.append(self._block(depth))
        self.middle = self._block(len(widths) - 1)
        self.out = _before(widths[0], nn.Conv2d(widths[0], 2, 1))

    def _block(self, depth: int) -> _Block:
        bands = self.bands.n_bands >> depth
        hidden = max(1, bands // self.settings.bottleneck)
        return _Block(self.settings.channels[depth], bands, hidden)

    def raw_logits(self, features: Tensor) -> Tensor:
        """See `Banded.raw_logits`; `frames` a multiple of 2 to the power of the scales less one."""
        x = self.enter(self.normalised(features))
        skipped = []
        for block, halve in zip(self.down, self.halving, strict=True):
            skipped.append(block(x))
            x = halve(skipped[-1])
        x = self.middle(x)
        for block, double in zip(reversed(self.up), reversed(self.doubling), strict=True):
            x = block(double(x) + skipped.pop())
        logits: Tensor = self.out(x)
        return logits
