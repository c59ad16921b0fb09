"""Code for all layouts: finding sound files and splits, and reading names."""

from __future__ import annotations

import re
from pathlib import Path

from viso.errors import DataError
from viso.train.data.readers.item import Split

__all__ = [
    "SPLITS",
    "SUFFIXES",
    "TEST",
    "folders_in",
    "group_of",
    "is_folder_of",
    "singer_of",
    "sounds_below",
    "sounds_in",
    "splits_of",
]

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".mp3", ".opus", ".m4a", ".aif", ".aiff"})
TEST = "test"
SPLITS = frozenset({"train", "valid", TEST})


def sounds_in(folder: Path) -> list[Path]:
    """Return the sound files directly in a folder, in the order of their names."""
    return sorted(p for p in folder.iterdir() if _is_sound(p))


def sounds_below(folder: Path) -> list[Path]:
    """Return the sound files at any depth below a folder, in the order of their paths."""
    return sorted(p for p in folder.rglob("*") if _is_sound(p))


def _is_sound(path: Path) -> bool:
    # An archive made on a Mac has a hidden twin of every file.
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def folders_in(folder: Path) -> list[Path]:
    """Return the folders directly in a folder, in the order of their names."""
    return sorted(p for p in folder.glob("*") if p.is_dir())


def is_folder_of(folder: Path, *names: str) -> bool:
    """Tell whether a folder has a subfolder of one of these names."""
    return any((folder / name).is_dir() for name in names)


def splits_of(folder: Path) -> list[tuple[Path, Split | None]]:
    """Return the folders of a data set that may be packed, with the split of each.

    The folders ``train`` and ``valid`` are splits. If there is a ``valid`` but no ``train``,
    `folder` itself is for training. Without ``valid`` the reader decides the split (None). If
    `folder` itself is returned, the subfolders with these names do not belong to it. ``test`` is
    never returned: a test set must not influence training or the choice of a model.

    Raises
    ------
    DataError
        If the folder itself is called ``test``, or does not exist.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; check the name")
    if folder.resolve().name == TEST:
        raise DataError(
            f"{folder}: songs of a folder called test are never packed; name the training folder, "
            "or call the folder otherwise if it holds no test set"
        )
    train, valid = folder / "train", folder / "valid"
    if valid.is_dir():
        return [(train if train.is_dir() else folder, "train"), (valid, "valid")]
    if train.is_dir():
        return [(train, None)]
    return [(folder, "valid" if folder.resolve().name == "valid" else None)]


def group_of(folder: Path) -> str:
    """Return a folder's own name; for ``name/train`` and ``name/valid`` return ``name``."""
    path = folder.resolve() if folder.name in ("", "..") else folder
    return path.absolute().parent.name if path.name in ("train", "valid") else path.name


def singer_of(name: str) -> str | None:
    """Return the singer, if the name of a file or song contains it.

    Such names are ``Artist - Title`` and the numbered files of a singer: ``abjones-1``,
    ``actor01-00``, ``anna_12``.
    """
    artist, dash, _ = name.partition(" - ")
    if dash and artist.strip():
        return artist.strip()
    numbered = re.fullmatch(r"(.*[^\W_])[-_ ]+\d+", name)
    return numbered[1] if numbered else None
