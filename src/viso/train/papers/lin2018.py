"""The network of Lin et al. 2018: computes the binary mask of 9 frames from their magnitudes.

Read from top to bottom, with N windows of 9 frames and 2049 bins, each channel separately::

    magnitudes                (N, 1, 9, 2049)
    conv 3x12, conv 3x12      (N, 32, ...), (N, 16, 9, 2049)
    max pool 1x12             (N, 16, 9, 171)
    conv 3x12, conv 3x12      (N, 64, ...), (N, 32, 9, 171)
    max pool 1x12             (N, 32, 9, 15)
    flatten                   (N, 4320)
    dropout, dense, ReLU      (N, 2048)
    dropout, dense, ReLU      (N, 512)
    dense, sigmoid            (N, 9, 2049)      only the middle frame is kept

Every convolution has the size of its input ("same" padding). So at the edge of a window it sees
zeros instead of the song, and the dense layers see those edges: after four convolutions of 3 frames
only the middle frame does not depend on them. Therefore a convolution over the whole song is *not*
the same network. `Lin2018.forward` gives exactly the result of separate windows, with less than
half the work: a convolution is a sum of three products, one for each frame of its kernel, and
windows that share a frame share its products::

    index in the window   0   1   2   3   4   5   6   7   8
    after convolution 1   L   .   .   .   .   .   .   .   R    .  the same for all windows
               2          L   L   .   .   .   .   .   R   R    L  depends on the window's start
               3          L   L   L   .   .   .   R   R   R    R  depends on its end
               4          L   L   L   L   .   R   R   R   R

The pools allow this, because they do not reach across frames.

The available description of the paper leaves some details open. Here an even kernel pads 5 bins
below and 6 above, the last pool of a row is short, Xavier's weights are drawn uniformly, and the
values are flattened channel by channel. The paper's threshold is a step; here it is a ramp 0.01
wide, so that rounding, which differs between machines, never switches a bin.

References
----------
Lin, Balamurali, Koh, Lui, Herremans, "Singing voice separation using a deep convolutional neural
network trained by ideal binary mask and cross entropy", 2018, arXiv 1812.01278.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional

from viso.dsp.stft import SpectralConfig
from viso.train.network_settings import Lin2018Settings

__all__ = ["RAMP", "Lin2018"]

RAMP = 0.01
"""Width of the threshold: over this range of the mask, its values fall to 0."""
_FIRST_BIAS = 0.1
_PLACES, _TAPS = range(9), range(3)  # frames of a window, and of a kernel


@dataclass(frozen=True)
class _Places:
    """A layer's values for every frame of every window, each stored once.

    `shared` [shape=(frames, ...)] holds the values that are the same for all windows, by frame.
    `edges` [shape=(windows, ...)] holds the outermost frames, by window.
    """

    shared: Tensor
    edges: dict[int, Tensor]

    @property
    def n_edge(self) -> int:
        """The number of frames at either end that depend on where the window ends."""
        return len(self.edges) // 2

    @property
    def n_windows(self) -> int:
        return len(self.shared) - 8 + 2 * self.n_edge

    def at(self, place: int) -> Tensor:
        """Return one frame of every window [shape=(windows, ...)]."""
        if place in self.edges:
            return self.edges[place]
        return self.shared[place - self.n_edge :][: self.n_windows]


def _products(values: Tensor, layer: nn.Conv2d, taps: Sequence[int]) -> dict[int, Tensor]:
    """Convolve frames [shape=(n, channels, 1, bins)] with each of these time slices of a kernel."""
    around = (layer.kernel_size[1] - 1) // 2, layer.kernel_size[1] // 2
    weight = torch.cat([layer.weight[:, :, tap : tap + 1] for tap in taps])
    together = functional.conv2d(functional.pad(values, around), weight)
    return dict(zip(taps, torch.split(together, layer.out_channels, dim=1), strict=True))


def _convolved(x: _Places, layer: nn.Conv2d, after: nn.Module) -> _Places:
    """Convolve windows, add the bias and apply `after`."""
    shared = _products(x.shared, layer, _TAPS)
    edges = {
        # Skip the products that a window's end would add to frames outside.
        place: _products(part, layer, [tap for tap in _TAPS if place + 1 - tap in _PLACES])
        for place, part in x.edges.items()
    }
    first, n = x.n_edge, x.n_windows
    bias = layer.weight.new_zeros(1) if layer.bias is None else layer.bias[:, None, None]

    def look(place: int, tap: int) -> Tensor:
        if place in edges:
            return edges[place][tap]
        return shared[tap][place - first :][:n]

    def total(parts: list[Tensor]) -> Tensor:
        values: Tensor = after(reduce(torch.add, parts) + bias)
        return values

    def at(place: int) -> Tensor:
        return total([look(place + tap - 1, tap) for tap in _TAPS if place + tap - 1 in _PLACES])

    outermost = [*range(first + 1), *range(8 - first, 9)]
    inner = len(x.shared) - 2
    return _Places(
        total([shared[tap][tap : tap + inner] for tap in _TAPS]),
        {place: at(place) for place in outermost},
    )


class Lin2018(nn.Module):
    """Computes the vocal mask of one channel from its magnitudes (see the module's drawing).

    Parameters
    ----------
    settings : Lin2018Settings
    spectral : SpectralConfig
        With a window of 1024 samples and a transform of 4096, as in the paper, there are 2049
        bins and 19,489,049 parameters.
    """

    def __init__(self, settings: Lin2018Settings, spectral: SpectralConfig) -> None:
        super().__init__()
        self.settings, self.n_bins = settings, spectral.n_bins
        # The paper divides the window by its sum, so a sine of amplitude A has a peak of A / 2.
        self.scale = 2 / spectral.window_length
        widths = [1, *settings.channels]
        kernel = (3, settings.kernel_bins)
        self.conv_1, self.conv_2, self.conv_3, self.conv_4 = (
            nn.Conv2d(before, after, kernel)
            for before, after in zip(widths, settings.channels, strict=False)
        )
        self.pool = nn.MaxPool2d((1, settings.pool_bins), ceil_mode=True)
        height = ceil(ceil(self.n_bins / settings.pool_bins) / settings.pool_bins)
        h1, h2 = settings.dense
        self.dense_1 = nn.Linear(settings.channels[3] * 9 * height, h1)
        self.dense_2 = nn.Linear(h1, h2)
        self.out = nn.Linear(h2, 9 * self.n_bins)
        self.drop_1, self.drop_2 = nn.Dropout(settings.dropout), nn.Dropout(settings.dropout)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                if layer.bias is not None:
                    nn.init.constant_(layer.bias, _FIRST_BIAS)

    def count(self) -> int:
        """Return the number of trained parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def logits(self, windows: Tensor) -> Tensor:
        """Return the masks of whole windows before the sigmoid, for training.

        Parameters
        ----------
        windows : Tensor [shape=(n, 1, 9, bins)]
            Magnitudes times `scale`.

        Returns
        -------
        Tensor [shape=(n, 9, bins)]
        """
        x = windows.contiguous(memory_format=torch.channels_last)
        x = torch.relu(self.conv_2(self._padded(torch.relu(self.conv_1(self._padded(x))))))
        x = self._padded(self.pool(x))
        x = self.pool(torch.relu(self.conv_4(self._padded(torch.relu(self.conv_3(x))))))
        hidden = torch.relu(self.dense_1(self.drop_1(x.flatten(1))))
        hidden = torch.relu(self.dense_2(self.drop_2(hidden)))
        return torch.unflatten(self.out(hidden), 1, (9, self.n_bins))

    def _padded(self, x: Tensor) -> Tensor:
        size = self.settings.kernel_bins
        return functional.pad(x, ((size - 1) // 2, size // 2, 1, 1))

    def middles(self, frames: Tensor) -> Tensor:
        """Return the middle frame of `logits` for the window around every frame, but faster.

        Parameters
        ----------
        frames : Tensor [shape=(frames, bins)]
            Magnitudes of one channel times `scale`.

        Returns
        -------
        Tensor [shape=(frames - 8, bins)]
        """
        x = _Places(frames[:, None, None], {})
        pooled = nn.Sequential(self.pool, nn.ReLU())
        for layer in (self.conv_1, self.conv_2, self.conv_3, self.conv_4):
            x = _convolved(x, layer, pooled if layer in (self.conv_2, self.conv_4) else nn.ReLU())
        # (windows, channels, 9, 15), the layout of separate windows.
        flat = torch.cat([x.at(place) for place in _PLACES], dim=2).flatten(1)
        hidden = torch.relu(self.dense_2(torch.relu(self.dense_1(flat))))
        middle = slice(4 * self.n_bins, 5 * self.n_bins)
        return functional.linear(hidden, self.out.weight[middle], self.out.bias[middle])

    def forward(self, magnitude: Tensor) -> Tensor:
        """Return the vocal mask.

        Parameters
        ----------
        magnitude : Tensor [shape=(batch, 1, frames, bins)]

        Returns
        -------
        Tensor [shape=(batch, 1, frames - 2 context, bins)]
            Between 0 and 1; 0 below the threshold.
        """
        spare = self.settings.context_frames - 4
        kept = slice(spare, magnitude.shape[2] - 8 - spare)
        songs = [self.middles(frames)[kept] for frames in (magnitude[:, 0] * self.scale).unbind(0)]
        mask = torch.sigmoid(torch.stack(songs)[:, None])
        if not self.settings.threshold:
            return mask
        return mask * ((mask - self.settings.threshold) / RAMP + 0.5).clamp(0, 1)
