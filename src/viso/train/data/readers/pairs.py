"""Pairs of a mixture and its vocals: the instrumental is their difference.

This module reads two folders side by side, ``mixture/NAME.*`` and ``vocals/NAME.*``.
`viso.train.data.readers.stems` reads a folder for each song with ``mixture.*`` and ``vocals.*``.
"""

from __future__ import annotations

from pathlib import Path

from viso.errors import DataError
from viso.train.data.readers._folders import group_of, sounds_below, splits_of
from viso.train.data.readers._songs import song_items
from viso.train.data.readers.item import Item, Source, Split

__all__ = ["is_one", "pair", "songs_in", "unpaired"]

_MIXTURES = ("mixture", "mixtures", "mix")
_VOCALS = "vocals"


def pair(
    mixture: Path, vocals: Path, *, name: str, group: str, split: Split | None, licence: str
) -> list[Item]:
    """Return the two items of a mixture and its vocals; they have the levels of the record."""
    whole = Source(mixture)
    return song_items(
        name,
        vocals=(Source(vocals),),
        music=(whole, Source(vocals, sign=-1.0)),
        mixture=whole,
        group=group,
        split=split,
        licence=licence,
        release_level=True,
    )


def _mixtures_of(folder: Path) -> Path | None:
    return next((folder / name for name in _MIXTURES if (folder / name).is_dir()), None)


def is_one(folder: Path) -> bool:
    """Tell whether a folder, or its ``train`` or ``valid``, has ``mixture`` beside ``vocals``."""
    return any(_mixtures_of(p) and (p / _VOCALS).is_dir() for p, _ in splits_of(folder))


def _named(folder: Path) -> dict[str, Path]:
    """Return the sound files below a folder, by their path without suffix."""
    files: dict[str, Path] = {}
    for path in sounds_below(folder):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in files:
            raise DataError(f"{path}: of the same name as {files[name]}; take one away")
        files[name] = path
    return files


def _matched(part: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    folder = _mixtures_of(part)
    vocals = part / _VOCALS
    return (_named(folder) if folder else {}), (_named(vocals) if vocals.is_dir() else {})


def songs_in(folder: Path, *, licence: str | None = None) -> list[Item]:
    """Return the vocals and the instrumental of every name in both folders.

    Parameters
    ----------
    folder : Path
        Holds ``mixture`` (or ``mixtures``, ``mix``) and ``vocals``, or its ``train`` and ``valid``
        do.
    licence : str, optional

    Raises
    ------
    DataError
        If no name is in both, or two files in one folder have the same name.
    """
    group = group_of(folder)
    items: list[Item] = []
    for part, split in splits_of(folder):
        mixtures, vocals = _matched(part)
        for name in sorted(mixtures.keys() & vocals.keys()):
            items += pair(
                mixtures[name],
                vocals[name],
                name=name,
                group=group,
                split=split,
                licence=licence or "unknown",
            )
    if not items:
        raise DataError(
            f"{folder}: no file in its mixture folder has a namesake in its vocals folder; "
            "give both the name of the song"
        )
    return items


def unpaired(folder: Path) -> list[Path]:
    """Return the files that have no partner."""
    alone: list[Path] = []
    for part, _ in splits_of(folder):
        mixtures, vocals = _matched(part)
        alone += [mixtures[name] for name in sorted(mixtures.keys() - vocals.keys())]
        alone += [vocals[name] for name in sorted(vocals.keys() - mixtures.keys())]
    return alone
