"""Settings as frozen models, and the JSON and TOML that they are read from.

The parsers raise `ValueError` for whatever is wrong with a text that somebody else wrote. (Those
of the standard library raise `RecursionError` for deep nesting, or let it through.)
"""

from __future__ import annotations

import json
import stat
import tomllib
from pathlib import Path
from typing import Any, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, ValidationError

from viso.errors import ConfigError

__all__ = [
    "DEEPEST",
    "LARGEST_TOML",
    "NAME_PATTERN",
    "Settings",
    "load_toml",
    "parse_json",
    "parse_toml",
    "read_toml",
]

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._+-]*$"
"""A regular expression for the names of models."""

DEEPEST = 64
"""So many lists and tables may lie in one another; nothing that viso reads has a tenth of it."""
LARGEST_TOML = 16 << 20
"""A TOML file may have so many bytes; no recipe, card or listening test comes near."""

_TOO_DEEP = f"values in values, more than {DEEPEST} deep"


class Settings(BaseModel):
    """Base of every settings model: frozen, no unknown keys, finite numbers, TOML in and out."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def from_mapping(cls, values: Any, *, origin: str) -> Self:
        """Check `values` and return the settings.

        Raises
        ------
        ConfigError
            Naming `origin`, the first key that is wrong, and its value.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"]) or "settings"
            field = cls.model_fields.get(str(first["loc"][0])) if first["loc"] else None
            # What is not shown in the settings is a secret, and may be right but for a letter.
            is_shown = first["type"] != "missing" and (field is None or field.repr)
            given = f", not {first['input']!r:.60}" if is_shown else ""
            raise ConfigError(f"{origin}: {key}: {first['msg']}{given}") from error

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Read the settings from a TOML file.

        Raises
        ------
        ConfigError
            If the file cannot be read, is not TOML, or does not fit.
        """
        return cls.from_mapping(load_toml(path), origin=str(path))

    def to_toml(self) -> str:
        """Return the settings as TOML; what is None is left out."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


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


def load_toml(path: Path) -> dict[str, Any]:
    """Return what a TOML file holds, as `read_toml` does; its errors name the file.

    Raises
    ------
    ConfigError
        If the file cannot be read, or is not TOML.
    """
    try:
        return read_toml(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not a TOML file ({error!s:.160})") from error


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
