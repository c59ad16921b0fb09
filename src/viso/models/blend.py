"""Several models as one: averages their estimates with weights.

    viso                          one model by itself
    viso+viso-cnn                 both, with equal weights
    viso*0.75+viso-cnn*0.25       both, with shares of 0.75 and 0.25

Uhlich et al. 2017 blend two networks in this way, with weights of lambda and 1 - lambda. A TOML
file may hold a blend and give it a name (`viso.models.card.BlendCard`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from viso.errors import ConfigError, ModelError
from viso.models import registry
from viso.models._onnx_check import metadata_of, read_model
from viso.models.card import BlendCard, ModelCard, SegmentCard
from viso.models.onnx import Model, OnnxModel
from viso.models.runtimes import open_session
from viso.models.segments import OnnxSegmentModel, SegmentModel
from viso.models.session import Device, card_of

__all__ = [
    "Blend",
    "Models",
    "card_file",
    "estimated_by",
    "load",
    "load_blend",
    "parts_of",
    "shares_of",
]

_MOST_PARTS = 32

AnyModel = Model | SegmentModel
"""A model that sees frames, or one that sees segments."""

Named = str | PathLike[str] | AnyModel
Models = Named | Sequence[Named]
"""A blend as a user specifies it: one or several models, each a name, a file or a loaded model."""


@dataclass(frozen=True)
class Blend:
    """Models and the share of each; the shares add up to 1. One model is a blend, too.

    `card` is None unless the blend has a name of its own.
    """

    models: tuple[AnyModel, ...]
    shares: tuple[float, ...]
    card: BlendCard | None = None

    @property
    def cards(self) -> tuple[ModelCard | SegmentCard, ...]:
        """The models' cards, in their order."""
        return tuple(model.card for model in self.models)

    @property
    def name(self) -> str:
        """The blend's own name, or its models' names and shares as a user would write them."""
        return self.made_of if self.card is None else self.card.name

    @property
    def made_of(self) -> str:
        """The models' names and shares as a user would write them."""
        return _joined([card.name for card in self.cards], self.shares)

    @property
    def wiener(self) -> int:
        """Iterations of the Wiener filter in the blend's card; 0 without a card."""
        return 0 if self.card is None else self.card.wiener

    @property
    def device(self) -> str:
        """The devices that the models really run on: such as "cpu"; "+" joins several.

        This reads each model's attribute `device`; a model without it counts as "unknown".
        """
        return "+".join(sorted({str(getattr(m, "device", "unknown")) for m in self.models}))

    @property
    def sha256(self) -> str:
        """The hashes of the models' files, joined by "+"; models without a file have none."""
        hashes = (
            m.sha256 if isinstance(m, OnnxModel | OnnxSegmentModel) else "" for m in self.models
        )
        return "+".join(filter(None, hashes))

    def tags(self) -> dict[str, str]:
        """Return the tags that describe this blend in the files made with it."""
        versions = [f"{card.name} {card.version}" for card in self.cards]
        tags = {
            "viso_model": _joined(versions, self.shares, space=" "),
            "viso_model_licence": "; ".join(dict.fromkeys(card.licence for card in self.cards)),
        }
        if self.card is not None:
            tags["viso_model"] = f"{self.card.name} {self.card.version} ({tags['viso_model']})"
        return {**tags, "viso_model_sha256": self.sha256} if self.sha256 else tags


def _joined(names: Sequence[str], shares: Sequence[float], *, space: str = "") -> str:
    parts = [
        name if len(set(shares)) == 1 else f"{name}{space}*{space}{share:g}"
        for name, share in zip(names, shares, strict=True)
    ]
    return f"{space}+{space}".join(parts)


def load_blend(
    models: Models,
    *,
    weights: Sequence[float] | None = None,
    device: Device = "auto",
    threads: int = 0,
) -> Blend:
    """Load the models of a blend.

    Parameters
    ----------
    models : str, path, Model, or a sequence of them
        A single string may name a blend, such as "viso+viso-cnn", or the card of a blend.
    weights : sequence of float, optional
        One for each model; equal by default. Only their ratios count.
    device : {"auto", "cpu", "cuda", "coreml", "directml", "migraphx", "openvino"}
    threads : int
        CPU threads of each network; 0 takes all cores.

    Raises
    ------
    ModelError
        If a model cannot be loaded.
    ConfigError
        If the weights do not fit the models or are not positive numbers, or if a blend's card is
        wrong.
    """
    file = card_file(models) if isinstance(models, str | PathLike) else None
    card = None if file is None else BlendCard.from_toml(file)
    if file is not None and card is not None:
        if weights is not None:
            raise ConfigError(f"{models}: has weights already; say them once")
        models = card.models
    if isinstance(models, str):
        try:
            said = parts_of(models, beside=file)
        except ConfigError as error:
            raise error if file is None else ConfigError(f"{file}: models: {error}") from error
        named: list[Named] = [_beside(file, name) for name, _ in said]
        if any(weight is not None for _, weight in said):
            if weights is not None:
                raise ConfigError(f"{models}: has weights already; say them once")
            weights = [weight for _, weight in said if weight is not None]
    else:
        named = list(models) if isinstance(models, Sequence) else [models]
    for model in named:
        if isinstance(model, str | PathLike) and card_file(model) is not None:
            raise ConfigError(f"{model}: is a blend itself, and no part of one; say its models")
    loaded = (
        load(model, device=device, threads=threads) if isinstance(model, str | PathLike) else model
        for model in named
    )
    shares = shares_of(len(named), weights)
    return Blend(tuple(loaded), shares, card)


