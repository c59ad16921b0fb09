"""The flagship's network: a small U-Net over bands, with dense layers across all frequencies.

Read from top to bottom, with B songs, T frames, N bands and c channels::

    features                   (B, 4, T, N)       see `Banded`
    block                      (B, c, T, N)       --------------------------------+
    halve                      (B, 2c, T/2, N/2)                                  |
    block                      (B, 2c, T/2, N/2)  ----------------------+         |
    halve                      (B, 4c, T/4, N/4)                        |         |
    conv, middle, conv         (B, 4c, T/4, N/4)                        |         |
    double, add, block         (B, 2c, T/2, N/2)  <---------------------+         |
    double, add, block         (B, c, T, N)       <-------------------------------+
    conv 1x1                   (B, 2, T, N)       logits of the masks

A block is two 3x3 convolutions and a pair of dense layers over frequency with a bottleneck
(the time-distributed fully connected layers of Choi et al. 2020, arXiv 1912.02591), which see
all harmonics of a voice at once. The middle mixes all bands and channels of a frame and sees
neighbouring frames with dilated convolutions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from viso.dsp.stft import SpectralConfig
from viso.train.network_settings import VisoSettings
from viso.train.networks.banded import N_FEATURES, Banded

__all__ = ["Viso"]


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
    """Mixes all of a frame, and its neighbours in time; adds the result to its input."""

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


class Viso(Banded):
    """Computes vocal masks of mid and side from their spectra (see the module's drawing).

    Parameters
    ----------
    settings : VisoSettings
    spectral : SpectralConfig
    inputs : int
        Number of feature maps: those of `features` first, others may follow.

    Raises
    ------
    ConfigError
        If the bands do not fit the transform.
    """

    settings: VisoSettings

    def __init__(
        self, settings: VisoSettings, spectral: SpectralConfig, *, inputs: int = N_FEATURES
    ) -> None:
        super().__init__(settings, spectral, inputs=inputs)
        n, (c0, c1, c2) = self.bands.n_bands, settings.channels
        self.down_0 = self._block(self.n_maps, c0, n)
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

    def raw_logits(self, features: Tensor) -> Tensor:
        """See `Banded.raw_logits`; `frames` is a multiple of 4."""
        x = self.normalised(features)
        fine = self.down_0(x.contiguous(memory_format=torch.channels_last))
        coarse = self.down_1(self.halve_0(fine))
        coarse = self.up_1(self.double_1(self.middle(self.halve_1(coarse))) + coarse)
        logits: Tensor = self.out(self.up_0(self.double_0(coarse) + fine))
        return logits
