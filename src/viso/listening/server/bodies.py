"""Keys and bodies that the listener's page and the author's page may send."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from fastapi import Depends, Header, HTTPException
from pydantic import Field

from viso.config import Settings

__all__ = ["AnswerBody", "BeginBody", "Key", "LinksBody", "ListenerKey", "RemoveBody"]


_Name = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class BeginBody(Settings):
    """What a listener enters before the test; device and age only if requested."""

    agrees: bool = False
    device: str | None = Field(None, max_length=200)
    age: str | None = Field(None, max_length=40)


class AnswerBody(Settings):
    """A listener's answer to a page; the test decides which fields are needed."""

    trial: str = Field(max_length=40)
    question: str = Field("", max_length=40)
    ratings: dict[str, float] | None = Field(None, max_length=24)
    a: str | None = Field(None, max_length=40)
    b: str | None = Field(None, max_length=40)
    x: str | None = Field(None, max_length=40)
    choice: Literal["a", "b", "none"] | None = None
    seconds: float = Field(0.0, ge=0, allow_inf_nan=False)


class LinksBody(Settings):
    """How many links the author requests."""

    count: int = Field(ge=1, le=1000)


class RemoveBody(Settings):
    """Which listeners the author removes, by their random names."""

    names: list[_Name] = Field(min_length=1, max_length=1000)


def _key(authorization: Annotated[str, Header()] = "") -> str:
    found = re.fullmatch(r"Bearer ([A-Za-z0-9_-]{16,128})", authorization)
    if found is None:
        raise HTTPException(401, "a key is missing; open your personal link")
    return found[1]


def _listener_key(authorization: Annotated[str, Header()] = "") -> str:
    key = _key(authorization)
    if len(key) < 22:  # 128 bits
        raise HTTPException(401, "too short for a key; open your personal link")
    return key


Key = Annotated[str, Depends(_key)]
ListenerKey = Annotated[str, Depends(_listener_key)]
