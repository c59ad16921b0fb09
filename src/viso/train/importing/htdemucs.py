"""HTDemucs from the checkpoints of the demucs package: ``955717e8-8726e21a.th`` and others.

Such a file is a dictionary that ``torch.save`` wrote: `klass`, the class of the network; `kwargs`,
what it is built from; `state`, its weights, mostly in float16. It is read without running anything
in it (`_states.read_package`); the network is viso's own (`htdemucs_network`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from viso.errors import ConfigError, ModelError
from viso.models.card import SegmentCard
from viso.models.htdemucs import TERMS
from viso.models.session import OnnxSession
from viso.processes import hidden_name
from viso.train.export import LARGEST_DIFFERENCE, write_graph
from viso.train.importing._draft import Draft, Wishes, called, licence_of, name_from
from viso.train.importing._states import State, fill, read_package
from viso.train.importing.htdemucs_network import HTDemucs, Shape
from viso.train.weight_storage import round_weights

__all__ = ["draft"]

_CLASS = "demucs.htdemucs.HTDemucs"
# Meta's files, by the first part of their names.
_PUBLISHED = {
    "955717e8": "htdemucs",
    "f7e0c4bc": "htdemucs_ft-drums",
    "d12395a8": "htdemucs_ft-bass",
    "92cfc3b6": "htdemucs_ft-other",
    "04573f0d": "htdemucs_ft-vocals",
    "5c90dfd2": "htdemucs_6s",
}
_NAMED = re.compile(r"([0-9a-f]{8})-([0-9a-f]{8})")
_FIRST = ("sources", "audio_channels", "channels")  # what may be given without a name
# What the published networks have, and the only values that `HTDemucs` has a form for.
_FIXED: dict[str, Any] = {
    "audio_channels": 2,
    "channels_time": None,
    "cac": True,
    "rewrite": True,
    "t_emb": "sin",
    "t_norm_in": True,
    "t_norm_in_group": False,
    "t_group_norm": False,
    "t_norm_first": True,
    "t_norm_out": True,
    "t_layer_scale": True,
    "t_gelu": True,
    "t_sparse_self_attn": False,
    "t_sparse_cross_attn": False,
}
_PLAIN = (str, int, float, Fraction, list, tuple, type(None))
_LONGEST = 1 << 22  # samples of a segment
_DEEPEST, _MOST_LAYERS, _WIDEST, _MOST_STEMS = 8, 32, 1 << 14, 16
_WAY_OUT = "give a .th of htdemucs, htdemucs_ft or htdemucs_6s"


def draft(source: Path, wishes: Wishes) -> Draft:
    """Read a checkpoint and describe the model that it becomes.

    Parameters
    ----------
    source : Path
        A ``.th`` file. If its name ends with the beginning of its hash, as the published ones do,
        the hash is checked.
    wishes : Wishes
        `name`, `licence` and `origin` count.

    Raises
    ------
    ModelError
        If the file is damaged, is of another network, or has values or shapes that are not known.
    ConfigError
        If a wish cannot be in a card.
    """
    licence = licence_of(source, wishes)
    digest = _digest(source)
    named = _NAMED.fullmatch(source.stem)
    if named is not None and not digest.startswith(named[2]):
        raise ModelError(
            f"{source}: is damaged: its name says a sha256 of {named[2]}..., it has "
            f"{digest[:8]}...; fetch it again"
        )
    package = read_package(source, origin=str(source))
    values = _values(package, origin=str(source))
    shape = _shape(values, origin=str(source))
    published = _PUBLISHED.get(named[1]) if named else None
    with torch.device("meta"):
        network = HTDemucs(shape)
    card = SegmentCard.from_mapping(
        {
            "name": wishes.name or published or name_from(source.stem, source=source),
            "description": "Hybrid transformer: hears a segment's waveform and spectrum "
            "(Rouard et al. 2023)",
            "rate_hz": values.get("samplerate", 44_100),
            "segment_samples": _segment_samples(values, origin=str(source)),
            "n_fft": shape.nfft,
            "hop": shape.nfft // 4,
            "stems": shape.sources,
            "inputs": ("samples", "spectrum"),
            "outputs": ("stems", "spectra"),
            "licence": licence,
            "terms": TERMS if published else "",
            "origin": wishes.origin
            or f"Rouard et al. 2023, arXiv 2211.08553; {called(source)}, sha256 {digest}",
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
        },
        origin=str(source),
    )
    network.requires_grad_(False)
    fill(network, _state(package, origin=str(source)), called=str, origin=str(source))
    return Draft(card, partial(_write, network, card))


def _digest(source: Path) -> str:
    try:
        with source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{source}: cannot be read ({error.strerror})") from error


def _values(package: Mapping[str, Any], *, origin: str) -> dict[str, Any]:
    """Return what the network is built from, by name; raise an error if it is another network."""
    klass, args, values = (package.get(name) for name in ("klass", "args", "kwargs"))
    if not isinstance(klass, str) or not isinstance(values, Mapping):
        raise ModelError(f"{origin}: has no class and arguments of a network; {_WAY_OUT}")
    if klass != _CLASS:
        raise ModelError(f"{origin}: a network of the class {klass:.60}, not {_CLASS}; {_WAY_OUT}")
    args = args if isinstance(args, tuple | list) else ()
    if len(args) > len(_FIRST):
        raise ModelError(f"{origin}: {len(args)} arguments without names; {_WAY_OUT}")
    found = {**dict(zip(_FIRST, args, strict=False)), **values}
    return {
        str(name): value if isinstance(value, _PLAIN) else type(value).__name__
        for name, value in found.items()
    }


def _shape(values: Mapping[str, Any], *, origin: str) -> Shape:
    """Return the network's shape; raise an error for one that `HTDemucs` has no form for."""
    for name, known in _FIXED.items():
        if values.get(name, known) != known:
            raise ModelError(f"{origin}: {name} is {values[name]!r:.40}; only {known!r} is known")
    if values.get("multi_freqs"):
        raise ModelError(f"{origin}: has layers for bands (multi_freqs), which are not known")
    wanted = {name: values[name] for name in Shape.model_fields if name in values}
    if isinstance(wanted.get("sources"), list):
        wanted["sources"] = tuple(wanted["sources"])
    try:
        shape = Shape.from_mapping(
            {name: value for name, value in wanted.items() if value is not None}, origin=origin
        )
    except ConfigError as error:
        raise ModelError(f"{error}; {_WAY_OUT}") from error
    _check_ranges(shape, origin=origin)
    if "vocals" not in shape.sources:
        stems = ", ".join(shape.sources)
        raise ModelError(f"{origin}: estimates {stems:.80}; vocals must be among them")
    norms_from = values.get("norm_starts", 4)
    if not isinstance(norms_from, int) or norms_from < shape.depth:
        raise ModelError(f"{origin}: norm_starts is below depth; such norms are not known")
    width = shape.bottom_channels or shape.widths[-1]
    if max(shape.widths) > _WIDEST or (shape.t_layers and width % max(4, shape.t_heads)):
        raise ModelError(
            f"{origin}: {max(shape.widths)} channels, a transformer of {width} channels and "
            f"{shape.t_heads} heads; such a shape is not known"
        )
    # A layer that brings a few bins down to one has another form.
    halves = shape.kernel_size == 2 * shape.stride and shape.stride % 2 == 0
    if not halves or any(n % shape.stride or n <= shape.kernel_size for n in shape.n_bins[:-1]):
        raise ModelError(
            f"{origin}: {shape.depth} layers of kernel_size {shape.kernel_size} and stride "
            f"{shape.stride} for nfft {shape.nfft}; only networks that keep more than one bin are "
            "known"
        )
    return shape


