"""What the importers share: the wishes of a user, and a model that is not written yet."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from viso.config import Settings
from viso.errors import ModelError
from viso.models.card import ModelCard

__all__ = ["Draft", "Wishes", "called", "licence_of", "name_from"]


class Wishes(Settings):
    """What a user says of a model; None where nothing is said.

    `target`, `above` and the rest are fields of `ModelCard`. Those from `n_bins` on are known
    of some kinds by themselves and must be said for others.
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
        """Return the names of what was said."""
        return set(self.model_dump(exclude_none=True))


@dataclass(frozen=True)
class Draft:
    """A model that can be written.

    Attributes
    ----------
    card : ModelCard
    write : callable
        Writes the model to a path, whole or not at all, and returns how far its output is
        from the original's (0 where the graph is the original's own).
    """

    card: ModelCard
    write: Callable[[Path], float]


def called(source: Path) -> str:
    """Return a file's name as text that a card can hold, whatever bytes it is made of."""
    return source.name.encode("utf-8", "backslashreplace").decode("utf-8")


def name_from(text: str, *, source: Path) -> str:
    """Return a model's name made of a file's, with what a name cannot have left out.

    Raises
    ------
    ModelError
        If nothing remains.
    """
    name = re.sub(r"[^A-Za-z0-9._+-]+", "-", text).strip("-._+")[:64]
    if not name:
        raise ModelError(f"{source}: no name can be made of its own; say --name")
    return name


def licence_of(source: Path, wishes: Wishes) -> str:
    """Return the licence that was said.

    Raises
    ------
    ModelError
        If none was: a file does not say it, and nobody asks for it later.
    """
    if wishes.licence is None:
        raise ModelError(
            f"{source}: under which licence? Say --licence, as its makers do "
            "(--licence unknown, if they do not)"
        )
    return wishes.licence
