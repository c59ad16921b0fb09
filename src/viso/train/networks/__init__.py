"""Networks, one a file, and the one place that knows which kind a recipe asks for."""

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
    """Give a network the weights in a run's ``best.pt``.

    A `Viso` with `harmonics` also takes those of one without, which it then does not listen to
    at first; a `TfcTdf` those of one with fewer channels, blocks or maps.

    Raises
    ------
    DataError
        If the file is missing or damaged, or is of another network.
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
    """Make room for further feature maps in the layers that see them first."""
    roomy = dict(weights)
    for name, value in weights.items():
        place = fresh.get(name)
        if place is None or not name.startswith(_FIRST) or place.shape == value.shape:
            continue
        dim = 1 if value.ndim > 1 else 0
        n = value.shape[dim]
        rest = place.narrow(dim, n, place.shape[dim] - n) if place.shape[dim] > n else None
        if rest is not None:
            # Norms begin as they are drawn, kernels with nothing.
            rest = torch.zeros_like(rest) if value.ndim > 1 else rest
            roomy[name] = torch.cat([value.to(rest.dtype), rest], dim=dim)
    return roomy
