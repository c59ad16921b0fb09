"""Options of ``viso separate`` that are refused before anything is begun."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from viso.errors import ConfigError
from viso.separator import STEMS
from viso.separator.templates import fields_of
from viso.stores.address import Location

__all__ = [
    "FORMATS",
    "checked_address",
    "checked_coding",
    "checked_manifest",
    "checked_stems",
    "checked_template",
    "one_of",
]

FORMATS = ("wav", "flac", "mp3", "ogg", "opus", "m4a")


def checked_template(template: str) -> str:
    """Return a template that can name files."""
    try:
        fields_of(template)
    except ConfigError as error:
        raise typer.BadParameter(str(error), param_hint="--template") from error
    return template


def checked_coding(file_format: str, bit_depth: str, bitrate: str | None) -> None:
    """Refuse combinations that no file can have."""
    lossless = file_format in ("wav", "flac")
    if bitrate is not None and (lossless or not re.fullmatch(r"[1-9]\d{0,3}[kK]", bitrate)):
        reason = f"{file_format} has no bit rate" if lossless else "say it like 320k"
        raise typer.BadParameter(f"{bitrate!r}: {reason}", param_hint="--bitrate")
    if file_format == "flac" and bit_depth == "float":
        raise typer.BadParameter("'float': flac has 16 or 24 bits", param_hint="--bit-depth")


def checked_address(engine: str, address: str | None) -> str | None:
    """Return where the cluster is, or None if the songs are separated here."""
    if one_of(engine, ("local", "ray"), "--engine") == "ray":
        return address or "auto"
    if address is not None:
        raise typer.BadParameter(f"{address!r}: goes with --engine ray", param_hint="--address")
    return None


def checked_manifest(manifest: Path | None, out: Location) -> None:
    """Refuse a folder for a manifest that lies in the output folder anyway."""
    if manifest is not None and isinstance(out, Path):
        said = f"{str(manifest)!r}: goes with an address as --out"
        raise typer.BadParameter(said, param_hint="--manifest")


def checked_stems(text: str) -> tuple[str, ...]:
    """Return the stems of a list with commas."""
    stems = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not stems or set(stems) - set(STEMS):
        raise typer.BadParameter(f"{text!r}: choose from {', '.join(STEMS)}", param_hint="--stems")
    return stems


def one_of(value: str, allowed: tuple[str, ...], option: str) -> str:
    """Return a value if it is one of those allowed."""
    if value not in allowed:
        raise typer.BadParameter(f"{value!r}: use one of {', '.join(allowed)}", param_hint=option)
    return value
