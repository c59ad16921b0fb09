"""Answers of listeners: one JSON object per line.

A listener's file begins with the listener (a number drawn by the page, not a name). Then it has a
line for every answered page:

    {"version": 1, "record": "listener", "test": ID, "listener": L, "order": 3, "age": "25 to 34"}
    {"version": 1, "record": "ratings", "test": ID, "listener": L, "trial": "t01",
     "question": "overall", "ratings": {STIMULUS: 80, ...}, "seconds": 62.5}
    {"version": 1, "record": "choice", "test": ID, "listener": L, "trial": "t01",
     "a": STIMULUS, "b": STIMULUS, "x": STIMULUS, "choice": "a", "seconds": 20.1}
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from viso.config import Settings
from viso.listening.definition import FORMAT

__all__ = ["Choice", "Listener", "Ratings", "as_lines"]

Score = Annotated[float, Field(ge=0, le=100)]
_Listener = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class _Record(Settings):
    version: Literal[1] = FORMAT
    test: str
    listener: _Listener


class Listener(_Record):
    """A listener: `order` is the number of the order heard; the rest is set only if requested."""

    record: Literal["listener"] = "listener"
    order: int = Field(ge=0)
    device: str | None = Field(None, max_length=200)
    age: str | None = Field(None, max_length=40)


class Ratings(_Record):
    """A page of a MUSHRA test: the ratings of a trial's stimuli for a question, 0 to 100."""

    record: Literal["ratings"] = "ratings"
    trial: str
    question: str
    ratings: dict[str, Score]
    seconds: float = Field(0.0, ge=0)


class Choice(_Record):
    """A page of an ABX or preference test: the stimuli A, B and X, and the choice."""

    record: Literal["choice"] = "choice"
    trial: str
    a: str
    b: str
    x: str | None = None
    choice: Literal["a", "b", "none"]
    seconds: float = Field(0.0, ge=0)


def as_lines(records: Iterable[Listener | Ratings | Choice]) -> str:
    """Return records as JSON lines."""
    return "".join(record.model_dump_json(exclude_none=True) + "\n" for record in records)