def estimated_by(models: str) -> list[tuple[str, ...]]:
    """Return the stems that each model of a blend estimates, by their cards alone.

    Raises
    ------
    ModelError, ConfigError
        See `load_blend`.
    """
    file = card_file(models)
    if file is not None:
        models = BlendCard.from_toml(file).models
    paths = [_path_of(_beside(file, name)) for name, _ in parts_of(models, beside=file)]
    return [card_of(metadata_of(read_model(path)), path).estimated for path in paths]


def load(
    model: str | PathLike[str], *, device: Device = "auto", threads: int = 0
) -> OnnxModel | OnnxSegmentModel:
    """Load a model by name, or any ONNX file by path; `viso.models.blend` loads several as one.

    Raises
    ------
    ModelError
        See `OnnxModel`; also for a name that is not known, and for that of a blend.
    """
    path = _path_of(model)
    session = open_session(path, device=device, threads=threads)
    if isinstance(session.card(), SegmentCard):
        return OnnxSegmentModel(path, session=session)
    return OnnxModel(path, session=session)


def _path_of(model: str | PathLike[str]) -> Path:
    """Return the ONNX file of a model's name, or the path itself."""
    path = Path(model)
    if str(model) in registry.available() or not (path.suffix or path.exists()):
        path = registry.path_of(str(model))
    if path.suffix.lower() == ".toml":
        raise ModelError(f"{path}: is no model but a card; name its ONNX file, or a single model")
    return path


def card_file(model: str | PathLike[str]) -> Path | None:
    """Return the TOML file if this is the name or the file of a named blend, else None."""
    is_known = str(model) in registry.available()
    path = registry.path_of(str(model)) if is_known else Path(model)
    return path if path.suffix.lower() == ".toml" else None


def _beside(card: Path | None, name: str) -> str:
    """Return a model named in a card: a known name, or the path of a file beside the card."""
    if card is None or name in registry.available():
        return name
    files = (card.parent / f"{name}.onnx", card.parent / name)
    return next((str(file) for file in files if file.is_file()), name)


def shares_of(n_models: int, weights: Sequence[float] | None = None) -> tuple[float, ...]:
    """Return the weights scaled to a sum of 1; equal weights by default.

    Raises
    ------
    ConfigError
        If there are not as many weights as models, or a weight is not a positive number.
    """
    if not n_models:
        raise ConfigError("no model named; leave it out for the default")
    weights = weights or [1.0] * n_models
    if len(weights) != n_models:
        raise ConfigError(f"weights {list(weights)}: {len(weights)} for {n_models} models")
    if not all(0 < weight < math.inf for weight in weights):
        raise ConfigError(f"weights {list(weights)}: need a positive number for each model")
    relative = [weight / max(weights) for weight in weights]
    total = math.fsum(relative)
    return tuple(weight / total for weight in relative)


def parts_of(text: str, *, beside: Path | None = None) -> list[tuple[str, float | None]]:
    """Return the models and weights of a blend as a user wrote it.

    Parameters
    ----------
    text : str
        ``NAME`` or ``NAME*WEIGHT``, several joined by ``+``. If a known name or an existing file
        itself has a plus or a star, that name is not split.
    beside : Path, optional
        The text may also name files beside this file.

    Returns
    -------
    list of (str, float or None)
        Models and their weights; None for a model without a weight.

    Raises
    ------
    ConfigError
        If a weight is not a number, only some models have a weight, a name is missing, or there
        are more than 32 models.

    Examples
    --------
    >>> parts_of("viso*3+viso-cnn*1")
    [('viso', 3.0), ('viso-cnn', 1.0)]
    """
    pieces, parts = text.split("+"), []
    if len(pieces) > _MOST_PARTS:  # the loop below looks for each run of pieces on the disk
        raise ConfigError(
            f"{text:.60}: {len(pieces)} models in a blend; take at most {_MOST_PARTS}"
        )
    while pieces:
        # The longest run of pieces that names a model, else a single piece.
        runs = ["+".join(pieces[:n]) for n in range(len(pieces), 0, -1)]
        run = next((run for run in runs if _is_known(_cut(run, beside)[0], beside)), pieces[0])
        parts.append((_cut(run, beside)[0], _weight(run, beside)))
        pieces = pieces[run.count("+") + 1 :]
    given = [weight for _, weight in parts if weight is not None]
    if given and len(given) < max(2, len(parts)):
        raise ConfigError(f"{text}: has one weight; say one for each of the models, or none")
    if len(parts) > 1 and not all(name for name, _ in parts):
        raise ConfigError(f"{text}: a model is missing; say it like a+b or a*0.75+b*0.25")
    return parts


def _cut(part: str, beside: Path | None) -> tuple[str, str]:
    """Return the written name and weight of a model; the weight may be empty."""
    name, star, weight = part.rpartition("*")
    if not star or "+" in weight or _is_known(part, beside):
        return part, ""
    return name, weight


def _weight(part: str, beside: Path | None) -> float | None:
    name, weight = _cut(part, beside)
    if part == name:
        return None
    try:
        return float(weight)
    except ValueError as error:
        raise ConfigError(f"{part}: {weight!r} is no weight; say it like {name}*0.75") from error


def _is_known(name: str, beside: Path | None) -> bool:
    return name in registry.available() or Path(_beside(beside, name)).is_file()
