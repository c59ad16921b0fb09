"""Songs: makes the two items of each song, and chooses the songs for validation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import sha256

from viso.train.data.readers._folders import singer_of
from viso.train.data.readers.item import Item, Role, Source, Split

__all__ = ["VALIDATION", "hold_out", "parts_of", "song_items", "split_of"]

VALIDATION = frozenset({
    "ANiMAL - Rockshow",
    "Actions - One Minute Smile",
    "Alexander Ross - Goodbye Bolero",
    "Clara Berry And Wooldog - Waltz For My Victims",
    "Fergessen - Nos Palpitants",
    "James May - On The Line",
    "Johnny Lokke - Promises & Lies",
    "Leaf - Summerghost",
    "Meaxic - Take A Step",
    "Patrick Talbot - A Reason To Leave",
    "Skelpolu - Human Mistakes",
    "Traffic Experiment - Sirens",
    "Triviul - Angelsaint",
    "Young Griffo - Pennies",
})  # fmt: skip
"""The songs of MUSDB18's training set that are its usual validation set."""

_TRACKS = ("mixture", "drums", "bass", "other", "vocals")  # tracks of a .stem.mp4

_FOLDED = frozenset(name.casefold() for name in VALIDATION)


def split_of(song: str) -> Split:
    """Return the split of a song by its name ``Artist - Title``, where no folder decides it."""
    return "valid" if song.casefold() in _FOLDED else "train"


def song_items(
    name: str,
    *,
    vocals: tuple[Source, ...],
    music: tuple[Source, ...],
    mixture: Source | None,
    group: str,
    split: Split | None,
    licence: str,
    release_level: bool,
) -> list[Item]:
    """Return the vocals and the instrumental of a song.

    Parameters
    ----------
    name : str
        Contains the singer's name, and decides the split if `split` is None.
    vocals, music : tuple of Source
        The sources whose sum is the vocals, or the instrumental.
    mixture, group, split, licence, release_level
        As in `Item`.
    """
    roles: list[tuple[Role, tuple[Source, ...]]] = [("vocals", vocals), ("instrumental", music)]
    return [
        Item(
            sources=sources,
            song=f"{group}/{name}",
            role=role,
            group=group,
            split=split or split_of(name),
            singer=singer_of(name),
            licence=licence,
            release_level=release_level,
            mixture=mixture,
        )
        for role, sources in roles
    ]


def parts_of(items: Iterable[Item]) -> list[Item]:
    """Return the single stems of the training songs' music: drums, bass and so on.

    Parameters
    ----------
    items : iterable of Item
        With their final splits: validation songs are left out.

    Returns
    -------
    list of Item
        An instrumental for each source, where a song's music is the sum of several. Its song is
        ``SONG/PART`` and its group ``GROUP-PART``. PART is the name of the file; for tracks of one
        file it is the name of MUSDB18's track.
    """
    return [
        replace(
            item,
            sources=(source,),
            song=f"{item.song}/{_part(source)}",
            group=f"{item.group}-{_part(source)}",
            mixture=None,
        )
        for item in items
        if item.role == "instrumental" and item.split == "train" and _is_sum(item)
        for source in item.sources
    ]


def _is_sum(item: Item) -> bool:
    # A mixture minus its vocals has two sources, too.
    return len(item.sources) > 1 and all(source.sign > 0 for source in item.sources)


def _part(source: Source) -> str:
    return _TRACKS[source.track] if source.track else source.path.stem.lower()


def hold_out(items: Sequence[Item], *, share: float = 0.1) -> tuple[list[Item], list[str]]:
    """Hold out some songs for validation, if no song is marked for it.

    All songs of a singer are held out together, so that no voice is in both splits. The order
    depends on the singers' names only: songs added later change little.

    Parameters
    ----------
    items : sequence of Item
    share : float
        Share of the songs that have vocals and an instrumental; the result is a little more where
        a singer has several songs.

    Returns
    -------
    items : list of Item
        The same items; those of held-out songs have the split "valid".
    songs : list of str
        The songs held out, at least one. The list is empty if there is only one song, if one
        singer sings all songs, or if an item already is "valid".
    """
    roles: dict[str, set[Role]] = {}
    singer: dict[str, str] = {}
    for item in items:
        roles.setdefault(item.song, set()).add(item.role)
        singer[item.song] = item.singer or item.song
    songs = [song for song, found in roles.items() if len(found) == 2]
    if len(songs) < 2 or any(item.split == "valid" for item in items):
        return list(items), []
    held: list[str] = []
    singers = sorted({singer[song] for song in songs}, key=lambda s: sha256(s.encode()).digest())
    for name in singers:
        theirs = [song for song in songs if singer[song] == name]
        # Do not hold out all songs: with a single singer, voices cannot be kept apart.
        if len(held) + len(theirs) < len(songs):
            held += theirs
        if len(held) >= share * len(songs):
            break
    kept = set(held)
    return [replace(i, split="valid") if i.song in kept else i for i in items], sorted(held)
