"""Computes the loss of a batch of sources; each kind of network has its objective."""

from __future__ import annotations

from typing import assert_never

import torch
from torch import Tensor, nn

from viso.train.data.mixer import Batch
from viso.train.network_settings import Lin2018Settings, UhlichBlstmSettings, UhlichFnnSettings
from viso.train.networks.banded import Banded
from viso.train.networks.tfc_tdf import TfcTdf, complex_mask
from viso.train.networks.viso_cnn import VisoCnn
from viso.train.objectives.losses import (
    band_residual,
    binary_target,
    complex_band_residual,
    mask_cross_entropy,
    regional_residual_db,
    residual_db,
)
from viso.train.objectives.spectra import Spectra, rotated
from viso.train.objectives.teachers import Teachers
from viso.train.papers.objectives import (
    AutoencoderObjective,
    MagnitudeObjective,
    WindowObjective,
)
from viso.train.recipe import (
    Recipe,
    TfcTdfSettings,
    VisoCnnSettings,
    VisoSettings,
)

__all__ = [
    "BinaryMaskObjective",
    "ResidualObjective",
    "blended",
    "build_first_objective",
    "build_objective",
]


def _product(one: Tensor, other: Tensor) -> Tensor:
    """Return the real part of ``one * conj(other)``; the last axis holds (real, imaginary).

    If both are equal, this is the power.
    """
    return (one * other).sum(dim=-1)


def _cross(one: Tensor, other: Tensor) -> Tensor:
    """Return the imaginary part of ``one * conj(other)``; the last axis holds (real, imaginary)."""
    return one[..., 1] * other[..., 0] - one[..., 0] * other[..., 1]


