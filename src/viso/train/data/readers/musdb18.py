"""MUSDB18 as published: a folder of ``.stem.mp4`` files with five audio tracks each.

Reference: Rafii, Liutkus, Stoeter, Mimilakis, Bittner, "MUSDB18, a corpus for music separation",
2017, https://doi.org/10.5281/zenodo.1117372.
"""

from __future__ import annotations

from pathlib import Path

from viso.errors import DataError
from viso.train.data.readers._folders import group_of, splits_of
from viso.train.data.readers._songs import VALIDATION, song_items
from viso.train.data.readers.item import Item, Source

__all__ = ["LICENCE", "VALIDATION", "is_one", "songs_in"]

LICENCE = "MUSDB18: academic use, mostly CC BY-NC-SA 4.0"

_SUFFIX = ".stem.mp4"
_MIXTURE, _DRUMS, _BASS, _OTHER, _VOCALS = range(5)


def _files_in(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("*") if p.name.lower().endswith(_SUFFIX))


def is_one(folder: Path) -> bool:
    """Tell whether a folder, or its ``train`` or ``valid``, holds ``.stem.mp4`` files."""
    return any(_files_in(part) for part, _ in splits_of(folder))


def songs_in(folder: Path, *, licence: str | None = None) -> list[Item]:
    """Return the vocals and the instrumental (drums + bass + other) of every ``.stem.mp4``.

    Parameters
    ----------
    folder : Path
        Holds the files, or ``train`` with the files. Its ``test`` is left out.
    licence : str, optional
        Replaces MUSDB18's own licence.

    Returns
    -------
    list of Item
        The 14 songs of `VALIDATION` have the split "valid", unless a folder ``valid`` holds the
        validation songs.

    Raises
    ------
    DataError
        If there is no file, or the folder is a test set.
    """
    items: list[Item] = []
    for part, split in splits_of(folder):
        for path in _files_in(part):
            items += song_items(
                path.name[: -len(_SUFFIX)],
                vocals=(Source(path, track=_VOCALS),),
                music=tuple(Source(path, track=track) for track in (_DRUMS, _BASS, _OTHER)),
                mixture=Source(path, track=_MIXTURE),
                group=group_of(folder),
                split=split,
                licence=licence or LICENCE,
                release_level=True,
            )
    if not items:
        raise DataError(f"{folder}: no {_SUFFIX} file in it or its train folder")
    return items
