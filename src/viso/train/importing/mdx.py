"""Networks in the style of MDX-Net: keeps the ONNX file and adds a card to it.

They take the complex spectrum of left and right as four channels and return that of one stem. Their
files do not contain the length of the transform, the stem and a gain ("compensate"); the community
that shares them publishes a list of these by the MD5 of a file's end. ``mdx_files.json`` beside
this module holds the list's facts.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from functools import cache, partial
from importlib import resources
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
"""Default number of frames dropped at either end of a chunk; the original drops n_fft / 2."""

_LARGEST_EXPONENT = 16
_HASHED_BYTES = 10_000 * 1024  # of a file's end
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
        The ``.onnx``; a card of ours inside it, or in a ``.toml`` beside it, is used. If there is
        none, the list of UVR's community is used, if it has the file.
    wishes : Wishes
        They replace facts of the card and of the list. A `chunk_frames` of 16 or less is an
        exponent, as in the list: 8 for 256 frames. A graph with fixed shapes contains `n_bins` and
        `chunk_frames`.

    Raises
    ------
    ModelError
        If the file is no ONNX model, or gives another stem, or a necessary fact is missing.
    """
    graph = _graph(source)
    card = _card(source, graph, wishes)
    return Draft(card, partial(_write, source, graph, card))


def _graph(source: Path) -> onnx.ModelProto:
    try:
        graph = onnx.load(source, load_external_data=False)
    except OSError as error:
        raise ModelError(f"{source}: cannot be read ({error.strerror})") from error
    except Exception as error:  # protobuf has its own errors
        raise ModelError(f"{source}: no ONNX file ({error!s:.100}); fetch it anew") from error
    if len(graph.graph.input) < 1:
        raise ModelError(f"{source}: no ONNX file with a network; fetch it anew")
    read_model(source)
    return graph


def _card(source: Path, graph: onnx.ModelProto, wishes: Wishes) -> ModelCard:
    """Merge the facts of the graph, a card and the user; later ones replace earlier ones."""
    known = _known(source, graph) or _listed(source, wishes)
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
    """Return the facts of a card inside the file, or without defaults of a card beside it."""
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


@cache
def _list() -> dict[str, dict[str, Any]]:
    """Return the facts of the community's list, by the MD5 of a file's end."""
    text = resources.files(__package__).joinpath("mdx_files.json").read_text(encoding="utf-8")
    files: dict[str, dict[str, Any]] = parse_json(text)["files"]
    return files


def _digest(source: Path) -> str:
    """Return the MD5 of a file's last 10,000 KiB, or of all of it if it is shorter."""
    with source.open("rb") as file:
        file.seek(max(0, source.stat().st_size - _HASHED_BYTES))
        return hashlib.md5(file.read(), usedforsecurity=False).hexdigest()


def _listed(source: Path, wishes: Wishes) -> dict[str, Any]:
    """Return the card's fields for a file of the list; none for any other file.

    Raises
    ------
    ModelError
        If the file's stem is neither the vocals nor the instrumental, and the user does not say
        otherwise.
    """
    facts = _list().get(_digest(source))
    if facts is None:
        return {}
    stem = facts["primary_stem"]
    if stem not in ("Vocals", "Instrumental") and wishes.target is None:
        raise ModelError(f"{source}: its stem is {stem.lower()}; give a file of the vocals")
    lead = ("takes the lead voice alone for the vocals; other voices are instrumental",)
    return {
        "spectral": {"n_fft": facts["mdx_n_fft_scale_set"]},
        "target": stem.lower(),
        "n_bins": facts["mdx_dim_f_set"],
        "chunk_frames": 2 ** facts["mdx_dim_t_set"],
        "gain": facts["compensate"],
        "limits": lead if facts.get("is_karaoke") else (),
    }


def _shape(graph: onnx.ModelProto) -> dict[str, int]:
    """Return the bins and frames of the graph's input, if they are fixed."""
    sides = [side.dim_value for side in graph.graph.input[0].type.tensor_type.shape.dim]
    if len(sides) != 4:
        return {}
    found = {"n_bins": sides[2], "chunk_frames": sides[3]}
    return {name: size for name, size in found.items() if size > 0}


def _write(source: Path, graph: onnx.ModelProto, card: ModelCard, path: Path) -> float:
    """Write the graph with its card, and test it with noise before it gets its name."""
    with_card(graph, card)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Use a unique name, because the file is removed at the end.
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
