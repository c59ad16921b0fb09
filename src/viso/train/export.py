"""Exports trained weights to one ONNX file with its card inside, and compares it with torch.

Large weights are stored as float16 (or int8, or float32; see `weight_storage`) and widened when
the model is loaded: the file is half as large, the speed is the same. They are first rounded in the
torch network, so the comparison uses exactly the weights of the file.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import helper
from torch import nn
from torch.nn.utils import fuse_conv_bn_eval

from viso.errors import DataError, ModelError
from viso.models.card import ModelCard, SegmentCard
from viso.models.onnx import OnnxModel
from viso.models.session import CARD_KEY
from viso.train.networks import build_network, load_weights
from viso.train.recipe import Recipe
from viso.train.weight_storage import Storage, round_weights, store

__all__ = [
    "LARGEST_DIFFERENCE",
    "LARGEST_RELATIVE_DIFFERENCE",
    "export",
    "export_run",
    "with_card",
    "write_graph",
]

LARGEST_DIFFERENCE = 1e-4
"""Largest difference allowed between an output of the exported file and torch's.

It is absolute; spectra have `LARGEST_RELATIVE_DIFFERENCE` instead.
"""
LARGEST_RELATIVE_DIFFERENCE = 1e-3
"""Largest difference allowed between a spectrum of the exported file and torch's: -60 dB.

It is the root of the difference's energy over that of torch's output. Deep networks with norms
amplify rounding: with random weights MDX23C makes 1e-3 of ONNX Runtime's 2e-6.
"""

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def export(
    network: nn.Module,
    card: ModelCard,
    path: Path,
    *,
    weights: Storage = "float16",
    seed: int = 0,
) -> float:
    """Write `network` as ONNX and compare the two on noise.

    Parameters
    ----------
    network : nn.Module
        Maps (1, channels, bins, chunk_frames) to a mask; with twice the channels if the card's
        input is complex. This changes it in place: it is moved to the CPU and set to evaluation,
        its batch norms are folded into the convolutions before them, and its large weights are
        rounded.
    card : ModelCard
    path : Path
        Its folder is made if missing; the file appears only after the comparison has passed.
    weights : {"float32", "float16", "int8"}
        How they are stored; see `weight_storage`.
    seed : int
        Seed of the noise; the last quarter of the noise is silence.

    Returns
    -------
    float
        Difference between the two outputs, outside the silence: the largest of a mask, or that of
        a spectrum relative to its energy.

    Raises
    ------
    ModelError
        If it is above `LARGEST_DIFFERENCE`, or `LARGEST_RELATIVE_DIFFERENCE` for spectra.
    """
    network = network.eval().cpu()
    _fold(network)
    round_weights(network, weights)
    is_complex = card.input == "complex"
    sides = [card.used_bins, card.chunk_frames]
    if card.axes == "frames-bins":
        sides.reverse()
    shape = (1, card.channels * (2 if is_complex else 1), *sides)
    noise = np.random.default_rng(seed).standard_normal(shape, np.float32)
    if not is_complex:
        noise = noise**2
    # Songs end: silence after the sound must change the masks of the sound equally in both. Masks
    # of silence are multiplied by zeros and need not agree.
    n_sounding = card.chunk_frames - card.chunk_frames // 4
    _frames(noise, card)[..., n_sounding:] = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    # Use a unique name, because the file is removed at the end.
    unfinished = path.with_name(f".viso-{os.getpid()}-{secrets.token_hex(4)}.onnx")
    try:
        write_graph(
            network,
            [torch.from_numpy(noise)],
            unfinished,
            card=card,
            names=(["mixture"], ["mask"]),
            weights=weights,
        )
        with torch.inference_mode():
            expected = network(torch.from_numpy(noise)).numpy()
        found = OnnxModel(unfinished, device="cpu").run(noise)
        n_compared = max(1, n_sounding - card.context_frames)
        is_relative = card.output == "complex"
        difference = _difference(
            _frames(found, card)[..., :n_compared],
            _frames(expected, card)[..., :n_compared],
            is_relative=is_relative,
        )
        if not difference < (LARGEST_RELATIVE_DIFFERENCE if is_relative else LARGEST_DIFFERENCE):
            raise ModelError(f"{path}: export differs from torch by {difference:.2e}")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return difference


def _difference(
    found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32], *, is_relative: bool
) -> float:
    difference = np.subtract(found, expected, dtype=np.float64)
    if not is_relative:
        return float(np.abs(difference).max())
    energy = float(np.square(expected, dtype=np.float64).sum())
    return float(np.sqrt(np.square(difference).sum() / max(energy, np.finfo(np.float64).tiny)))


def _frames(values: npt.NDArray[np.float32], card: ModelCard) -> npt.NDArray[np.float32]:
    """Return a view with the frames last."""
    return values.swapaxes(-1, -2) if card.axes == "frames-bins" else values


def export_run(
    folder: Path,
    path: Path,
    *,
    scores: Mapping[str, float],
    chunk_frames: int | None = None,
    context_frames: int | None = None,
    weights: Storage = "float16",
) -> float:
    """Export the best weights of a training run; see `export`.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    path : Path
    scores : mapping of str to float
        Figures for the card.
    chunk_frames : int, optional
        Frames that the network sees at once, by default as in training. In long chunks, a smaller
        share is context, which is computed and dropped.
    context_frames : int, optional
        Frames of context at either end, by default as in training.
    weights : {"float32", "float16", "int8"}
        How they are stored; see `weight_storage`.

    Raises
    ------
    ConfigError
        If the network cannot have such chunks.
    DataError
        If the run has no finished validation, or its weights do not fit its recipe.
    ModelError
        See `export`.
    """
    recipe = Recipe.from_toml(folder / "recipe.toml")
    requested = {"chunk_frames": chunk_frames, "context_frames": context_frames}
    changes = {name: value for name, value in requested.items() if value is not None}
    if changes:
        values = recipe.model_dump()
        values["network"] |= changes
        changed = " and ".join(f"{name} {value}" for name, value in changes.items())
        recipe = Recipe.from_mapping(values, origin=changed)
    network = build_network(recipe)
    best = folder / "best.pt"
    if not best.exists():
        raise DataError(f"{folder}: no best.pt, the run has not been validated yet")
    load_weights(network, best)
    card = recipe.card(parameters=network.count()).model_copy(update={"scores": dict(scores)})
    return export(network, card, path, weights=weights)


def write_graph(
    network: nn.Module,
    inputs: Sequence[torch.Tensor],
    path: Path,
    *,
    card: ModelCard | SegmentCard,
    names: tuple[Sequence[str], Sequence[str]],
    weights: Storage,
) -> None:
    """Write `network` as ONNX, with its card, without a comparison.

    Parameters
    ----------
    network : nn.Module
        In evaluation, its weights rounded for `weights`.
    inputs : sequence of Tensor
        Of the shapes that the graph will have.
    path : Path
        It is replaced.
    card : ModelCard or SegmentCard
    names : (sequence of str, sequence of str)
        Of the graph's inputs and outputs.
    weights : {"float32", "float16", "int8"}
        How they are stored; see `weight_storage`.
    """
    _trace(network, inputs, path, names)
    graph = onnx.load(path)
    _name_once(graph)
    store(graph, weights)
    with_card(graph, card)
    onnx.save(graph, path)


def with_card(graph: onnx.ModelProto, card: ModelCard | SegmentCard) -> None:
    """Put a card into a model's metadata; it replaces an older one."""
    others = {p.key: p.value for p in graph.metadata_props if p.key != CARD_KEY}
    text = json.dumps(card.model_dump(mode="json"), ensure_ascii=False)
    helper.set_model_props(graph, {**others, CARD_KEY: text})


