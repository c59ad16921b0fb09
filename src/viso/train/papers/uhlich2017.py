"""The networks of Uhlich et al. 2017: estimate the vocals' magnitudes from a stereo mixture's.

With T frames of F bins in left and right, 2 F = 4098 values a frame::

    magnitudes          (T, 2 F)            (T, 2 F)
    standardised        (T, 2 F)            (T, 2 F)         by bin, over the training mixtures
    7 frames together   (T - 6, 14 F)
    dense, ReLU         (T - 6, 500)  x 3   (T, 500)  x 3    LSTM, forwards and backwards
    dense               (T - 6, 2 F)        (T, 2 F)         times the deviation of the bin
    = magnitudes of the vocals

`forward` returns a mask instead: the vocals' magnitude over the mixture's, from 0 to 1.

The paper states these facts about its systems: ReLU layers on neighbouring frames; three BLSTM
layers of 500 cells (from a later submission); FFT 4096 and hop 1024; magnitudes from magnitudes; a
network for each instrument; the augmentation of sources, which the recipe sets here. It leaves the
following open, and the choices here are as simple as possible: three ReLU layers of 500 as well;
three neighbours on either side (more would make the file larger than 25 MB); half of the 500 cells
run backwards (for the same reason); no layer between LSTM and output, which is linear; no dropout;
no reduction of the input (such as principal components); bins are standardised by mean and
deviation; the output starts as silence; the loss is that of
`viso.train.papers.objectives.MagnitudeObjective`. One option is not in the paper and must be
requested: `draws = "shares"` multiplies outputs by the mixture's magnitude, which is learnt much
sooner.

References
----------
Uhlich, Porcu, Giron, Enenkl, Kemp, Takahashi, Mitsufuji, "Improving music source separation based
on deep neural networks through data augmentation and network blending", ICASSP 2017.
"""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor, nn

from viso.dsp.stft import SpectralConfig
from viso.train.network_settings import UhlichBlstmSettings, UhlichFnnSettings

__all__ = ["UhlichBlstm", "UhlichFnn"]

_QUIET = 0.01  # a magnitude 100 dB below that of a full-scale sine (1024): too quiet for music


