"""Networks in the style of MDX-Net: an ONNX file as it is, with a card put inside.

They see the complex spectrum of left and right as four channels and give that of one stem. What
their files do not say is in lists of the community that shares them: the length of the
transform, the stem, and a gain ("compensate").
"""

from __future__ import annotations

import hashlib
import os
import secrets
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from viso.config import parse_json
from viso.errors import ModelError
from viso.models._onnx_check import read_model
from viso.models.card import ModelCard
from viso.models.onnx import OnnxModel
from viso.models.session import CARD_KEY
from viso.train.export import with_card
from viso.train.importing._draft import Draft, Wishes, called, licence_of, name_from

__all__ = ["CONTEXT_FRAMES", "draft"]

CONTEXT_FRAMES = 16
"""Dropped at either end of a chunk where nothing else is said; the original drops n_fft / 2."""

_LARGEST_EXPONENT = 16
_ASK = {
    "n_fft": "--n-fft (mdx_n_fft_scale_set)",
    "target": "--target (primary_stem)",
    "n_bins": "--dim-f (mdx_dim_f_set)",
    "chunk_frames": "--dim-t (mdx_dim_t_set)",
}


def draft(source: Path, wishes: Wishes) -> Draft:
    """Read a network, and the card inside or beside it.

    Parameters
    ----------
    source : Path
        The ``.onnx``; a card of ours inside, or in a ``.toml`` beside it, is taken over.
    wishes : Wishes
        Put in place of what the card says. `chunk_frames` up to 16 is the exponent that the
        lists have: 8 for 256 frames. `n_bins` and `chunk_frames` are known of a graph whose
        shapes are fixed.

    Raises
    ------
    ModelError
        If the file is no ONNX model, or something that must be said is not.
    """
    graph = _graph(source)
    card = _card(source, graph, wishes)
    return Draft(card, partial(_write, source, graph, card))


def _graph(source: Path) -> onnx.ModelProto:
    try:
        graph = onnx.load(source, load_external_data=False)
    except OSError as error:
        raise ModelError(f"{source}: cannot be read ({error.strerror})") from error
    except Exception as error:  # protobuf has errors of its own
        raise ModelError(f"{source}: no ONNX file ({error!s:.100}); fetch it anew") from error
    if len(graph.graph.input) < 1:
        raise ModelError(f"{source}: no ONNX file with a network; fetch it anew")
    read_model(source)
    return graph


def _card(source: Path, graph: onnx.ModelProto, wishes: Wishes) -> ModelCard:
    """Join what the graph, a card and the user say, the later the stronger."""
    known = _known(source, graph)
    said = wishes.model_dump(exclude_none=True)
    if said.get("chunk_frames", _LARGEST_EXPONENT + 1) <= _LARGEST_EXPONENT:
        said["chunk_frames"] = 2 ** said["chunk_frames"]
    spectral = known.pop("spectral", {}) | {k: said.pop(k) for k in ("n_fft", "hop") if k in said}
    if "hop" not in spectral:
        spectral["hop"] = 1024
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    values: dict[str, Any] = {
        "input": "complex",
        "output": "complex",
        "origin": f"{called(source)}, sha256 {digest}",
        **_shape(graph),
        **known,
        **said,
        "spectral": spectral,
    }
    missing = [name for name in _ASK if name not in values and name not in spectral]
    if missing:
        questions = ", ".join(_ASK[name] for name in missing)
        raise ModelError(
            f"{source}: does not say how it is run; say {questions}, "
            f"or write {source.with_suffix('.toml').name} beside it"
        )
    if "name" not in values:
        values["name"] = name_from(source.stem, source=source)
    if "licence" not in values:
        values["licence"] = licence_of(source, wishes)
    if "context_frames" not in values:
        values["context_frames"] = min(CONTEXT_FRAMES, values["chunk_frames"] // 4)
    return ModelCard.from_mapping(values, origin=str(source))


def _known(source: Path, graph: onnx.ModelProto) -> dict[str, Any]:
    """Return what a card inside or beside the file says, and no defaults."""
    beside = source.with_suffix(".toml")
    for entry in graph.metadata_props:
        if entry.key == CARD_KEY:
            try:
                values = parse_json(entry.value)
            except ValueError as error:
                raise ModelError(
                    f"{source}: the card inside is damaged ({error!s:.160})"
                ) from error
            card = ModelCard.from_mapping(values, origin=f"{source}: card")
            return card.model_dump()
    if beside.is_file():
        return ModelCard.from_toml(beside).model_dump(exclude_unset=True)
    return {}


def _shape(graph: onnx.ModelProto) -> dict[str, int]:
    """Return the bins and frames of the graph's input, where it has fixed ones."""
    sides = [side.dim_value for side in graph.graph.input[0].type.tensor_type.shape.dim]
    if len(sides) != 4:
        return {}
    found = {"n_bins": sides[2], "chunk_frames": sides[3]}
    return {name: size for name, size in found.items() if size > 0}


def _write(source: Path, graph: onnx.ModelProto, card: ModelCard, path: Path) -> float:
    """Write the graph with its card, and try it on noise before it gets its name."""
    with_card(graph, card)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name that nobody else has: it is removed in the end.
    unfinished = path.with_name(f".viso-{os.getpid()}-{secrets.token_hex(4)}.onnx")
    try:
        onnx.save(graph, unfinished)
        _try(unfinished)
        unfinished.replace(path)
    except ModelError as error:
        raise ModelError(str(error).replace(str(unfinished), str(source))) from error
    finally:
        unfinished.unlink(missing_ok=True)
    return 0.0


def _try(path: Path) -> None:
    model = OnnxModel(path, device="cpu")
    shape = (model.card.channels, model.card.spectral.n_bins, model.card.chunk_frames)
    noise = np.random.default_rng(0).standard_normal((2, *shape), np.float32)
    model.estimate((noise[0] + 1j * noise[1]).astype(np.complex64))
