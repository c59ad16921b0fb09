"""A folder with several data sets, each in its own subfolder::

songs/train/SONG/    songs/valid/SONG/       stems (see `viso.train.data.readers.stems`)
karaoke16k/train/    karaoke16k/valid/       the same
singing/SET/NAME-00.ogg                      solo voices, a group for each set
mixes/SONG/mixture.ogg                       songs without stems: left out
instrumentals.tsv                            a table of music inside packages
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from viso.train.data.readers import listed, musdb18, solo, stems
from viso.train.data.readers._folders import folders_in, is_folder_of
from viso.train.data.readers.item import Item

__all__ = ["MIXES", "TABLE", "is_one", "items_in"]

MIXES = "mixes"
TABLE = "instrumentals.tsv"

_KARAOKE = "karaoke16k"
_SONGS = ("songs", _KARAOKE)
_NON_COMMERCIAL = "CC BY-NC-SA 4.0"
# Licences by group, as their origins state them; other singing sets have the terms of their pages.
_LICENCES = {
    "songs": musdb18.LICENCE,
    "karaoke16k": "MIR-1K: research use",
    "gtsinger": _NON_COMMERCIAL,
    "m4singer": _NON_COMMERCIAL,
    "nitsong070": "CC BY 3.0",
    "ravdess": _NON_COMMERCIAL,
    "utau": "editing and redistribution with credit",
}
_PAGE = "terms of the data set's page"
_REMIXED = "EIR - "  # songs of "Everything Is Remixed" among the songs of MUSDB18
# In these sets each file name names one singer; in the others a file has several singers.
_ONE_SINGER_A_FILE = {"nitsong070", "ravdess", "utau"}


def is_one(folder: Path) -> bool:
    """Tell whether a folder has songs beside solo singing, or beside the table of music."""
    has_songs = is_folder_of(folder, *_SONGS)
    return has_songs and (is_folder_of(folder, "singing") or (folder / TABLE).is_file())


def items_in(
    folder: Path, *, music_root: Path | None = None, longest_s: float | None = None
) -> list[Item]:
    """Return the items of all data sets in a folder.

    Parameters
    ----------
    folder : Path
    music_root : Path, optional
        Where the table's packages are unpacked; if None, the table is left out.
    longest_s : float, optional
        Longest duration of a track of the table, in seconds; a longer track keeps its middle.

    Raises
    ------
    DataError
        If one of the data sets is empty.
    """
    items: list[Item] = []
    for name in _SONGS:
        if (folder / name).is_dir():
            items += stems.songs_in(folder / name, licence=_LICENCES[name])
    items = [_as_known(item) for item in items]
    for voices in folders_in(folder / "singing"):
        group = voices.name
        licence = _LICENCES.get(group, _PAGE)
        items += solo.voices_in(voices, licence=licence, singers=group in _ONE_SINGER_A_FILE)
    if music_root is not None and (folder / TABLE).is_file():
        items += listed.music_listed(folder / TABLE, root=music_root, longest_s=longest_s)
    return items


def _as_known(item: Item) -> Item:
    """Set what the files do not contain: the licence, and whether levels are those of a record."""
    is_remixed = item.song.startswith(f"songs/{_REMIXED}")
    if is_remixed:
        item = replace(item, licence="CC0")
    return replace(item, release_level=not is_remixed and item.group != _KARAOKE)
