"""The flagship's network: a small U-Net over bands, with dense layers across all frequencies.

Read from top to bottom, with B songs, T frames, F bins, N bands and c channels::

    spectra of mid and side    (B, 4, T, F)       real and imaginary parts
    power of mid, side, left,
    right in bands; log        (B, 4, T, N)       a bin a band where voices live, wide above
    block                      (B, c, T, N)       --------------------------------+
    halve                      (B, 2c, T/2, N/2)                                  |
    block                      (B, 2c, T/2, N/2)  ----------------------+         |
    halve                      (B, 4c, T/4, N/4)                        |         |
    conv, middle, conv         (B, 4c, T/4, N/4)                        |         |
    double, add, block         (B, 2c, T/2, N/2)  <---------------------+         |
    double, add, block         (B, c, T, N)       <-------------------------------+
    sigmoid, bands to bins     (B, 2, T', F)      masks of mid and side, T' = T - 2 context

A block is two 3x3 convolutions and a pair of dense layers over frequency with a bottleneck
(the time-distributed fully connected layers of Choi et al. 2020, arXiv 1912.02591), which see
all harmonics of a voice at once. The middle mixes all bands and channels of a moment and
looks around in time with dilated convolutions.

Bands cost little: with the best possible factor for each band of mid and side, 256 of them
(10.8 Hz wide at the bottom) reach within 0.1 dB of one factor a bin.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from viso.config import SpectralConfig
from viso.errors import ConfigError
from viso.train.networks.bands import Bands
from viso.train.networks.harmonics import Harmonics
from viso.train.widths import VisoSettings

__all__ = ["N_FEATURES", "Viso", "jittered"]

N_FEATURES = 4
_SILENCE = 1e-5  # of the loudest frame's power


def _conv(inputs: int, outputs: int, *, size: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, padding=(size - stride + 1) // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _double(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, 2, 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class _Across(nn.Module):
    """Two dense layers over frequency with a bottleneck, added to their input."""

    def __init__(self, channels: int, bands: int, hidden: int) -> None:
        super().__init__()
        self.down = nn.Linear(bands, hidden, bias=False)
        self.norm_1 = nn.BatchNorm2d(channels)
        self.up = nn.Linear(hidden, bands, bias=False)
        self.norm_2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.norm_1(self.down(x)))
        return x + torch.relu(self.norm_2(self.up(hidden)))


class _Middle(nn.Module):
    """Everything of a moment at once, and its neighbours in time; added to its input."""

    def __init__(self, channels: int, bands: int, settings: VisoSettings) -> None:
        super().__init__()
        projected, hidden = settings.projected, settings.hidden
        self.shape = projected, bands
        self.project = _conv(channels, projected, size=1)
        self.enter = nn.Sequential(
            nn.Conv1d(projected * bands, hidden, 1, bias=False), nn.BatchNorm1d(hidden), nn.ReLU()
        )
        self.around = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(hidden, hidden, 3, padding=step, dilation=step, bias=False),
                nn.BatchNorm1d(hidden),
                nn.ReLU(),
                nn.Dropout(settings.dropout),
            )
            for step in settings.dilations
        )
        self.leave = nn.Sequential(
            nn.Conv1d(hidden, projected * bands, 1, bias=False),
            nn.BatchNorm1d(projected * bands),
            nn.ReLU(),
        )
        self.expand = nn.Conv2d(projected, channels, 1)
        width = settings.recurrent
        self.memory = nn.GRU(hidden, width, bidirectional=True, batch_first=True) if width else None
        self.recall = nn.Conv1d(2 * width, hidden, 1) if width else None

    def forward(self, x: Tensor) -> Tensor:
        moment = self.enter(self.project(x).permute(0, 1, 3, 2).flatten(1, 2))
        for layer in self.around:
            moment = moment + layer(moment)
        if self.memory is not None and self.recall is not None:
            remembered = self.memory(moment.transpose(1, 2))[0].transpose(1, 2)
            moment = moment + self.recall(remembered)
        back = self.leave(moment).unflatten(1, self.shape).permute(0, 1, 3, 2)
        expanded: Tensor = self.expand(back)
        return x + expanded


class Viso(nn.Module):
    """Spectra of mid and side in, their vocal masks out (see the module's drawing).

    Parameters
    ----------
    settings : VisoSettings
    spectral : SpectralConfig
    inputs : int
        Feature maps: those of `features` first, others may follow.

    Raises
    ------
    ConfigError
        If the bands do not fit the transform.
    """

    def __init__(
        self, settings: VisoSettings, spectral: SpectralConfig, *, inputs: int = N_FEATURES
    ) -> None:
        super().__init__()
        self.settings = settings
        self.bands = Bands(settings.segments)
        if self.bands.n_bins > spectral.n_bins:
            raise ConfigError(
                f"segments hold {self.bands.n_bins} bins, n_fft {spectral.n_fft} has only "
                f"{spectral.n_bins}"
            )
        n, (c0, c1, c2) = self.bands.n_bands, settings.channels
        ratios = settings.harmonics
        self.harmonics = Harmonics(self.bands.width, ratios) if ratios else None
        inputs += len(ratios)
        self.norm = nn.BatchNorm1d(inputs * n)
        self.down_0 = self._block(inputs, c0, n)
        self.halve_0 = _conv(c0, c1, size=2, stride=2)
        self.down_1 = self._block(c1, c1, n // 2)
        self.halve_1 = _conv(c1, c2, size=2, stride=2)
        self.middle = nn.Sequential(_conv(c2, c2), _Middle(c2, n // 4, settings), _conv(c2, c2))
        self.double_1 = _double(c2, c1)
        self.up_1 = self._block(c1, c1, n // 2)
        self.double_0 = _double(c1, c0)
        self.up_0 = self._block(c0, c0, n)
        self.out = nn.Conv2d(c0, 2, 1)

    def _block(self, inputs: int, outputs: int, bands: int) -> nn.Sequential:
        hidden = max(1, bands // self.settings.bottleneck)
        return nn.Sequential(
            _conv(inputs, outputs), _conv(outputs, outputs), _Across(outputs, bands, hidden)
        )

    def count(self) -> int:
        """Return the number of trained parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def powers(self, parts: Tensor) -> Tensor:
        """Return the power of mid, side, left and right in every band.

        Parameters
        ----------
        parts : Tensor [shape=(batch, 4, frames, bins)]
            Real and imaginary part of mid, then of side.

        Returns
        -------
        Tensor [shape=(batch, 4, frames, bands)]
            Sums over the bins of a band.
        """
        pairs = parts.reshape(parts.shape[0], 2, 2, *parts.shape[2:])
        power = pairs.square().sum(dim=2)
        across = (pairs[:, 0] * pairs[:, 1]).sum(dim=1, keepdim=True)
        mid, side, across = self.bands.sums(torch.cat([power, across], dim=1)).unbind(dim=1)
        # |L|^2 and |R|^2 from mid and side, which spares two transforms.
        mean = (mid + side) / 2
        return torch.stack(
            [mid, side, (mean + across).clamp_min(0), (mean - across).clamp_min(0)], dim=1
        )

    def features(self, powers: Tensor) -> Tensor:
        """Return the logarithm of the mean power of a bin, against the chunk's level.

        The level is the mean over the frames in which anything sounds: silence before, after or
        within a song does not change what is seen of its sound.

        Parameters
        ----------
        powers : Tensor [shape=(batch, 4, frames, bands)]

        Returns
        -------
        Tensor [shape=(batch, 4, frames, bands)]
        """
        mean = powers / self.bands.width
        energy = mean[:, :2].mean(dim=(1, 3))
        sounds = (energy > _SILENCE * energy.amax(dim=1, keepdim=True)).to(energy.dtype)
        level = (energy * sounds).sum(dim=1) / sounds.sum(dim=1).clamp_min(1)
        return torch.log10(mean / (level[:, None, None, None] + 1e-12) + 1e-7)

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
            features = jittered(features, bels=self.settings.level_jitter)
        return self.raw_logits(features)

    def raw_logits(self, features: Tensor) -> Tensor:
        """Return the same of features that are taken as they are.

        Parameters
        ----------
        features : Tensor [shape=(batch, inputs, frames, bands)]

        Returns
        -------
        Tensor [shape=(batch, 2, frames, bands)]
        """
        if self.harmonics is not None:
            features = self.harmonics(features)
        batch, channels, frames, bands = features.shape
        x = features.permute(0, 1, 3, 2).reshape(batch, channels * bands, frames)
        x = self.norm(x).view(batch, channels, bands, frames).permute(0, 1, 3, 2)
        fine = self.down_0(x.contiguous(memory_format=torch.channels_last))
        coarse = self.down_1(self.halve_0(fine))
        coarse = self.up_1(self.double_1(self.middle(self.halve_1(coarse))) + coarse)
        logits: Tensor = self.out(self.up_0(self.double_0(coarse) + fine))
        return logits

    def forward(self, spectra: Tensor) -> Tensor:
        """Return the vocal mask.

        Parameters
        ----------
        spectra : Tensor [shape=(batch, 4, frames, bins)]
            Real and imaginary part of mid, then of side; `Bands.n_bins` bins.

        Returns
        -------
        Tensor [shape=(batch, 2, frames - 2 context, bins)]
            Between 0 and 1.
        """
        logits = self.logits(self.features(self.powers(spectra)))
        context = self.settings.context_frames
        middle = logits[:, :, context : logits.shape[2] - context]
        return self.bands.spread(torch.sigmoid(middle))


def jittered(features: Tensor, *, bels: float) -> Tensor:
    """Return features of chunks whose level is another one by chance.

    A longer chunk has another level: what is learnt shall not hang on it.
    """
    shape = (features.shape[0], 1, 1, 1)
    return features + bels * torch.randn(shape, device=features.device, dtype=features.dtype)
