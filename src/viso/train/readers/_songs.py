"""Songs: the two items each becomes, and which songs are for validation."""

from __future__ import annotations

from viso.train.readers._folders import singer_of
from viso.train.readers.item import Item, Role, Source, Split

__all__ = ["VALIDATION", "song_items", "split_of"]

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
"""The songs of MUSDB18's training set that everybody validates with."""

_FOLDED = frozenset(name.casefold() for name in VALIDATION)


def split_of(song: str) -> Split:
    """Return the split of a song, by its name ``Artist - Title``, where no folder tells it."""
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
        Tells the singer, and the split if `split` is None.
    vocals, music : tuple of Source
        What each is the sum of.
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
