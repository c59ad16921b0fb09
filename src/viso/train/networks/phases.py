"""Phases of the lowest bins, as features for a network over bands."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from viso.dsp.stft import SpectralConfig
from viso.train.network_settings import TfcTdfSettings
from viso.train.networks.banded import sounding

__all__ = ["N_PHASES", "Phases"]

N_PHASES = 8
"""Maps: real and imaginary parts, of mid and side, of the lowest and highest bin of a band."""

_FLOOR = 1e-3  # share of the level; the phase of softer bins is useless


class Phases(nn.Module):
    """Real and imaginary parts of the lowest bins, relative to their own level and compressed.

    The phase of bin k turns by ``2 pi k hop / n_fft`` from frame to frame, and by half a turn from
    bin to bin, because its origin is the frame's first sample. This module removes both turns. The
    remaining phase is constant for a steady tone at the bin's middle and turns slowly for tones
    near it. It does so in the same way at every frequency, so convolutions learn it only once. With
    the mean level l, a magnitude m becomes ``(m / l) ** 0.5``.

    Parameters
    ----------
    settings : TfcTdfSettings
        `phase_bins` is the number of bins used; bands above them get zeros.
    spectral : SpectralConfig
    """

    def __init__(self, settings: TfcTdfSettings, spectral: SpectralConfig) -> None:
        super().__init__()
        self.n_bins = settings.phase_bins
        lower, n_bands, first = [], 0, 0
        for count, width in settings.segments:
            for _ in range(count):
                n_bands += 1
                if first < self.n_bins:
                    lower.append((first, first + width - 1))
                first += width
        self.n_silent = n_bands - len(lower)
        self.places: Tensor
        self.register_buffer("places", torch.tensor(lower).T.contiguous(), persistent=False)
        # The turn of a bin repeats after this many frames.
        period = spectral.n_fft // spectral.hop
        self.period = period if spectral.n_fft % spectral.hop == 0 else spectral.n_fft
        frames = torch.arange(self.period, dtype=torch.float64)[:, None]
        bins = torch.arange(self.n_bins, dtype=torch.float64)
        turn = 2 * torch.pi * bins * (0.5 - frames * spectral.hop / spectral.n_fft)
        self.cosine: Tensor
        self.sine: Tensor
        self.register_buffer("cosine", turn.cos().float(), persistent=False)
        self.register_buffer("sine", turn.sin().float(), persistent=False)

    def forward(self, parts: Tensor) -> Tensor:
        """Return the maps.

        Parameters
        ----------
        parts : Tensor [shape=(batch, 4, frames, bins)]
            Real and imaginary parts of mid, then of side.

        Returns
        -------
        Tensor [shape=(batch, 8, frames, bands)]
        """
        batch, _, n_frames, _ = parts.shape
        heard = parts[..., : self.n_bins].reshape(batch, 2, 2, n_frames, self.n_bins)
        turns = torch.arange(n_frames, device=heard.device) % self.period
        cosine, sine = self.cosine[turns], self.sine[turns]
        x, y = heard[:, :, 0], heard[:, :, 1]
        turned = torch.stack([x * cosine - y * sine, x * sine + y * cosine], dim=2)
        power = heard.square().sum(dim=2, keepdim=True)
        energy = power[:, 0, 0].mean(dim=2)
        sounds = sounding(power[:, :, 0])
        level = (energy * sounds).sum(dim=1) / sounds.sum(dim=1).clamp_min(1) + 1e-12
        level = level[:, None, None, None, None]
        maps = turned * (level * (power + _FLOOR**2 * level)).pow(-0.25)
        narrow = torch.cat([maps[..., self.places[0]], maps[..., self.places[1]]], dim=2)
        return nn.functional.pad(narrow.flatten(1, 2), (0, self.n_silent))