class _Magnitudes(nn.Module):
    """The base of both networks: standardises bins and computes the output magnitudes.

    Parameters
    ----------
    n_bins : int
    n_hidden : int
        Values a frame at the input of the output layer.
    draws : {"magnitudes", "shares"}
        Unit of the output: the deviation of the bin, or the mixture's magnitude.
    """

    def __init__(self, n_bins: int, n_hidden: int, *, draws: str) -> None:
        super().__init__()
        self.n_bins, self.draws = n_bins, draws
        # Without momentum, mean and deviation are those of all mixtures so far.
        self.norm = nn.BatchNorm1d(n_bins, momentum=None, affine=False)
        self.out = nn.Linear(n_hidden, 2 * n_bins)
        # The output starts as silence, a better guess than random values.
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def count(self) -> int:
        """Return the number of trained parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def standardised(self, magnitude: Tensor) -> Tensor:
        """Return both channels of a frame together; each bin has mean 0 and deviation 1.

        Parameters
        ----------
        magnitude : Tensor [shape=(batch, 2, frames, bins)]

        Returns
        -------
        Tensor [shape=(batch, frames, 2 bins)]
        """
        flat: Tensor = self.norm(magnitude.flatten(0, 2))
        return flat.view_as(magnitude).transpose(1, 2).flatten(2)

    def drawn(self, hidden: Tensor, mixture: Tensor) -> Tensor:
        """Return the magnitudes of the vocals, with the shape of the mixture's.

        Parameters
        ----------
        hidden : Tensor [shape=(batch, frames, hidden)]
        mixture : Tensor [shape=(batch, 2, frames, bins)]
        """
        if self.norm.running_var is None:
            raise AssertionError("the norm keeps what it has seen")
        deviation = (self.norm.running_var + self.norm.eps).sqrt()
        # No ReLU here: outputs that it sets to 0 would never learn again.
        values = torch.unflatten(self.out(hidden), 2, (2, self.n_bins))
        if self.draws == "shares":
            return values.transpose(1, 2) * mixture
        return values.transpose(1, 2) * deviation


def _mask(vocals: Tensor, mixture: Tensor) -> Tensor:
    """Return the vocals' share of the mixture's magnitude; both have the same shape."""
    return torch.minimum(vocals, mixture).clamp_min(0) / mixture.clamp_min(_QUIET)


class UhlichFnn(_Magnitudes):
    """Dense layers on a frame and its neighbours (see the module's drawing).

    Parameters
    ----------
    settings : UhlichFnnSettings
    spectral : SpectralConfig
    """

    def __init__(self, settings: UhlichFnnSettings, spectral: SpectralConfig) -> None:
        super().__init__(spectral.n_bins, settings.hidden[-1], draws=settings.draws)
        self.settings = settings
        self.n_seen = 2 * settings.neighbours + 1
        first, *others = settings.hidden
        # Apply the weights for each neighbour to all frames, then shift and add: this equals a
        # layer on 7 frames together, without copying them.
        self.enter = nn.Linear(2 * spectral.n_bins, self.n_seen * first, bias=False)
        self.bias = nn.Parameter(torch.zeros(first))
        nn.init.kaiming_uniform_(self.enter.weight, nonlinearity="relu")
        with torch.no_grad():
            self.enter.weight /= self.n_seen**0.5
        self.layers = nn.ModuleList(
            nn.Linear(before, after) for before, after in zip(settings.hidden, others, strict=False)
        )

    def magnitudes(self, mixture: Tensor) -> Tensor:
        """Return the vocals' magnitudes; frames without neighbours are left out.

        Parameters
        ----------
        mixture : Tensor [shape=(batch, 2, frames, bins)]

        Returns
        -------
        Tensor [shape=(batch, 2, frames - 2 neighbours, bins)]
        """
        parts = self.enter(self.standardised(mixture)).chunk(self.n_seen, dim=2)
        kept = mixture.shape[2] - self.n_seen + 1
        shifted = [part[:, place : place + kept] for place, part in enumerate(parts)]
        hidden = torch.relu(reduce(torch.add, shifted) + self.bias)
        for layer in self.layers:
            hidden = torch.relu(layer(hidden))
        beside = self.settings.neighbours
        return self.drawn(hidden, mixture[:, :, beside : beside + kept])

    def forward(self, magnitude: Tensor) -> Tensor:
        """Return the mask [shape=(batch, 2, frames - 2 context, bins)], between 0 and 1.

        Parameters
        ----------
        magnitude : Tensor [shape=(batch, 2, frames, bins)]
        """
        beside = self.settings.neighbours
        spare = self.settings.context_frames - beside
        frames = magnitude.shape[2]
        middle = magnitude[:, :, beside : frames - beside]
        mask = _mask(self.magnitudes(magnitude), middle)
        return mask[:, :, spare : frames - 2 * beside - spare]


class UhlichBlstm(_Magnitudes):
    """Recurrent layers that run over a chunk both ways (see the module's drawing).

    A chunk's first frames have little sound before them, and its last frames little after them.
    They are the card's context, which is computed and dropped.

    Parameters
    ----------
    settings : UhlichBlstmSettings
    spectral : SpectralConfig
    """

    def __init__(self, settings: UhlichBlstmSettings, spectral: SpectralConfig) -> None:
        super().__init__(spectral.n_bins, settings.cells, draws=settings.draws)
        self.settings = settings
        self.lstm = nn.LSTM(
            2 * spectral.n_bins,
            settings.cells // 2,
            settings.layers,
            batch_first=True,
            bidirectional=True,
        )

    def magnitudes(self, mixture: Tensor) -> Tensor:
        """Return the vocals' magnitudes, with the shape of the mixture's.

        Parameters
        ----------
        mixture : Tensor [shape=(batch, 2, frames, bins)]
        """
        hidden: Tensor = self.lstm(self.standardised(mixture))[0]
        return self.drawn(hidden, mixture)

    def forward(self, magnitude: Tensor) -> Tensor:
        """Return the mask of all frames, between 0 and 1.

        Parameters
        ----------
        magnitude : Tensor [shape=(batch, 2, frames, bins)]
        """
        return _mask(self.magnitudes(magnitude), magnitude)
