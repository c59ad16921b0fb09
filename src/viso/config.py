"""Settings as frozen models, and parsers for the JSON and TOML that hold them.

The parsers raise `ValueError` for every fault of a text. (The standard library's parsers raise
`RecursionError` for deep nesting, or accept it.)
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
    "STEM_PATTERN",
    "Settings",
    "load_toml",
    "parse_json",
    "parse_toml",
    "read_toml",
]

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._+-]*$"
"""The regular expression for names of models."""

STEM_PATTERN = r"^[a-z][a-z0-9_-]{0,31}$"
"""The regular expression for names of stems."""

DEEPEST = 64
"""How deep lists and tables may be nested; nothing that viso reads has a tenth of it."""
LARGEST_TOML = 16 << 20
"""How many bytes a TOML file may have; no recipe, card or listening test comes near."""

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
            # A field that is not shown is a secret, and the input may be the secret with a typo.
            is_shown = first["type"] != "missing" and (field is None or field.repr)
            given = f", not {first['input']!r:.60}" if is_shown else ""
            raise ConfigError(f"{origin}: {key}: {first['msg']}{given}") from error

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Read the settings from a TOML file.

        Raises
        ------
        ConfigError
            If the file cannot be read, is not TOML, or has wrong keys or values.
        """
        return cls.from_mapping(load_toml(path), origin=str(path))

    def to_toml(self) -> str:
        """Return the settings as TOML, without those that are None."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises
    ------
    ValueError
        If it is not JSON, is not in UTF-8, or is nested deeper than `DEEPEST`.
    """
    try:
        return _shallow(json.loads(text))
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error


def parse_toml(text: str) -> dict[str, Any]:
    """Return the table of a TOML text.

    Raises
    ------
    ValueError
        If it is not TOML, or is nested deeper than `DEEPEST`.
    """
    try:
        found: dict[str, Any] = _shallow(tomllib.loads(text))
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    return found


def read_toml(path: Path) -> dict[str, Any]:
    """Return the table of a TOML file.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not a regular file, is larger than `LARGEST_TOML`, or `parse_toml` refuses it.
    """
    about = path.stat()
    # Reading a pipe could wait for ever.
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
    """Return the values; raise ValueError if they are nested too deep."""
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