def _fold(network: nn.Module) -> None:
    """Fold each batch norm after a convolution into its weights, as the exporter would.

    This must come before the rounding; otherwise the exporter's products would not be rounded.
    """
    for module in network.modules():
        if not isinstance(module, nn.Sequential):
            continue
        for number, (layer, norm) in enumerate(itertools.pairwise(module)):
            if isinstance(layer, _CONVOLUTIONS) and isinstance(norm, _NORMS):
                module[number] = fuse_conv_bn_eval(
                    layer, norm, transpose=isinstance(layer, nn.ConvTranspose2d)
                )
                module[number + 1] = nn.Identity()


def _name_once(graph: onnx.ModelProto) -> None:
    """Use one name for equal weights, which the exporter stores once, in place.

    The exporter adds an Identity node for each further name; ONNX Runtime (1.32) can fail to load
    these nodes.
    """
    stored = {constant.name for constant in graph.graph.initializer}
    same: dict[str, str] = {}
    nodes = []
    for node in graph.graph.node:
        if node.op_type == "Identity" and node.input[0] in stored:
            same[node.output[0]] = node.input[0]
        else:
            nodes.append(node)
    for node in nodes:
        node.input[:] = [same.get(name, name) for name in node.input]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


def _trace(
    network: nn.Module,
    inputs: Sequence[torch.Tensor],
    path: Path,
    names: tuple[Sequence[str], Sequence[str]],
) -> None:
    with warnings.catch_warnings():
        # Torch recommends its newer exporter at every call; we check and ship this one.
        warnings.simplefilter("ignore", DeprecationWarning)
        # There is always one chunk, of the same size: what the tracer takes for a constant is
        # constant. ONNX Runtime folds the rest when it loads the model.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        warnings.filterwarnings("ignore", "Constant folding", UserWarning)
        warnings.filterwarnings("ignore", "Exporting a model to ONNX with a batch_size")
        # Instance norms are the same in training and evaluation; torch calls that "training".
        warnings.filterwarnings("ignore", "ONNX export mode is set to .* 'instance_norm'")
        torch.onnx.export(
            network,
            tuple(inputs),
            path,
            input_names=list(names[0]),
            output_names=list(names[1]),
            opset_version=17,
            dynamo=False,
        )
