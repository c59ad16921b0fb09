"""A folder for each song with a file for each stem, such as MUSDB18-HQ."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from viso.errors import DataError
from viso.train.data.readers._folders import SPLITS, folders_in, group_of, sounds_in, splits_of
from viso.train.data.readers._songs import song_items
from viso.train.data.readers.item import Item, Source, Split
from viso.train.data.readers.pairs import pair

__all__ = ["incomplete", "is_one", "songs_in"]

_VOCALS = "vocals"
# The first one that exists is the mixture; none of them is a stem.
_MIXTURES = ("mixture", "linear_mixture", "mix")
_INSTRUMENTALS = ("instrumental", "accompaniment")


def _stems_of(song: Path) -> dict[str, Path]:
    """Return the files of a song folder, by the name of the stem in lower case."""
    stems: dict[str, Path] = {}
    for path in sounds_in(song):
        name = path.stem.lower()
        if name in stems:
            raise DataError(f"{path}: the same stem as {stems[name]}; take one away")
        stems[name] = path
    return stems


def _is_song(song: Path) -> bool:
    names = {path.stem.lower() for path in sounds_in(song)}
    return _VOCALS in names and len(names) > 1


def _songs_of(folder: Path) -> Iterator[tuple[Path, Split | None, bool]]:
    """Yield each folder that may be a song, its split, and whether it is a song."""
    for part, split in splits_of(folder):
        for song in folders_in(part):
            if part != folder or song.name not in SPLITS:
                yield song, split, _is_song(song)


def is_one(folder: Path) -> bool:
    """Tell whether a folder, or its ``train`` or ``valid``, holds a folder of stems."""
    return any(is_song for _, _, is_song in _songs_of(folder))


def songs_in(
    folder: Path,
    *,
    group: str | None = None,
    split: Split | None = None,
    licence: str | None = None,
) -> list[Item]:
    """Return the vocals and the instrumental of every song folder.

    A song folder holds `vocals.*` and `instrumental.*` (or `accompaniment.*`); or `vocals.*` and
    other stems, whose sum is the instrumental; or only `vocals.*` and `mixture.*`, whose
    difference is the instrumental. All are assumed to have the levels of the finished record.

    Parameters
    ----------
    folder : Path
        Holds song folders, or ``train`` and ``valid`` with song folders. Its ``test`` is left out.
    group : str, optional
        The folder's name, if None.
    split : str, optional
        The split of all songs. If None, the folders ``train`` and ``valid`` decide; if there is no
        ``valid``, MUSDB18's validation songs have the split "valid".
    licence : str, optional

    Raises
    ------
    DataError
        If there is no song, or a song has two files of one stem.
    """
    group = group or group_of(folder)
    items: list[Item] = []
    for song, part, is_song in _songs_of(folder):
        if is_song:
            items += _of_one(song, group, split or part, licence or "unknown")
    if not items:
        raise DataError(
            f"{folder}: no song in it; each needs a folder with vocals and another stem, or the "
            "mixture, as sound files"
        )
    return items


def _of_one(song: Path, group: str, split: Split | None, licence: str) -> list[Item]:
    stems = _stems_of(song)
    vocals = stems.pop(_VOCALS)
    mixtures = [stems.pop(name) for name in _MIXTURES if name in stems]
    mixture = mixtures[0] if mixtures else None
    if not stems:
        if mixture is None:
            raise AssertionError("a song has vocals and something else")
        return pair(mixture, vocals, name=song.name, group=group, split=split, licence=licence)
    whole = next((stems[name] for name in _INSTRUMENTALS if name in stems), None)
    music = [whole] if whole else list(stems.values())
    return song_items(
        song.name,
        vocals=(Source(vocals),),
        music=tuple(Source(path) for path in music),
        mixture=Source(mixture) if mixture else None,
        group=group,
        split=split,
        licence=licence,
        release_level=True,
    )


def incomplete(folder: Path) -> list[Path]:
    """Return the folders that hold sound files, but not both vocals and another file."""
    return [song for song, _, is_song in _songs_of(folder) if not is_song and sounds_in(song)]
