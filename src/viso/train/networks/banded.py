"""The base of networks over bands: it makes their features, and masks of mid and side after them.

With B songs, T frames, F bins and N bands::

    spectra of mid and side    (B, 4, T, F)       real and imaginary parts
    power of mid, side, left,
    right in bands; log        (B, 4, T, N)       one bin a band for low frequencies, wide above
    the network                (B, 2, T, N)
    sigmoid, bands to bins     (B, 2, T', F)      masks of mid and side, T' = T - 2 context

Bands lose little: with the best possible factor for each band of mid and side, 256 bands (10.8 Hz
wide at the bottom) are within 0.1 dB of one factor a bin.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from viso.dsp.stft import SpectralConfig
from viso.errors import ConfigError
from viso.train.network_settings import BandedSettings
from viso.train.networks.bands import Bands
from viso.train.networks.harmonics import Harmonics

__all__ = ["N_FEATURES", "Banded", "jittered", "sounding"]

N_FEATURES = 4
_SILENCE = 1e-5  # share of the loudest frame's power


class Banded(nn.Module):
    """Computes vocal masks of mid and side from their spectra (see the module's drawing).

    Subclasses implement `raw_logits`.

    Parameters
    ----------
    settings : BandedSettings
    spectral : SpectralConfig
    inputs : int
        Number of feature maps: those of `features` first, others may follow.

    Raises
    ------
    ConfigError
        If the bands do not fit the transform.
    """

    def __init__(
        self, settings: BandedSettings, spectral: SpectralConfig, *, inputs: int = N_FEATURES
    ) -> None:
        super().__init__()
        self.settings: BandedSettings = settings
        self.bands = Bands(settings.segments)
        if self.bands.n_bins > spectral.n_bins:
            raise ConfigError(
                f"segments hold {self.bands.n_bins} bins, n_fft {spectral.n_fft} has only "
                f"{spectral.n_bins}"
            )
        ratios = settings.harmonics
        self.harmonics = Harmonics(self.bands.width, ratios) if ratios else None
        self.n_maps = inputs + len(ratios)
        self.norm = nn.BatchNorm1d(self.n_maps * self.bands.n_bands)

    def count(self) -> int:
        """Return the number of trained parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def powers(self, parts: Tensor) -> Tensor:
        """Return the power of mid, side, left and right in every band.

        Parameters
        ----------
        parts : Tensor [shape=(batch, 4, frames, bins)]
            Real and imaginary parts of mid, then of side.

        Returns
        -------
        Tensor [shape=(batch, 4, frames, bands)]
            Sums over the bins of a band.
        """
        pairs = parts.reshape(parts.shape[0], 2, 2, *parts.shape[2:])
        power = pairs.square().sum(dim=2)
        across = (pairs[:, 0] * pairs[:, 1]).sum(dim=1, keepdim=True)
        mid, side, across = self.bands.sums(torch.cat([power, across], dim=1)).unbind(dim=1)
        # Compute |L|^2 and |R|^2 from mid and side; this saves two transforms.
        mean = (mid + side) / 2
        return torch.stack(
            [mid, side, (mean + across).clamp_min(0), (mean - across).clamp_min(0)], dim=1
        )

    def inputs(self, parts: Tensor, powers: Tensor) -> Tensor:
        """Return the input of `logits`: `features`, then any other maps of the network.

        Parameters
        ----------
        parts : Tensor [shape=(batch, 4, frames, bins)]
            See `powers`.
        powers : Tensor [shape=(batch, 4, frames, bands)]
            The powers of `parts`.

        Returns
        -------
        Tensor [shape=(batch, inputs, frames, bands)]
        """
        return self.features(powers)

    def features(self, powers: Tensor) -> Tensor:
        """Return the logarithm of each band's mean power of a bin, relative to the chunk's level.

        The level is the mean over the frames that are not silent: silence before, after or within
        a song does not change the features of its sound.

        Parameters
        ----------
        powers : Tensor [shape=(batch, 4, frames, bands)]

        Returns
        -------
        Tensor [shape=(batch, 4, frames, bands)]
        """
        mean = powers / self.bands.width
        energy = mean[:, :2].mean(dim=(1, 3))
        sounds = sounding(mean[:, :2])
        level = (energy * sounds).sum(dim=1) / sounds.sum(dim=1).clamp_min(1)
        return torch.log10(mean / (level[:, None, None, None] + 1e-12) + 1e-7)

    def logits(self, features: Tensor) -> Tensor:
        """Return the masks of mid and side before the sigmoid, for all frames.

        Parameters
        ----------
        features : Tensor [shape=(batch, inputs, frames, bands)]
            See `inputs`; `frames` is a multiple of 2 to the power of the scales minus one.

        Returns
        -------
        Tensor [shape=(batch, 2, frames, bands)]
            Twice as many channels if the mask is complex.
        """
        if self.training:
            levels = jittered(features[:, :N_FEATURES], bels=self.settings.level_jitter)
            features = torch.cat([levels, features[:, N_FEATURES:]], dim=1)
        return self.raw_logits(features)

    def raw_logits(self, features: Tensor) -> Tensor:
        """Return `logits` without level jitter.

        Parameters
        ----------
        features : Tensor [shape=(batch, inputs, frames, bands)]

        Returns
        -------
        Tensor [shape=(batch, 2, frames, bands)]
        """
        raise NotImplementedError

    def normalised(self, features: Tensor) -> Tensor:
        """Return features and their harmonics with mean 0 and variance 1 in every band.

        Mean and variance are taken over songs and time: this removes what is usual in a band, not
        what is special in a song.

        Parameters
        ----------
        features : Tensor [shape=(batch, inputs, frames, bands)]

        Returns
        -------
        Tensor [shape=(batch, inputs + harmonics, frames, bands)]
        """
        if self.harmonics is not None:
            # Maps that are not levels stay last, so that weights of a network without them fit.
            levels, others = features[:, :N_FEATURES], features[:, N_FEATURES:]
            features = torch.cat([self.harmonics(levels), others], dim=1)
        batch, maps, frames, bands = features.shape
        rows = features.permute(0, 1, 3, 2).reshape(batch, maps * bands, frames)
        normed: Tensor = self.norm(rows)
        return normed.view(batch, maps, bands, frames).permute(0, 1, 3, 2)

    def forward(self, spectra: Tensor) -> Tensor:
        """Return the vocal mask.

        Parameters
        ----------
        spectra : Tensor [shape=(batch, 4, frames, bins)]
            Real and imaginary parts of mid, then of side; `Bands.n_bins` bins.

        Returns
        -------
        Tensor [shape=(batch, 2, frames - 2 context, bins)]
            Between 0 and 1.
        """
        return self.bands.spread(torch.sigmoid(self.without_context(self.all_logits(spectra))))

    def all_logits(self, spectra: Tensor) -> Tensor:
        """Return `logits` of spectra [shape=(batch, 4, frames, bins)], for all their frames."""
        return self.logits(self.inputs(spectra, self.powers(spectra)))

    def without_context(self, x: Tensor) -> Tensor:
        """Return the frames between the contexts of x [shape=(batch, channels, frames, ...)]."""
        context = self.settings.context_frames
        return x[:, :, context : x.shape[2] - context]


def sounding(powers: Tensor, *, share: float = _SILENCE) -> Tensor:
    """Return which frames of a chunk are not silent.

    Parameters
    ----------
    powers : Tensor [shape=(batch, channels, frames, bands)]
    share : float
        Share of the loudest frame's power; softer frames are silent. The default is 50 dB below.

    Returns
    -------
    Tensor [shape=(batch, frames)]
        1 for frames with sound, 0 for silent ones; 0 everywhere if the whole chunk is silent.
    """
    energy = powers.mean(dim=(1, 3))
    return (energy > share * energy.amax(dim=1, keepdim=True)).to(energy.dtype)


def jittered(features: Tensor, *, bels: float) -> Tensor:
    """Return features with a random change of each chunk's level.

    A longer chunk has another level: the network must not depend on it.
    """
    shape = (features.shape[0], 1, 1, 1)
    return features + bels * torch.randn(shape, device=features.device, dtype=features.dtype)
