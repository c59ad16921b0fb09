"""Shared by RoFormers, SCNet and MDX23C: a configuration's numbers, its stems, the draft.

All take the complex spectrum of all channels and give that of each stem. `StemGraph` is what is
exported: the network with its scale, its level and the channels of one stem, or of all.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from viso.dsp.stft import SpectralConfig, padded_window
from viso.errors import ModelError
from viso.models._onnx_check import LARGEST_BYTES
from viso.models.card import ModelCard
from viso.train.export import export
from viso.train.importing._draft import Draft, Wishes, called, licence_of, name_from
from viso.train.importing._states import State, fill, read_state
from viso.train.importing.toolkit import ToolkitConfig
from viso.train.weight_storage import Storage

__all__ = [
    "Output",
    "StemGraph",
    "check_options",
    "draft_of",
    "fill_exactly",
    "is_normalised",
    "output_of",
    "size",
    "sizes",
]

_ROOM = 32 << 20  # bytes of a file beside its weights
_QUIETEST = 1e-5  # level below which a chunk is not amplified further
_VOCALS = ("vocals", "vocal")
_INSTRUMENTAL = ("instrumental", "instrum", "accompaniment", "other")


class Output(NamedTuple):
    """What of a network's output is imported.

    Attributes
    ----------
    stem : int or None
        The place of the one stem; None if all are imported.
    target : {"vocals", "instrumental"}
    stems : tuple of str
        The names of all, for the card; empty if one is imported.
    """

    stem: int | None
    target: Literal["vocals", "instrumental"]
    stems: tuple[str, ...] = ()


class StemGraph(nn.Module):
    """A network of several stems with one of them, or all, as its output.

    Parameters
    ----------
    network : nn.Module
        Maps spectra (1, 2 channels, ...) to the spectra of all stems (1, stems 2 channels, ...).
    spectral : SpectralConfig
    n_channels : int
    stem : int or None
        The place of the one stem; None for all.
    scale : float
        The network sees the spectrum times this; its output is divided by it.
    normalise : bool
        Whether the network sees a chunk divided by its level. The level is the standard deviation
        of the mean of the channels, from the spectrum's energy above its lowest bin.
    frequency_axis : {2, 3}
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        spectral: SpectralConfig,
        n_channels: int,
        stem: int | None,
        scale: float = 1.0,
        normalise: bool = False,
        frequency_axis: Literal[2, 3] = 2,
    ) -> None:
        super().__init__()
        self.network = network
        self.n_channels, self.stem = n_channels, stem
        self.scale, self.normalise, self.frequency_axis = scale, normalise, frequency_axis
        energy = float((padded_window(spectral).astype("float64") ** 2).sum())
        # Parseval: a frame's energy is that of its bins over n_fft; negative frequencies count too.
        self.power_scale = 2 / (spectral.n_fft * energy)

    def forward(self, spectrum: Tensor) -> Tensor:
        """Return the spectra of the stems, one after the other, in the layout of the mixture's.

        Parameters
        ----------
        spectrum : Tensor [shape=(1, 2 channels, bins, frames) or (1, 2 channels, frames, bins)]
            Real and imaginary part of each channel alternate.
        """
        seen = spectrum * self.scale
        level = self._level(spectrum) if self.normalise else None
        if level is not None:
            seen = seen / level
        stems: Tensor = self.network(seen)
        if self.stem is not None:
            first = 2 * self.n_channels * self.stem
            stems = stems[:, first : first + 2 * self.n_channels]
        stems = stems * (1 / self.scale)
        return stems if level is None else stems * level

    def _level(self, spectrum: Tensor) -> Tensor:
        """Return the level of a chunk's samples [shape=(1, 1, 1, 1)]."""
        axis = self.frequency_axis
        above = spectrum.narrow(axis, 1, int(spectrum.shape[axis]) - 1)
        mono = above.reshape(1, self.n_channels, 2, *map(int, above.shape[2:])).mean(dim=1)
        # The mean first and then the sum: a sum of so many squares loses digits in float32.
        power = mono.square().mean(dim=(1, 2, 3), keepdim=True)
        variance = power * (2 * int(above.shape[axis]) * self.power_scale)
        return torch.sqrt(variance).clamp_min(_QUIETEST)