def _check_ranges(shape: Shape, *, origin: str) -> None:
    """Raise an error for numbers that no network has, which could take any amount of memory."""
    ranges = {
        "sources": (len(shape.sources), 1, _MOST_STEMS),
        "channels": (shape.channels, 1, _WIDEST),
        "growth": (shape.growth, 1, 8),
        "nfft": (shape.nfft, 64, 1 << 16),
        "depth": (shape.depth, 1, _DEEPEST),
        "kernel_size": (shape.kernel_size, 2, 64),
        "stride": (shape.stride, 1, shape.kernel_size),
        "context": (shape.context, 0, 8),
        "context_enc": (shape.context_enc, 0, 8),
        "dconv_depth": (abs(shape.dconv_depth), 0, 8),
        "dconv_comp": (shape.dconv_comp, 1, shape.channels),
        "bottom_channels": (shape.bottom_channels, 0, _WIDEST),
        "t_layers": (shape.t_layers, 0, _MOST_LAYERS),
        "t_hidden_scale": (shape.t_hidden_scale, 0.1, 16),
        "t_heads": (shape.t_heads, 1, 64),
    }
    for name, (value, least, most) in ranges.items():
        if not least <= value <= most:
            raise ModelError(f"{origin}: {name} is {value:g}; from {least:g} to {most:g} is known")


def _segment_samples(values: Mapping[str, Any], *, origin: str) -> int:
    segment, rate_hz = values.get("segment", 10), values.get("samplerate", 44_100)
    if (
        not isinstance(segment, Fraction | int | float)
        or not isinstance(rate_hz, int)
        or not 0 < rate_hz < 1_000_000
        or not 0 < segment * rate_hz <= _LONGEST
    ):
        raise ModelError(
            f"{origin}: segments of {segment!r:.40} s at {rate_hz!r:.40} Hz; {_WAY_OUT}"
        )
    return int(segment * rate_hz)


def _state(package: Mapping[str, Any], *, origin: str) -> State:
    state = package.get("state")
    if not isinstance(state, Mapping):
        raise ModelError(f"{origin}: holds no weights; {_WAY_OUT}")
    if "__quantized" in state:
        raise ModelError(f"{origin}: its weights are quantized, which is not known; {_WAY_OUT}")
    return {str(name): value for name, value in state.items() if isinstance(value, Tensor)}


def _write(network: HTDemucs, card: SegmentCard, path: Path) -> float:
    """Write the model; return its largest difference from torch, as a share of the largest value.

    Raises
    ------
    ModelError
        If the difference is `LARGEST_DIFFERENCE` or more.
    """
    random = np.random.default_rng(0)
    spectrum = (1, 2 * card.channels, card.n_fft // 2, card.n_frames)
    samples = (1, card.channels, card.segment_samples)
    inputs = [random.standard_normal(shape, np.float32) for shape in (samples, spectrum)]
    tensors = [torch.from_numpy(array) for array in inputs]
    round_weights(network, "float16")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(hidden_name(".onnx"))
    try:
        with torch.inference_mode():
            expected = [output.numpy() for output in network(*tensors)]
        write_graph(
            network,
            tensors,
            unfinished,
            card=card,
            names=(card.inputs, card.outputs),
            weights="float16",
        )
        feeds = dict(zip(card.inputs, inputs, strict=True))
        found = OnnxSession(unfinished, device="cpu").run(feeds, card.outputs)
        difference = max(
            float(np.abs(mine - torchs).max() / np.abs(torchs).max())
            for mine, torchs in zip(found, expected, strict=True)
        )
        if not difference < LARGEST_DIFFERENCE:
            raise ModelError(f"{path}: export differs from torch by {difference:.2e}")
        unfinished.replace(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return difference
