"""The `viso_cnn` network: four convolutions, two max pools, two dense layers, a sigmoid mask.

Read from top to bottom, with B songs, T frames of F bins in mid and side::

    magnitudes                 (B, 2, F, T)
    bands, log, normalised     (B, 2, T, 320)
    conv, conv, max pool       (B, c2, T/2, 80)
    conv, conv, max pool       (B, c4, T/2, 20)
    flatten, 9 frames each     (B, c4 20 9)       for every second frame
    dense, dropout, dense      (B, 768), (B, 512)
    logits of two frames       (B, 2, T', 320)     plus the first pool's input, weighted
                                                   band by band by the dense layers
    sigmoid, bands to bins     (B, 2, F, T')      T' = T - 2 context

The network follows Lin et al. 2018 (arXiv 1812.01278), whose network sees 9 frames and keeps one.
Here the convolutions run once over a whole chunk and the dense layers slide over it, at a hundredth
of the cost. Bands replace bins, and mid and side replace two separate mono passes. The paper's
dense layers must produce every harmonic themselves. Here they also weight, for every band, the
features of the second convolution that indicate a voice (``logit = bias + sum_k w_k f_k``), so the
mask keeps the detail of the input.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from viso.dsp.stft import SpectralConfig
from viso.errors import ConfigError
from viso.train.network_settings import VisoCnnSettings

__all__ = ["BandMap", "VisoCnn", "band_matrix"]


def band_matrix(
    spectral: SpectralConfig, *, n_bands: int, linear_to_hz: float, top_hz: float
) -> npt.NDArray[np.float32]:
    """Return triangular bands that divide the bins [shape=(n_bands, bins)].

    Below `linear_to_hz` each bin has its own band; above it, widths grow with frequency up to
    `top_hz`. Every column sums to one, so the transpose spreads a mask over the bins.

    Raises
    ------
    ConfigError
        If the bands cannot be placed so that each has a bin.
    """
    bin_hz = spectral.rate_hz / spectral.n_fft
    n_linear = int(linear_to_hz / bin_hz)
    n_log = n_bands - n_linear
    # Widths start at one bin and grow by a constant factor until the top is reached.
    low, high = 1.0 + 1e-6, 1.2
    span = min(top_hz / bin_hz, spectral.n_bins) - n_linear
    if not 1 <= n_log <= span:
        raise ConfigError(
            f"bands {n_bands}: {n_linear} bins below {linear_to_hz:g} Hz take one each, "
            f"the rest must be 1 to {max(0, int(span))} up to {top_hz:g} Hz"
        )
    while _reach(high, n_log) < span and high < 4:
        high *= 1.2
    for _ in range(80):
        ratio = (low + high) / 2
        low, high = (ratio, high) if _reach(ratio, n_log) < span else (low, ratio)
    widths = np.concatenate([np.ones(n_linear), ratio ** np.arange(n_log)])
    centres = np.concatenate([[0.0], np.cumsum(widths)[:-1]])
    bins = np.arange(spectral.n_bins)
    place = np.interp(bins, centres, np.arange(n_bands))
    matrix = np.maximum(0.0, 1.0 - np.abs(place[None, :] - np.arange(n_bands)[:, None]))
    return matrix.astype(np.float32)


def _reach(ratio: float, n: int) -> float:
    """Return the sum of `n` widths that start with 1 and grow by the factor `ratio`."""
    return float((ratio**n - 1) / (ratio - 1))


class BandMap(nn.Module):
    """Converts bins to bands (mean power), and masks of bands to bins.

    Parameters
    ----------
    matrix : float32 array [shape=(bands, bins)]
        Columns sum to one.
    """

    def __init__(self, matrix: npt.NDArray[np.float32]) -> None:
        super().__init__()
        spread = torch.from_numpy(matrix)
        self.spread: Tensor
        self.gather: Tensor
        self.register_buffer("spread", spread, persistent=False)
        self.register_buffer("gather", spread.T / spread.sum(dim=1), persistent=False)

    def bands(self, values: Tensor) -> Tensor:
        """Average over each band: (..., bins) to (..., bands)."""
        return values @ self.gather

    def bins(self, mask: Tensor) -> Tensor:
        """Interpolate between bands: (..., bands) to (..., bins)."""
        return mask @ self.spread


def _conv(inputs: int, outputs: int, kernel: tuple[int, int]) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=(kernel[0] // 2, kernel[1] // 2), bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class VisoCnn(nn.Module):
    """Computes vocal masks of mid and side from their magnitudes (see the module's drawing).

    Parameters
    ----------
    settings : VisoCnnSettings
    spectral : SpectralConfig
    """

    def __init__(self, settings: VisoCnnSettings, spectral: SpectralConfig) -> None:
        super().__init__()
        self.settings = settings
        self.map = BandMap(
            band_matrix(
                spectral,
                n_bands=settings.bands,
                linear_to_hz=settings.linear_to_hz,
                top_hz=settings.top_hz,
            )
        )
        c1, c2, c3, c4 = settings.channels
        h1, h2 = settings.dense
        (time_1, freq_1), (time_2, freq_2) = settings.pool_1, settings.pool_2
        self.time_step = time_1 * time_2
        self.conv_1 = _conv(2, c1, settings.kernel)
        self.conv_2 = _conv(c1, c2, settings.kernel)
        self.pool_1 = nn.MaxPool2d((time_1, freq_1))
        self.conv_3 = _conv(c2, c3, settings.kernel)
        self.conv_4 = _conv(c3, c4, settings.kernel)
        self.pool_2 = nn.MaxPool2d((time_2, freq_2))
        height = settings.bands // freq_1 // freq_2
        self.drop_0 = nn.Dropout1d(settings.dropout / 2)
        # A dense layer on a sliding window of frames is a convolution without padding.
        self.dense_1 = nn.Conv1d(
            c4 * height, h1, settings.dense_context, dilation=settings.dense_dilation
        )
        self.dense_2 = nn.Conv1d(h1, h2, 1)
        self.drop_1, self.drop_2 = nn.Dropout(settings.dropout), nn.Dropout(settings.dropout)
        self.out = nn.Conv1d(h2, 2 * self.time_step * settings.bands, 1)
        # Start at zero: first the dense layers decide alone, then they learn to use local detail.
        self.height = settings.bands // freq_1
        self.weigh = nn.Conv1d(h2, 2 * c2 * self.height, 1)
        for parameter in self.weigh.parameters():
            nn.init.zeros_(parameter)

    def count(self) -> int:
        """Return the number of trained parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def features(self, power: Tensor) -> Tensor:
        """Return the logarithm of the bands' power relative to the chunk's level.

        Parameters
        ----------
        power : Tensor [shape=(batch, 2, frames, bands)]

        Returns
        -------
        Tensor [shape=(batch, 2, frames, bands)]
        """
        level = power.mean(dim=(1, 2, 3), keepdim=True)
        return torch.log10(power / (level + 1e-12) + 1e-6) / 2

    def logits(self, features: Tensor) -> Tensor:
        """Return the masks before the sigmoid.

        Parameters
        ----------
        features : Tensor [shape=(batch, 2, frames, bands)]

        Returns
        -------
        Tensor [shape=(batch, 2, frames - 2 context, bands)]
        """
        settings = self.settings
        batch, bands = features.shape[0], settings.bands
        features = features.contiguous(memory_format=torch.channels_last)
        fine = self.conv_2(self.conv_1(features))
        coarse = self.pool_2(self.conv_4(self.conv_3(self.pool_1(fine))))
        window = self.drop_0(coarse.permute(0, 1, 3, 2).flatten(1, 2))
        hidden = self.drop_1(torch.relu(self.dense_1(window)))
        hidden = self.drop_2(torch.relu(self.dense_2(hidden)))
        kept = hidden.shape[2] * self.time_step
        surplus = kept - (settings.chunk_frames - 2 * settings.context_frames)
        logits = self.out(hidden).view(batch, 2, self.time_step, bands, -1)
        logits = logits.permute(0, 1, 4, 2, 3).flatten(2, 3)
        logits = logits + self._local(fine, hidden)
        middle: Tensor = logits[:, :, surplus // 2 : kept - (surplus - surplus // 2)]
        return middle

    def _local(self, fine: Tensor, hidden: Tensor) -> Tensor:
        """Weight the second convolution's features, band by band, with weights of the dense layers.

        Parameters
        ----------
        fine : Tensor [shape=(batch, c2, frames, bands)]
        hidden : Tensor [shape=(batch, h2, pooled frames)]

        Returns
        -------
        Tensor [shape=(batch, 2, kept frames, bands)]
        """
        batch, n, frames, bands = fine.shape
        weights = self.weigh(hidden).view(batch, 2, n, self.height, -1)
        weights = weights.repeat_interleave(bands // self.height, dim=3)
        weights = weights.repeat_interleave(self.time_step, dim=4)
        margin = (frames - weights.shape[4]) // 2
        local = fine[:, :, margin : margin + weights.shape[4]].transpose(2, 3)
        weighed: Tensor = (weights * local[:, None]).sum(dim=2)
        return weighed.transpose(2, 3)

    def forward(self, magnitude: Tensor) -> Tensor:
        """Return the vocal mask.

        Parameters
        ----------
        magnitude : Tensor [shape=(batch, 2, bins, frames)]
            Magnitudes of mid and side.

        Returns
        -------
        Tensor [shape=(batch, 2, bins, frames - 2 context)]
            Between 0 and 1.
        """
        power = self.map.bands(magnitude.transpose(2, 3).square())
        mask = torch.sigmoid(self.logits(self.features(power)))
        # The learnt mask is between the smoothed 0 and 1: stretch it to 0 and 1.
        smoothing = self.settings.smoothing
        mask = ((mask - smoothing) / (1 - 2 * smoothing)).clamp(0.0, 1.0)
        return self.map.bins(mask).transpose(2, 3)
