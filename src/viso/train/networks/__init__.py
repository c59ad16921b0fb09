"""The networks, one a file, and the function that builds the kind that a recipe requests."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from viso.config import Settings
from viso.errors import DataError
from viso.train.network_settings import (
    Lin2018Settings,
    TfcTdfSettings,
    UhlichBlstmSettings,
    UhlichFnnSettings,
    VisoCnnSettings,
    VisoSettings,
)
from viso.train.networks.tfc_tdf import TfcTdf, grown
from viso.train.networks.viso import Viso
from viso.train.networks.viso_cnn import VisoCnn
from viso.train.papers.lin2018 import Lin2018
from viso.train.papers.uhlich2017 import UhlichBlstm, UhlichFnn
from viso.train.recipe import Recipe

__all__ = ["Network", "build_network", "load_weights"]

Network = Viso | TfcTdf | VisoCnn | Lin2018 | UhlichFnn | UhlichBlstm

_NETWORKS: dict[type[Settings], type[Network]] = {
    VisoCnnSettings: VisoCnn,
    VisoSettings: Viso,
    TfcTdfSettings: TfcTdf,
    Lin2018Settings: Lin2018,
    UhlichFnnSettings: UhlichFnn,
    UhlichBlstmSettings: UhlichBlstm,
}


def build_network(recipe: Recipe) -> Network:
    """Return the recipe's network with weights drawn from torch's global generator."""
    network: Any = _NETWORKS[type(recipe.network)]
    built: Network = network(recipe.network, recipe.spectral)
    return built


def load_weights(network: Network, path: Path) -> None:
    """Load the weights of a run's ``best.pt`` into a network.

    A `Viso` with `harmonics` also accepts weights of a `Viso` without them; at first it then
    ignores the harmonics. A `TfcTdf` also accepts weights of one with fewer channels, blocks or
    maps.

    Raises
    ------
    DataError
        If the file is missing or damaged, or belongs to another network.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        weights = state["network"]
        if isinstance(network, Viso) and network.settings.harmonics:
            weights = _with_room(weights, network.state_dict())
        if isinstance(network, TfcTdf):
            weights = grown(weights, network.state_dict())
        network.load_state_dict(weights)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (RuntimeError, EOFError, KeyError, UnpicklingError) as error:
        reason = (str(error) or repr(error)).splitlines()[0]
        raise DataError(f"{path}: does not fit the recipe's network ({reason:.120})") from error


_FIRST = ("norm.", "down_0.0.0.")


def _with_room(weights: dict[str, Tensor], fresh: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add space for further feature maps to the layers that read them first."""
    roomy = dict(weights)
    for name, value in weights.items():
        place = fresh.get(name)
        if place is None or not name.startswith(_FIRST) or place.shape == value.shape:
            continue
        dim = 1 if value.ndim > 1 else 0
        n = value.shape[dim]
        rest = place.narrow(dim, n, place.shape[dim] - n) if place.shape[dim] > n else None
        if rest is not None:
            # New entries of norms keep their initial values; those of kernels are zero.
            rest = torch.zeros_like(rest) if value.ndim > 1 else rest
            roomy[name] = torch.cat([value.to(rest.dtype), rest], dim=dim)
    return roomy
