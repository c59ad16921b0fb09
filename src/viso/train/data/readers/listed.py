"""Music listed in a table, such as a table of recordings inside packages."""

from __future__ import annotations

import csv
from pathlib import Path

from viso.errors import DataError
from viso.train.data.readers.item import Item, Source

__all__ = ["missing", "music_listed"]


def _rows(table: Path) -> list[tuple[str, str]]:
    """Return package and path of the table's training rows."""
    try:
        with table.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines, delimiter="\t"))
        return [(row["package"], row["path"]) for row in rows if row["split"] == "train"]
    except OSError as error:
        raise DataError(f"{table}: cannot be read ({error.strerror}); check the name") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{table}: needs columns package, path and split ({error!r})") from error


def music_listed(
    table: Path, *, root: Path, group: str | None = None, longest_s: float | None = None
) -> list[Item]:
    """Return the tracks of a tab-separated table (columns: package, path, split).

    Only tracks of the training split that exist below `root` are returned.

    Parameters
    ----------
    table : Path
    root : Path
        Where the paths of the table begin.
    group : str, optional
        The table's name, if None.
    longest_s : float, optional
        Longest duration, in seconds; a longer track keeps its middle.

    Raises
    ------
    DataError
        If the table cannot be read, lacks a column, or none of its tracks exists.
    """
    group = group or table.stem
    items = [
        Item(
            sources=(Source(root / path),),
            # Several tracks of a package may have the same file name in different folders.
            song=f"{group}/{package}/{Path(path).with_suffix('').as_posix()}",
            role="instrumental",
            group=group,
            split="train",
            licence=f"package {package}",
            longest_s=longest_s,
        )
        for package, path in _rows(table)
        if (root / path).is_file()
    ]
    if not items:
        raise DataError(f"{table}: none of its training tracks is below {root}; fetch them first")
    return items


def missing(table: Path, *, root: Path) -> int:
    """Return how many training tracks of a table are not below `root`."""
    return sum(not (root / path).is_file() for _, path in _rows(table))