class BinaryMaskObjective(nn.Module):
    """Cross-entropy of `VisoCnn` against the smoothed ideal binary mask of mid and side.

    Parameters
    ----------
    recipe : Recipe
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self._recipe = recipe
        self._spectra = Spectra(recipe.spectral)

    def forward(self, network: VisoCnn, batch: Batch) -> Tensor:
        """Return the loss of the network on a batch, a scalar to differentiate."""
        spectral, settings = self._recipe.spectral, network.settings
        with torch.no_grad(), torch.autocast(batch.vocals.device.type, enabled=False):
            vocals, music = (
                self._spectra(rotated(sound)) for sound in (batch.vocals, batch.instrumental)
            )
            mixture = vocals + music
            power = _product(mixture, mixture)
            # Comparing powers gives the same mask as comparing magnitudes.
            mask = binary_target(
                _product(vocals, vocals), _product(music, music), smoothing=settings.smoothing
            )
            bands = network.map.bands(power)
            # The target of a wide band is the mean of its bins' masks, weighted by power.
            target = network.map.bands(mask * power) / (bands + 1e-9)
            features = network.features(bands)
            bins = torch.arange(network.map.spread.shape[1], device=bands.device)
            last_bin = ((network.map.spread > 0) * bins).amax(dim=1)
            end_hz = last_bin * (spectral.rate_hz / spectral.n_fft)
            allowed = (end_hz[None] < batch.bandwidth_hz[:, None]).float()[:, None, None]
        logits = network.logits(features).float()
        middle = slice(settings.context_frames, settings.chunk_frames - settings.context_frames)
        return mask_cross_entropy(
            logits,
            target[:, :, middle],
            bands[:, :, middle].sqrt(),
            allowed,
            power=self._recipe.schedule.loss_power,
        )


def blended(
    vocal_power: Tensor, shared: Tensor, power: Tensor, taught: Tensor, *, share: float
) -> tuple[Tensor, Tensor]:
    """Return power and product with the mixture of ``(1 - share) vocals + share taught mixture``.

    Parameters
    ----------
    vocal_power, shared, power : Tensor [shape=(batch, 2, frames, bands)]
        Power of the vocals, real part of their product with the mixture, power of the mixture.
    taught : Tensor [shape=(batch, 2, frames, bands)]
        The teachers' mask.
    share : float

    Returns
    -------
    vocal_power, shared : Tensor [shape=(batch, 2, frames, bands)]
    """
    heard = share * taught
    true = 1 - share
    product = true * shared + heard * power
    return true**2 * vocal_power + heard * (true * shared + product), product


_REGIONS_HZ = (800.0, 2500.0, 5000.0, 10_000.0)


def _regions(width: Tensor, hz_a_bin: float) -> Tensor:
    """Return 1 where a band ends in a region, otherwise 0 [shape=(regions, bands)]."""
    end_hz = torch.cumsum(width, 0) * hz_a_bin
    edges = torch.tensor([0.0, *_REGIONS_HZ, torch.inf], device=width.device)
    inside = (end_hz > edges[:-1, None]) & (end_hz <= edges[1:, None])
    return inside.to(width.dtype)


class ResidualObjective(nn.Module):
    """The error of the spectra after the masks of mid and side, in decibels.

    With teachers, the target is a blend of the true vocals and the teachers' estimate. A share of
    the loss (`regional_loss` of the schedule) is the mean of this error over five regions of
    frequency: up to 0.8, 2.5, 5, 10 kHz and above.

    Parameters
    ----------
    recipe : Recipe
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self._recipe = recipe
        self._spectra = Spectra(recipe.spectral)
        self._teachers = Teachers(recipe)

    def forward(self, network: Banded, batch: Batch) -> Tensor:
        """Return the loss of the network on a batch, a scalar to differentiate."""
        spectral, bands = self._recipe.spectral, network.bands
        with torch.no_grad(), torch.autocast(batch.vocals.device.type, enabled=False):
            vocals = self._spectra(rotated(batch.vocals))[:, :, :, : bands.n_bins]
            mixture = self._spectra(rotated(batch.mixture))[:, :, :, : bands.n_bins]
            parts = mixture.permute(0, 1, 4, 2, 3).flatten(1, 2)
            powers = network.powers(parts)
            features = network.inputs(parts, powers)
            vocal_power = bands.sums(_product(vocals, vocals))
            shared = bands.sums(_product(vocals, mixture))
            # Leave out bands above the narrower source: they would teach that it is silent there.
            end_hz = torch.cumsum(bands.width, 0) * (spectral.rate_hz / spectral.n_fft)
            allowed = (end_hz[None] <= batch.bandwidth_hz[:, None]).float()[:, None, None]
        if self._teachers:
            taught = self._teachers.mask(powers)
            part = self._recipe.schedule.teachers_share
            vocal_power, shared = blended(vocal_power, shared, powers[:, :2], taught, share=part)
        logits = network.logits(features).float()
        if isinstance(network, TfcTdf) and network.is_complex:
            across = bands.sums(_cross(vocals, mixture))
            residual = complex_band_residual(
                complex_mask(logits), powers[:, :2], vocal_power, (shared, across)
            )
        else:
            residual = band_residual(torch.sigmoid(logits), powers[:, :2], vocal_power, shared)
        loss = residual_db(residual, powers[:, :2], allowed)
        part = self._recipe.schedule.regional_loss
        if not part:
            return loss
        regions = _regions(bands.width, spectral.rate_hz / spectral.n_fft)
        by_region = regional_residual_db(residual, powers[:, :2], allowed, regions)
        return torch.lerp(loss, by_region, part)


def build_objective(recipe: Recipe) -> nn.Module:
    """Return the objective for the recipe's kind of network."""
    match recipe.network:
        case VisoCnnSettings():
            return BinaryMaskObjective(recipe)
        case VisoSettings() | TfcTdfSettings():
            return ResidualObjective(recipe)
        case Lin2018Settings():
            return WindowObjective(recipe)
        case UhlichFnnSettings() | UhlichBlstmSettings():
            return MagnitudeObjective(recipe)
        case never:
            assert_never(never)


def build_first_objective(recipe: Recipe) -> tuple[nn.Module | None, float]:
    """Return the objective of a network's first task, if any, and its share of the run."""
    if isinstance(recipe.network, Lin2018Settings):
        return AutoencoderObjective(recipe), recipe.network.autoencoder
    return None, 0.0
