"""Computes the loss of a batch of sources, for networks of papers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from viso.train.data.mixer import Batch
from viso.train.objectives.losses import binary_target, magnitude_share, mask_cross_entropy
from viso.train.objectives.spectra import Spectra
from viso.train.papers.lin2018 import Lin2018
from viso.train.papers.uhlich2017 import UhlichBlstm, UhlichFnn
from viso.train.recipe import Recipe

__all__ = ["AutoencoderObjective", "MagnitudeObjective", "WindowObjective"]

_EVERY_BIN_ALIKE = 0.0


def _allowed(batch: Batch, recipe: Recipe) -> Tensor:
    """Return 1 for the bins below the narrower source's bandwidth [shape=(batch, 1, 1, bins)]."""
    spectral = recipe.spectral
    bins = torch.arange(spectral.n_bins, device=batch.bandwidth_hz.device)
    hz = bins * (spectral.rate_hz / spectral.n_fft)
    return (hz[None] < batch.bandwidth_hz[:, None]).float()[:, None, None]


class WindowObjective(nn.Module):
    """Cross-entropy of `Lin2018` against the smoothed ideal binary mask, with equal weights.

    Left and right are separate examples. Windows of each are drawn with torch's global generator,
    like dropout.

    Parameters
    ----------
    recipe : Recipe
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self._recipe = recipe
        self._spectra = Spectra(recipe.spectral)

    def forward(self, network: Lin2018, batch: Batch) -> Tensor:
        """Return the loss of the network on a batch, a scalar to differentiate."""
        with torch.no_grad(), torch.autocast(batch.vocals.device.type, enabled=False):
            vocals, music, mixture, allowed = self._windows(network, batch)
            seen, target = self._task(network, vocals, music, mixture)
        logits = network.logits(seen).float()[:, None]
        return mask_cross_entropy(logits, target, mixture, allowed, power=_EVERY_BIN_ALIKE)

    def _task(
        self, network: Lin2018, vocals: Tensor, music: Tensor, mixture: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the network's input and its target, both with the shape of `mixture`."""
        return mixture, binary_target(vocals, music, smoothing=network.settings.smoothing)

    def _windows(self, network: Lin2018, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return magnitudes of both sources and of the mixture [shape=(n, 1, 9, bins)].

        The fourth tensor marks the bins that count [shape=(n, 1, 1, bins)].
        """
        spectra = [self._spectra(sound) for sound in (batch.vocals, batch.instrumental)]
        spectra.append(spectra[0] + spectra[1])
        size, n_drawn = network.settings.window_frames, network.settings.windows
        n_chunks, n_channels, n_frames = spectra[0].shape[:3]
        n = n_chunks * n_channels
        first = torch.randint(n_frames - size + 1, (n, n_drawn), device=batch.vocals.device)
        row = torch.arange(n, device=first.device)[:, None, None]
        frame = first[:, :, None] + torch.arange(size, device=first.device)
        vocals, music, mixture = (
            (parts.flatten(0, 1)[row, frame].norm(dim=-1) * network.scale).flatten(0, 1)[:, None]
            for parts in spectra
        )
        allowed = _allowed(batch, self._recipe).repeat_interleave(n_channels * n_drawn, dim=0)
        return vocals, music, mixture, allowed


class AutoencoderObjective(WindowObjective):
    """The first task of `Lin2018`: to reproduce the magnitudes after the ideal binary mask.

    The loss is the paper's, with magnitudes in place of 0 and 1: scaled by the window's sum, they
    are at most 1 if the samples are.
    """

    def _task(
        self, network: Lin2018, vocals: Tensor, music: Tensor, mixture: Tensor
    ) -> tuple[Tensor, Tensor]:
        kept = (mixture * binary_target(vocals, music, smoothing=0.0)).clamp_max(1.0)
        return kept, kept


class MagnitudeObjective(nn.Module):
    """Squared error of the magnitudes that the networks of Uhlich et al. 2017 estimate.

    Parameters
    ----------
    recipe : Recipe
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self._recipe = recipe
        self._spectra = Spectra(recipe.spectral)

    def forward(self, network: UhlichFnn | UhlichBlstm, batch: Batch) -> Tensor:
        """Return the loss of the network on a batch, a scalar to differentiate."""
        wanted = batch.vocals if network.settings.target == "vocals" else batch.instrumental
        with torch.no_grad(), torch.autocast(batch.vocals.device.type, enabled=False):
            target, mixture = (
                self._spectra(sound).norm(dim=-1) for sound in (wanted, batch.mixture)
            )
            allowed = _allowed(batch, self._recipe)
        estimate = network.magnitudes(mixture).float()
        missing = mixture.shape[2] - estimate.shape[2]
        middle = slice(missing // 2, mixture.shape[2] - missing // 2)
        return magnitude_share(estimate, target[:, :, middle], mixture[:, :, middle], allowed)
