"""What stands around every candidate: the features of `Viso` before it, its masks behind it."""

from __future__ import annotations

from torch import Tensor, nn

from viso.config import SpectralConfig
from viso.train.networks.banded import N_FEATURES
from viso.train.networks.bands import Bands
from viso.train.networks.viso import Viso
from viso.train.recipe import VisoSettings

__all__ = ["Candidate"]


class Candidate(nn.Module):
    """A network that differs from `Viso` in its middle alone: subclasses write `raw_logits`.

    Features, bands, jitter of the level, context and masks are those of `Viso`, so that the same
    objective, card and judge apply, and so that what is compared is the design and not its input.

    Parameters
    ----------
    settings : VisoSettings
        Its bands, chunk, context and jitter count; its widths are those of `Viso`.
    spectral : SpectralConfig
        Of the transform; the bands must fit it.
    """

    count = Viso.count
    powers = Viso.powers
    features = Viso.features
    logits = Viso.logits
    forward = Viso.forward

    def __init__(self, settings: VisoSettings, spectral: SpectralConfig) -> None:
        super().__init__()
        self.settings = settings
        self.bands = Bands(settings.segments)
        assert self.bands.n_bins <= spectral.n_bins
        self.norm = nn.BatchNorm1d(N_FEATURES * self.bands.n_bands)

    def normalised(self, features: Tensor) -> Tensor:
        """Return features with mean 0 and variance 1 in every band, over songs and time.

        Parameters
        ----------
        features : Tensor [shape=(batch, 4, frames, bands)]

        Returns
        -------
        Tensor of that shape
        """
        batch, channels, frames, bands = features.shape
        rows = features.permute(0, 1, 3, 2).reshape(batch, channels * bands, frames)
        return self.norm(rows).view(batch, channels, bands, frames).permute(0, 1, 3, 2)

    def raw_logits(self, features: Tensor) -> Tensor:
        """Return the masks of mid and side before the sigmoid.

        Parameters
        ----------
        features : Tensor [shape=(batch, 4, frames, bands)]
            `frames` a multiple of 8.

        Returns
        -------
        Tensor [shape=(batch, 2, frames, bands)]
        """
        raise NotImplementedError
