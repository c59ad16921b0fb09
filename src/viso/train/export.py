"""From trained weights to one ONNX file with its card inside, checked against torch.

Wide weights are stored as float16 and widened when the model is loaded: half the file, the
same speed. They are rounded in the torch network first, so the parity check compares the
very weights that ship.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from viso.config import ModelCard
from viso.errors import DataError, ModelError
from viso.model import CARD_KEY, OnnxModel
from viso.train.networks.viso_cnn import VisoCnn
from viso.train.recipe import Recipe

__all__ = ["LARGEST_DIFFERENCE", "export", "export_run", "with_card"]

LARGEST_DIFFERENCE = 1e-4
"""A mask of the exported file may differ from torch's by this much."""

_WIDE = 4096  # smaller tensors are not worth a cast


def export(network: nn.Module, card: ModelCard, path: Path, *, seed: int = 0) -> float:
    """Write `network` as ONNX and compare the two on noise.

    Parameters
    ----------
    network : nn.Module
        Maps (1, channels, bins, chunk_frames) to a mask, as its card says. It is moved to
        the CPU, set to evaluation, and its wide weights are rounded to float16, in place.
    card : ModelCard
    path : Path
        Its folder is made if missing; it appears only when the comparison has passed.
    seed : int
        Of the noise.

    Returns
    -------
    float
        Largest absolute difference between the two outputs.

    Raises
    ------
    ModelError
        If it is above `LARGEST_DIFFERENCE`.
    """
    network = network.eval().cpu()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.numel() >= _WIDE:
                parameter.copy_(parameter.half().float())
    shape = (1, card.channels, card.used_bins, card.chunk_frames)
    noise = np.random.default_rng(seed).standard_normal(shape, np.float32) ** 2
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.stem}.part.onnx")
    try:
        _trace(network, torch.from_numpy(noise), unfinished)
        graph = onnx.load(unfinished)
        _halve(graph)
        with_card(graph, card)
        onnx.save(graph, unfinished)
        with torch.inference_mode():
            expected = network(torch.from_numpy(noise)).numpy()
        difference = float(np.abs(OnnxModel(unfinished, device="cpu").run(noise) - expected).max())
        if not difference < LARGEST_DIFFERENCE:
            raise ModelError(f"{path}: export differs from torch by {difference:.2e}")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return difference


def export_run(folder: Path, path: Path, *, scores: Mapping[str, float]) -> float:
    """Export the best weights of a training run; see `export`.

    Parameters
    ----------
    folder : Path
        Of the run.
    path : Path
    scores : mapping of str to float
        Figures for the card.

    Raises
    ------
    DataError
        If the folder holds no finished validation, or its weights do not fit its recipe.
    ModelError
        See `export`.
    """
    recipe = Recipe.from_toml(folder / "recipe.toml")
    network = VisoCnn(recipe.network, recipe.spectral)
    try:
        state = torch.load(folder / "best.pt", map_location="cpu", weights_only=True)
        network.load_state_dict(state["network"])
    except OSError as error:
        raise DataError(f"{folder}: no best.pt, the run has not been validated yet") from error
    except (RuntimeError, EOFError, KeyError, UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{folder}: best.pt does not fit recipe.toml ({reason:.120})") from error
    card = recipe.card(parameters=network.count()).model_copy(update={"scores": dict(scores)})
    return export(network, card, path)


def with_card(graph: onnx.ModelProto, card: ModelCard) -> None:
    """Put a card into a model's metadata, in place of one that is there."""
    others = {p.key: p.value for p in graph.metadata_props if p.key != CARD_KEY}
    text = json.dumps(card.model_dump(mode="json"), ensure_ascii=False)
    helper.set_model_props(graph, {**others, CARD_KEY: text})


def _trace(network: nn.Module, example: torch.Tensor, path: Path) -> None:
    with warnings.catch_warnings():
        # Torch recommends its newer exporter at every call; this one is what we check and ship.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network,
            (example,),
            path,
            input_names=["mixture"],
            output_names=["mask"],
            opset_version=17,
            dynamo=False,
        )


def _halve(graph: onnx.ModelProto) -> None:
    """Store the float32 constants that float16 holds exactly as float16, with a cast behind."""
    casts = []
    for constant in graph.graph.initializer:
        values = numpy_helper.to_array(constant)
        if constant.data_type != TensorProto.FLOAT or values.size < _WIDE:
            continue
        half = values.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), values):
            continue
        name = constant.name
        constant.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
