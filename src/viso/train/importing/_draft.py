"""Shared by the importers: the wishes of a user, and a model that is not written yet."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from viso.config import Settings
from viso.errors import ModelError
from viso.models.card import ModelCard, SegmentCard

__all__ = ["Draft", "Wishes", "called", "licence_of", "name_from"]


class Wishes(Settings):
    """A user's facts about a model; None where the user gives none.

    `target`, `above` and the rest are fields of `ModelCard`. For some kinds the fields from
    `n_bins` on are known; for others the user must give them.
    """

    name: str | None = None
    licence: str | None = None
    origin: str | None = None
    target: Literal["vocals", "instrumental"] | None = None
    above: Literal["highest", "average", "zeros"] | None = None
    chunk_frames: int | None = None
    context_frames: int | None = None
    n_bins: int | None = None
    n_fft: int | None = None
    hop: int | None = None
    gain: float | None = None

    def given(self) -> set[str]:
        """Return the names of the fields that the user gave."""
        return set(self.model_dump(exclude_none=True))


@dataclass(frozen=True)
class Draft:
    """A model that can be written.

    Attributes
    ----------
    card : ModelCard or SegmentCard
    write : callable
        Writes the model to a path, completely or not at all. Returns the largest difference of
        its output from the original's (0 if the graph is the original's own).
    """

    card: ModelCard | SegmentCard
    write: Callable[[Path], float]


def called(source: Path) -> str:
    """Return a file's name as text for a card, even if its bytes are not valid text."""
    return source.name.encode("utf-8", "backslashreplace").decode("utf-8")


def name_from(text: str, *, source: Path) -> str:
    """Return a model's name made from a file's, without characters that a name cannot have.

    Raises
    ------
    ModelError
        If no character remains.
    """
    name = re.sub(r"[^A-Za-z0-9._+-]+", "-", text).strip("-._+")[:64]
    if not name:
        raise ModelError(f"{source}: no name can be made of its own; say --name")
    return name


def licence_of(source: Path, wishes: Wishes) -> str:
    """Return the licence that the user gave.

    Raises
    ------
    ModelError
        If there is none: the file does not contain it, and nobody asks for it later.
    """
    if wishes.licence is None:
        raise ModelError(
            f"{source}: under which licence? Say --licence, as its makers do "
            "(--licence unknown, if they do not)"
        )
    return wishes.licence
