"""JSON and TOML that others wrote: whatever is wrong with it is a `ValueError`.

The parsers of the standard library give up on deep nesting with a `RecursionError`, or let it
through, and then whoever walks or prints the values does.
"""

from __future__ import annotations

import json
import stat
import tomllib
from pathlib import Path
from typing import Any

__all__ = ["DEEPEST", "LARGEST_TOML", "parse_json", "parse_toml", "read_toml"]

DEEPEST = 64
"""So many lists and tables may lie in one another; nothing that viso reads has a tenth of it."""
LARGEST_TOML = 16 << 20
"""A TOML file may have so many bytes; no recipe, card or listening test comes near."""

_TOO_DEEP = f"values in values, more than {DEEPEST} deep"


def parse_json(text: str | bytes) -> Any:
    """Return what a JSON text holds.

    Raises
    ------
    ValueError
        If it is no JSON, is not in UTF-8, or is nested deeper than `DEEPEST`.
    """
    try:
        return _shallow(json.loads(text))
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error


def parse_toml(text: str) -> dict[str, Any]:
    """Return what a TOML text holds.

    Raises
    ------
    ValueError
        If it is no TOML, or is nested deeper than `DEEPEST`.
    """
    try:
        found: dict[str, Any] = _shallow(tomllib.loads(text))
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    return found


def read_toml(path: Path) -> dict[str, Any]:
    """Return what a TOML file holds.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is no regular file, larger than `LARGEST_TOML`, or `parse_toml` refuses it.
    """
    about = path.stat()
    # A pipe would keep us waiting for ever.
    if not stat.S_ISREG(about.st_mode):
        raise ValueError("no regular file")
    if about.st_size > LARGEST_TOML:
        raise ValueError(f"{about.st_size} bytes; at most {LARGEST_TOML} are read")
    return parse_toml(path.read_text(encoding="utf-8"))


def _shallow(values: Any) -> Any:
    """Return the values if they are not nested too deep."""
    level = [values]
    for _ in range(DEEPEST + 1):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inner += value.values()
            elif isinstance(value, list):
                inner += value
        if not inner:
            return values
        level = inner
    raise ValueError(_TOO_DEEP)
