"""TFC-TDF: a U-Net of residual blocks, with a norm for each song before each activation.

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

A block, with norm and GELU before every layer except the shortcut:

    conv 3x3; dense down, dense up over frequency, added; conv 3x3; a 1x1 convolution of the
    block's input, added

Further blocks of a scale (`blocks`) start as the identity, so a network with them can continue from
the weights of a network without them.

The blocks are those of Choi et al. 2020 (arXiv 1912.02591) in the order of Kim et al. 2023 (arXiv
2306.09382): the norm is an instance norm, which removes the level and colour of a recording at
every layer. This network is much narrower, has uneven bands instead of bins, and adds its skip
connections instead of stacking them (at the finest scale a stack would take a third of the time).

The mask may be complex (`mask`): its real part is the sigmoid of one half of the logits, its
imaginary part is the hyperbolic tangent of the other half. With one real factor for each band of
mid and side, the best possible estimate of the vocals on MUSDB18's excerpts has 12 dB; with a
complex factor it has 16. A network that turns phases needs them as input (`phase_bins`, see
`Phases`).

A wider network can also start from a narrower one (`grown`): the old channels of a layer ignore the
new ones at first.

The norm takes its mean and variance over the frames with sound only. In a plain instance norm, the
silence that pads a chunk before and after a song changes them: with the same weights, this cost
0.8 dB on excerpts of seven seconds.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from viso.dsp.stft import SpectralConfig
from viso.train.network_settings import TfcTdfSettings
from viso.train.networks.banded import N_FEATURES, Banded, sounding
from viso.train.networks.norms import SongNorm
from viso.train.networks.phases import N_PHASES, Phases

__all__ = ["TfcTdf", "complex_mask", "grown"]

_NOTHING = 1e-7  # share of the loudest frame's power; the floor of `Banded.features`


class _Before(nn.Module):
    """A layer with norm and activation before it."""

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
        """Set the weights so that the block returns its input until it is trained."""
        for kernel in self.second.layer.parameters():
            nn.init.zeros_(kernel)
        nn.init.dirac_(self.shortcut.weight)


class _Stage(_Block):
    """The first block of a scale and the blocks after it."""

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
    """Computes vocal masks of mid and side from their spectra (see the module's drawing).

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
        n_phases = N_PHASES if settings.phase_bins else 0
        super().__init__(settings, spectral, inputs=N_FEATURES + n_phases)
        self.phases = Phases(settings, spectral) if n_phases else None
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
        self.out = _Before(widths[0], nn.Conv2d(widths[0], 2 * (1 + self.is_complex), 1))
        if self.is_complex:
            # The estimate starts with the phases of the mixture.
            for weights in self.out.layer.parameters():
                nn.init.zeros_(weights[2:])

    @property
    def is_complex(self) -> bool:
        """Whether the mask is complex."""
        return self.settings.mask == "complex"

    def inputs(self, parts: Tensor, powers: Tensor) -> Tensor:
        """See `Banded.inputs`."""
        features = self.features(powers)
        if self.phases is None:
            return features
        return torch.cat([features, self.phases(parts)], dim=1)

    def forward(self, spectra: Tensor) -> Tensor:
        """Return the vocal mask, or the vocals if the mask is complex.

        Parameters
        ----------
        spectra : Tensor [shape=(batch, 4, frames, bins)]
            Real and imaginary parts of mid, then of side; `Bands.n_bins` bins.

        Returns
        -------
        Tensor [shape=(batch, 2, frames - 2 context, bins)]
            A mask between 0 and 1; or [shape=(batch, 4, frames - 2 context, bins)], spectra of
            the vocals in the layout of the mixture's.
        """
        if not self.is_complex:
            return super().forward(spectra)
        real, imaginary = complex_mask(self.without_context(self.all_logits(spectra)))
        spread = self.bands.spread
        return _turned(self.without_context(spectra), spread(real), spread(imaginary))

    def _stage(self, depth: int) -> _Stage:
        settings = self.settings
        bands = self.bands.n_bands >> depth
        hidden = max(1, bands // settings.bottleneck)
        blocks = settings.blocks[depth] if settings.blocks else 1
        return _Stage(settings.channels[depth], bands, hidden, blocks)

    def heard(self, powers: Tensor) -> list[Tensor | None]:
        """Return the weight of every frame in the norms, for each scale.

        Parameters
        ----------
        powers : Tensor [shape=(batch, channels, frames, bands)]

        Returns
        -------
        list of Tensor [shape=(batch, 1, frames)]
            None if all weights are equal, but only in training: an exported graph cannot choose
            between two ways.
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
        """See `Banded.raw_logits`; `frames` is a multiple of 2 to the power of scales minus one."""
        powers = torch.pow(10.0, features[:, :2])
        heard = self.heard(powers)
        # Silent frames get the usual value, 0; otherwise their neighbours would see a huge one.
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


def complex_mask(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return the real and imaginary parts of the mask [shape=(batch, 2, frames, bands) each].

    Parameters
    ----------
    logits : Tensor [shape=(batch, 4, frames, bands)]
    """
    return torch.sigmoid(logits[:, :2]), torch.tanh(logits[:, 2:])


def _turned(spectra: Tensor, real: Tensor, imaginary: Tensor) -> Tensor:
    """Return spectra [shape=(batch, 4, frames, bins)] times a complex mask."""
    batch, _, *rest = spectra.shape
    parts = spectra.reshape(batch, 2, 2, *rest)
    x, y = parts[:, :, 0], parts[:, :, 1]
    product = torch.stack([x * real - y * imaginary, x * imaginary + y * real], dim=2)
    return product.flatten(1, 2)


def grown(weights: dict[str, Tensor], fresh: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights for a larger network that at first computes the same as the smaller one.

    Additional channels, maps and blocks have the weights of `fresh`. The old channels ignore them
    until training changes that. (More hidden units of the dense layers would change the norm
    between them, and so the old output.)

    Parameters
    ----------
    weights, fresh : dict of str to Tensor
        Weights of the smaller network, and initial weights of the larger one.

    Returns
    -------
    dict of str to Tensor
    """
    larger = {name: value for name, value in fresh.items() if ".further." in name} | weights
    for name, small in weights.items():
        whole = fresh.get(name)
        if whole is None or whole.shape == small.shape or whole.ndim != small.ndim:
            continue
        if any(had > has for had, has in zip(small.shape, whole.shape, strict=True)):
            continue
        whole = whole.clone()
        whole[tuple(slice(size) for size in small.shape)] = small.to(whole.dtype)
        if whole.ndim > 1:
            # Upsampling kernels have their input channels first.
            outputs, inputs = (1, 0) if name.startswith("doubling.") else (0, 1)
            old = whole.narrow(outputs, 0, small.shape[outputs])
            n_old, n_all = small.shape[inputs], whole.shape[inputs]
            old.narrow(inputs, n_old, n_all - n_old).zero_()
        larger[name] = whole
    for name in ("out.layer.weight", "out.layer.bias"):
        larger[name][len(weights[name]) :] = 0
    return larger
