"""Knowledge distillation: trained networks (teachers) teach another network (the student).

The true vocals are a hard target: a mask cannot reach them, and a small network cannot learn all
of them. The estimate of a better network is an easier target, and most of it is true (Hinton et al.
2015, arXiv 1503.02531). Here the target is a blend of the true vocals and of the mixture times the
teachers' mean mask.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from viso.errors import ConfigError
from viso.train.network_settings import BandedSettings
from viso.train.networks import build_network, load_weights
from viso.train.networks.banded import Banded
from viso.train.networks.tfc_tdf import TfcTdf
from viso.train.recipe import Recipe

__all__ = ["Teachers"]


class Teachers:
    """The teachers of a recipe. This is no module: they are not trained, averaged or saved.

    Parameters
    ----------
    recipe : Recipe
        Recipe of the student.

    Raises
    ------
    ConfigError
        If a teacher's recipe cannot be read, or its network has other bands or cannot take chunks
        of the student's length.
    DataError
        If its weights cannot be read, or belong to another network.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._networks: list[Banded] = []
        for teacher in recipe.teachers:
            theirs = Recipe.from_toml(Path(teacher.recipe))
            network = build_network(theirs)
            is_complex = isinstance(network, TfcTdf) and network.is_complex
            if is_complex or not isinstance(network, Banded):
                raise ConfigError(f"{teacher.recipe}: networks of this kind cannot teach")
            mine, whole = recipe.network, 2 ** (network.settings.scales - 1)
            assert isinstance(mine, BandedSettings)
            if theirs.spectral != recipe.spectral or network.settings.segments != mine.segments:
                raise ConfigError(f"{teacher.recipe}: hears other bands than the student")
            if mine.chunk_frames % whole:
                raise ConfigError(
                    f"{teacher.recipe}: hears multiples of {whole} frames, and the student's "
                    f"chunks have {mine.chunk_frames}"
                )
            load_weights(network, Path(teacher.weights))
            self._networks.append(network.eval().requires_grad_(False))

    def __bool__(self) -> bool:
        return bool(self._networks)

    @torch.no_grad()
    def mask(self, powers: Tensor) -> Tensor:
        """Return the mean of the teachers' masks of mid and side.

        Parameters
        ----------
        powers : Tensor [shape=(batch, 4, frames, bands)]
            See `Banded.powers`.

        Returns
        -------
        Tensor [shape=(batch, 2, frames, bands)]
        """
        masks = [
            torch.sigmoid(network.logits(network.features(powers)).float())
            for network in (network.to(powers.device) for network in self._networks)
        ]
        return torch.stack(masks).mean(dim=0)
