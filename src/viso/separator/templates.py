"""Templates that name the files of a song's stems."""

from __future__ import annotations

import string
from collections.abc import Iterable
from pathlib import Path

from viso.errors import ConfigError

__all__ = ["FIELDS", "fields_of", "filled", "stem_files"]

FIELDS = ("name", "stem", "ext", "model")


def fields_of(template: str) -> frozenset[str]:
    """Check a template and return the fields it has.

    Parameters
    ----------
    template : str
        A relative path with ``{name}``, ``{stem}``, ``{ext}`` and ``{model}`` in it. Formats such
        as ``{name:>40}`` or ``{name!r}`` are errors, because they can make names of gigabytes.

    Returns
    -------
    frozenset of str

    Raises
    ------
    ConfigError
        If it has other fields, leads outside the output folder, or does not name a file.

    Examples
    --------
    >>> sorted(fields_of("{name}/{stem}.{ext}"))
    ['ext', 'name', 'stem']
    """
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ConfigError(f"template {template!r}: {error}") from error
    fields = [(field, spec, kind) for _, field, spec, kind in parts if field is not None]
    if any(field not in FIELDS or spec or kind for field, spec, kind in fields):
        allowed = ", ".join(f"{{{field}}}" for field in FIELDS)
        raise ConfigError(f"template {template!r}: use only {allowed}")
    if "\0" in template:
        raise ConfigError(f"template {template!r}: no file has a name with a zero byte")
    if Path(template).is_absolute() or ".." in Path(template).parts:
        raise ConfigError(f"template {template!r}: leads outside the output folder")
    if not Path(template).name:
        raise ConfigError(f"template {template!r}: names no file")
    return frozenset(field for field, _, _ in fields)


def filled(template: str, *, name: str, stem: str, ext: str, model: str) -> Path:
    """Return the path from a checked template, below the output folder.

    Raises
    ------
    ConfigError
        If a value has a zero byte.
    """
    path = template.format(name=name, stem=stem, ext=ext, model=model)
    if "\0" in path:
        raise ConfigError(f"{path!r}: no file has a name with a zero byte")
    return Path(path)


def stem_files(
    template: str, *, name: str, model: str, stems: Iterable[str], ext: str, table: bool
) -> dict[str, Path]:
    """Return the path of each file of a song, below the output folder.

    Parameters
    ----------
    template : str
        A checked template.
    name : str
        The song's name in the template.
    model : str
        The loaded models' name.
    stems : iterable of str
    ext : str
        Suffix of the stems, without its dot.
    table : bool
        Whether there is also a table, "confidence".

    Raises
    ------
    ConfigError
        See `filled`.
    """
    # Not every file system allows a star in a file's name.
    model = model.replace("*", " ")
    files = {s: filled(template, name=name, stem=s, ext=ext, model=model) for s in stems}
    if table:
        path = filled(template, name=name, stem="confidence", ext="csv", model=model)
        files["confidence"] = path.with_suffix(".csv")
    return files
