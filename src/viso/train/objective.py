"""From a batch of sources to the loss: spectra, bands, ideal mask, cross-entropy."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from viso.train.losses import binary_target, mask_cross_entropy
from viso.train.mixer import Batch
from viso.train.networks.viso_cnn import VisoCnn
from viso.train.recipe import Recipe

__all__ = ["Objective"]


class Objective:
    """What a network of a recipe is trained for.

    Parameters
    ----------
    recipe : Recipe
    network : VisoCnn
        On the training device.
    """

    def __init__(self, recipe: Recipe, network: VisoCnn) -> None:
        self._recipe, self._network = recipe, network
        spectral, device = recipe.spectral, network.map.spread.device
        self._window = torch.hann_window(spectral.n_fft, device=device)
        band_bin = network.map.spread.argmax(dim=1)
        self._band_hz = band_bin * spectral.rate_hz / spectral.n_fft

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss of the network on a batch, a scalar to differentiate."""
        network = self._network
        with torch.no_grad():
            vocals, music = self._spectra(batch.vocals), self._spectra(batch.instrumental)
            power = _power(vocals + music)
            # Powers compare as magnitudes do.
            smoothing = network.settings.smoothing
            mask = binary_target(_power(vocals), _power(music), smoothing=smoothing)
            bands = network.map.bands(power)
            # A band of several bins aims at the mean of their binary masks, the loud ones first.
            target = network.map.bands(mask * power) / (bands + 1e-9)
            features = network.features(bands)
            allowed = (self._band_hz[None] < batch.bandwidth_hz[:, None]).float()[:, None, None]
        logits = network.logits(features)
        settings = self._recipe.network
        middle = slice(settings.context_frames, settings.chunk_frames - settings.context_frames)
        return mask_cross_entropy(
            logits,
            target[:, :, middle],
            bands[:, :, middle].sqrt(),
            allowed,
            power=self._recipe.schedule.loss_power,
        )

    def _spectra(self, audio: Tensor) -> Tensor:
        """Mid and side spectra [shape=(batch, 2, frames, bins)]."""
        left, right = audio[:, 0], audio[:, 1]
        rotated = torch.stack([left + right, left - right], dim=1) * math.sqrt(0.5)
        spectral = self._recipe.spectral
        frames = torch.stft(
            rotated.flatten(0, 1),
            spectral.n_fft,
            spectral.hop,
            window=self._window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        bins, n = frames.shape[1:]
        return frames.reshape(len(audio), 2, bins, n).transpose(2, 3)


def _power(spectra: Tensor) -> Tensor:
    """Squared magnitude; the direct way costs a third of ``abs() ** 2``."""
    return torch.view_as_real(spectra).square().sum(dim=-1)
