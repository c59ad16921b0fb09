"""Readers: turn the folders of data sets into items; each item is a track to be packed.

Each layout has a module: `musdb18` (``.stem.mp4``), `stems` (a folder a song; MUSDB18-HQ),
`pairs` (mixture and vocals), `solo` (voices, music), `listed` (a table of music) and `shared`
(several of these side by side).
"""

from __future__ import annotations

from pathlib import Path

from viso.errors import DataError
from viso.train.data.readers import listed, musdb18, pairs, shared, stems
from viso.train.data.readers._folders import TEST, folders_in, sounds_below, sounds_in
from viso.train.data.readers._songs import hold_out, parts_of
from viso.train.data.readers.item import Item, Source, load
from viso.train.data.readers.listed import music_listed
from viso.train.data.readers.solo import music_in, voices_in
from viso.train.data.readers.stems import songs_in

__all__ = [
    "Item",
    "Source",
    "hold_out",
    "items_in",
    "left_out",
    "load",
    "music_in",
    "music_listed",
    "parts_of",
    "songs_in",
    "voices_in",
]


def items_in(
    folder: Path,
    *,
    licence: str | None = None,
    music_root: Path | None = None,
    longest_s: float | None = None,
) -> list[Item]:
    """Recognise the layout of a folder and return its items.

    Parameters
    ----------
    folder : Path
    licence : str, optional
        The licence of a data set, where the reader does not know it.
    music_root : Path, optional
        Where the packages of a table of music are unpacked (see `viso.train.data.readers.shared`).
    longest_s : float, optional
        Longest duration of a track of such a table, in seconds; a longer track keeps its middle.

    Returns
    -------
    list of Item
        Song by song, vocals before instrumental. Nothing is decoded yet.

    Raises
    ------
    DataError
        If the folder does not exist, has no known layout, or is a test set.

    See Also
    --------
    left_out : the files that are not among the items, and why.
    voices_in, music_in : for folders that could hold either.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; check the name")
    if shared.is_one(folder):
        return shared.items_in(folder, music_root=music_root, longest_s=longest_s)
    if musdb18.is_one(folder):
        return musdb18.songs_in(folder, licence=licence)
    if pairs.is_one(folder):
        return pairs.songs_in(folder, licence=licence)
    if stems.is_one(folder):
        return stems.songs_in(folder, licence=licence)
    raise DataError(_advice(folder))


def _advice(folder: Path) -> str:
    """Return a message: why no layout was recognised, and what to do."""
    if (folder / TEST).is_dir() and len(folders_in(folder)) == 1:
        return f"{folder}: only a test set in it, which is never packed; name a training set"
    files = sounds_below(folder)
    if any(path.stem.lower() == "vocals" for path in sounds_in(folder)):
        return f"{folder}: this is one song; name the folder that its folder lies in"
    if files:
        return (
            f"{folder}: {len(files)} sound files that could be voices or music: say "
            "--voices FOLDER for solo singing, --music FOLDER for music without singing; of songs "
            "each needs a folder with vocals and another stem"
        )
    inside = ", ".join(path.name for path in folders_in(folder)[:5]) or "no folder"
    return (
        f"{folder}: no sound in it ({inside} in it); name a folder of .stem.mp4 files, of songs "
        "with a folder of stems each, or of mixture/ and vocals/"
    )


def left_out(folder: Path, *, music_root: Path | None = None) -> list[str]:
    """Return a line for each thing in a folder that its reader leaves out, with the reason.

    Parameters
    ----------
    folder : Path
        As for `items_in`, `voices_in` or `music_in`.
    music_root : Path, optional
        As for `items_in`.
    """
    if shared.is_one(folder):
        return _left_out_of_shared(folder, music_root)
    lines = []
    if (folder / TEST).is_dir():
        lines.append(f"{folder / TEST}: left out; a test set is not for training")
    if pairs.is_one(folder):
        lines += [f"{path}: left out; it has no partner" for path in pairs.unpaired(folder)]
    elif stems.is_one(folder):
        lines += [
            f"{path}: left out; no vocals and other stem" for path in stems.incomplete(folder)
        ]
    return lines


def _left_out_of_shared(folder: Path, music_root: Path | None) -> list[str]:
    lines = []
    mixes, table = folder / shared.MIXES, folder / shared.TABLE
    if mixes.is_dir():
        lines.append(f"{mixes}: {len(folders_in(mixes))} songs left out; they have no stems")
    if table.is_file():
        if music_root is None:
            lines.append(f"{table}: left out; say --music-root FOLDER, where its music is unpacked")
        elif n_missing := listed.missing(table, root=music_root):
            lines.append(f"{table}: {n_missing} tracks left out; they are not below {music_root}")
    return lines