def output_of(config: ToolkitConfig, wishes: Wishes, *, n_stems: int) -> Output:
    """Return which stems of a network are imported.

    The names are those of ``training.target_instrument``, or else of ``training.instruments``.
    Vocals beside such as drums and bass are imported together, vocals beside an instrumental alone,
    as the instrumental is what they leave of the song. A user may want one target.

    Raises
    ------
    ModelError
        If the names are not as many as the network's stems, or none of them is the target.
    """
    names = _names(config)
    listed = ", ".join(names)[:80]
    if len(names) != n_stems:
        raise ModelError(
            f"{config.path}: names {len(names)} stems ({listed}), but its network gives {n_stems}"
        )
    lower = [name.lower() for name in names]
    if n_stems == 1:
        if wishes.target is not None:
            return Output(0, wishes.target)
        if lower[0] in _VOCALS:
            return Output(0, "vocals")
        if lower[0] in _INSTRUMENTAL:
            return Output(0, "instrumental")
        raise ModelError(
            f"{config.path}: its only stem is {listed}, neither vocals nor instrumental; "
            "say --target if it is one of them"
        )
    is_band = n_stems > 2 or not set(lower) & set(_INSTRUMENTAL)
    if wishes.target is None and is_band and set(lower) & set(_VOCALS):
        stems = tuple("vocals" if name in _VOCALS else _stem_name(name) for name in lower)
        return Output(None, "vocals", stems)
    target = wishes.target or "vocals"
    # Among more stems, "other" is not the whole instrumental.
    known = _VOCALS if target == "vocals" else _INSTRUMENTAL[: 4 if n_stems == 2 else 3]
    for stem, name in enumerate(lower):
        if name in known:
            return Output(stem, target)
    raise ModelError(f"{config.path}: no {target} among its stems {listed}")


def _stem_name(name: str) -> str:
    """Return a stem's name as a card takes it."""
    return re.sub(r"[^a-z0-9_-]+", "-", name).strip("-")


def _names(config: ToolkitConfig) -> list[str]:
    only = config.training.get("target_instrument")
    names: Any = config.training.get("instruments", []) if only is None else [only]
    if (
        not isinstance(names, list | tuple)
        or not names
        or not all(isinstance(name, str) for name in names)
    ):
        raise ModelError(
            f"{config.path}: training.instruments is {names!r:.40}, no list of the stems' names"
        )
    return list(names)


def is_normalised(config: ToolkitConfig) -> bool:
    """Return whether the network sees sound divided by its level.

    Raises
    ------
    ModelError
        If the configuration says neither yes nor no.
    """
    training = config.training.get("normalize", False)
    found = config.inference.get("normalize", training)
    if not isinstance(found, bool):
        raise ModelError(
            f"{config.path}: inference.normalize is {found!r:.40}, neither true nor false"
        )
    return found


def check_options(config: ToolkitConfig, known: set[str]) -> None:
    """Raise if the section ``model`` has an option that is not known.

    Raises
    ------
    ModelError
        It names the option.
    """
    others = sorted(str(key) for key in config.model if key not in known)
    if others:
        raise ModelError(
            f"{config.path}: model.{others[0]:.60} is not known of this network; "
            "viso would ignore it, so it does not import the model"
        )


def size(
    config: ToolkitConfig,
    section: Literal["audio", "model", "inference"],
    key: str,
    default: int | None,
    *,
    most: int,
) -> int:
    """Return a number of a section, which must be from 1 to `most`.

    Raises
    ------
    ModelError
        Also if it is missing and `default` is None.
    """
    found = config.value(section, key, int, default)
    return _within(config, f"{section}.{key}", found, most=most)


def sizes(
    config: ToolkitConfig, key: str, default: list[int], *, most: int, n: int | None = None
) -> list[int]:
    """Return `n` numbers of the section ``model``, each from 1 to `most`.

    Raises
    ------
    ModelError
    """
    found = config.model.get(key, default)
    if not isinstance(found, list | tuple) or not found or (n is not None and len(found) != n):
        wanted = "numbers" if n is None else f"{n} numbers"
        raise ModelError(f"{config.path}: model.{key} is {found!r:.40}, no list of {wanted}")
    return [_within(config, f"model.{key}", number, most=most) for number in found]


