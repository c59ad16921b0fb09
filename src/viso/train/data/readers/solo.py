"""Folders of one kind of sound: solo singing, or music without singing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from viso.errors import DataError
from viso.train.data.readers._folders import (
    SPLITS,
    SUFFIXES,
    group_of,
    singer_of,
    sounds_below,
    splits_of,
)
from viso.train.data.readers.item import Item, Source, Split

__all__ = ["music_in", "voices_in"]


def voices_in(
    folder: Path, *, group: str | None = None, licence: str | None = None, singers: bool = True
) -> list[Item]:
    """Return every file at any depth below a folder as solo singing.

    The name of the subfolder is the singer's; without a subfolder, a numbered file name contains
    the singer's name (``anna-01.wav``).

    Parameters
    ----------
    folder : Path
        Its ``valid``, if there is one, is for validation; its ``test`` is left out.
    group : str, optional
        The folder's name, if None.
    licence : str, optional
    singers : bool
        False if the names do not name the singer.

    Raises
    ------
    DataError
        If there is no file.
    """
    group = group or group_of(folder)
    return [
        Item(
            sources=(Source(path),),
            song=f"{group}/{name}",
            role="vocals",
            group=group,
            split=split,
            singer=_singer(inner) if singers else None,
            licence=licence or "unknown",
        )
        for path, name, inner, split in _files(folder)
    ]


def music_in(folder: Path, *, group: str | None = None, licence: str | None = None) -> list[Item]:
    """Return every file at any depth below a folder as music without singing.

    Parameters
    ----------
    folder : Path
        Its ``valid``, if there is one, is for validation; its ``test`` is left out.
    group : str, optional
        The folder's name, if None.
    licence : str, optional

    Raises
    ------
    DataError
        If there is no file.
    """
    group = group or group_of(folder)
    return [
        Item(
            sources=(Source(path),),
            song=f"{group}/{name}",
            role="instrumental",
            group=group,
            split=split,
            licence=licence or "unknown",
        )
        for path, name, _, split in _files(folder)
    ]


def _files(folder: Path) -> Iterator[tuple[Path, str, Path, Split]]:
    """Yield each file, its name, its path inside its split, and the split."""
    found = False
    for part, split in splits_of(folder):
        for path in sounds_below(part):
            inner = path.relative_to(part).with_suffix("")
            if part == folder and len(inner.parts) > 1 and inner.parts[0] in SPLITS:
                continue
            found = True
            yield path, path.relative_to(folder).with_suffix("").as_posix(), inner, split or "train"
    if not found:
        raise DataError(f"{folder}: no sound file in it ({' '.join(sorted(SUFFIXES))})")


def _singer(inner: Path) -> str | None:
    return inner.parts[0] if len(inner.parts) > 1 else singer_of(inner.name)