def _within(config: ToolkitConfig, name: str, number: Any, *, most: int) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= most:
        raise ModelError(f"{config.path}: {name} is {number!r:.40}; it must be from 1 to {most}")
    return number


def draft_of(
    source: Path,
    wishes: Wishes,
    config: ToolkitConfig,
    network_of: Callable[[], nn.Module],
    *,
    n_stems: int,
    chunk_frames: int,
    paper: str,
    facts: dict[str, Any],
    state: State | None = None,
    scale: float = 1.0,
    weights: Storage | None = None,
) -> Draft:
    """Fill a network with the weights of a checkpoint, and describe the model that it becomes.

    Parameters
    ----------
    source : Path
        The checkpoint.
    wishes : Wishes
        The context is an eighth of the chunk at either end, unless they say otherwise.
    config : ToolkitConfig
    network_of : callable
        Returns the network, on the device "meta".
    n_stems, chunk_frames : int
    paper : str
        For the card's origin.
    facts : dict
        Further fields of the card: `description`, `spectral`, `channels`, ...
    state : mapping of str to Tensor, optional
        The checkpoint's weights, if they are read already.
    scale : float
        See `StemGraph`.
    weights : {"float32", "float16"}, optional
        How they are stored; by default float32, if such a file can be read.

    Raises
    ------
    ModelError
        If the card is impossible, the weights do not fit the network, there is no such stem, or no
        licence is given.
    """
    output = output_of(config, wishes, n_stems=n_stems)
    values = {
        "name": wishes.name or name_from(source.stem, source=source),
        "input": "complex",
        "output": "complex",
        "target": output.target,
        "stems": output.stems,
        "chunk_frames": chunk_frames,
        "context_frames": chunk_frames // 8
        if wishes.context_frames is None
        else wishes.context_frames,
        "licence": licence_of(source, wishes),
        **facts,
    }
    # An impossible card costs no time of a network.
    ModelCard.from_mapping(values, origin=str(config.path))
    state = read_state(source, origin=str(source)) if state is None else state
    with torch.device("meta"):
        network = network_of()
    fill_exactly(network, state, origin=source)
    # Angles of rotary embeddings are no weights: they are the same everywhere, and not trained.
    parameters = sum(
        parameter.numel()
        for name, parameter in network.named_parameters()
        if not name.endswith("rotary_embed.freqs")
    )
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    origin = wishes.origin or f"{paper}; {called(source)}, sha256 {digest}"
    card = ModelCard.from_mapping(
        {**values, "parameters": parameters, "origin": origin}, origin=str(config.path)
    )
    graph = StemGraph(
        network,
        spectral=card.spectral,
        n_channels=card.channels,
        stem=output.stem,
        scale=scale,
        normalise=is_normalised(config),
        frequency_axis=3 if card.axes == "frames-bins" else 2,
    )
    if weights is None:
        weights = "float32" if 4 * parameters < LARGEST_BYTES - _ROOM else "float16"
    return Draft(card, partial(_write, graph, card, weights))


def _write(graph: StemGraph, card: ModelCard, weights: Storage, path: Path) -> float:
    with warnings.catch_warnings():
        # In tracing, an LSTM compares sizes; they are those of every chunk.
        warnings.filterwarnings("ignore", "Converting a tensor to a Python", Warning)
        return export(graph, card, path, weights=weights)


def fill_exactly(network: nn.Module, state: State, *, origin: str | Path) -> None:
    """Load weights as `fill` does, and refuse weights that the network does not have.

    They would belong to a variant of the network, which computes something else. A prefix
    ``module.``, which training on several devices leaves, is dropped.

    Raises
    ------
    ModelError
    """
    state = {name.removeprefix("module."): value for name, value in state.items()}
    mine = network.state_dict()
    fill(network, state, called=str, origin=str(origin))
    # Otherwise the exporter's tracing would keep every intermediate value in memory.
    network.requires_grad_(False)
    others = [name for name in state if name not in mine and not name.startswith("stft.")]
    if others:
        raise ModelError(
            f"{origin}: has {others[0]:.80}, which its configuration does not describe; "
            "give the YAML file that belongs to it"
        )
