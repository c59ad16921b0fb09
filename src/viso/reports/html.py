"""What reports share: their style, tables in HTML and CSV, and complete files."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from viso.errors import ConfigError

__all__ = ["as_csv", "page", "table", "write_texts"]

_BEGIN_FORMULAS = tuple("=+-@\t\r\n＝＋－＠")

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1b2f; background: #fff;
       max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.25rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #e4e4ee; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid #1b1b2f; vertical-align: bottom; }
small, .range { color: #5c5c78; font-size: .85em; }
svg { max-width: 100%; height: auto; } .wide { overflow-x: auto; }
"""


def page(title: str, parts: Sequence[str]) -> str:
    """Return a page that needs no other file; `parts` are HTML, `title` is text."""
    named = html.escape(title)
    head = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        f"<title>{named}</title><style>{_STYLE}</style>",
        f"<h1>{named}</h1>",
    ]
    return "\n".join([*head, *parts]) + "</html>\n"


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Return an HTML table; the cells must already be HTML."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in body]
    rows = "".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def as_csv(rows: Iterable[Iterable[object]]) -> str:
    """Return a table as CSV in which no text can begin a spreadsheet formula.

    Such a text gets an apostrophe in front. Numbers do not change, even as text.

    References
    ----------
    OWASP, "CSV Injection", https://owasp.org/www-community/attacks/CSV_Injection
    """
    return "".join(map(_line, rows))


def _line(row: Iterable[object]) -> str:
    text = io.StringIO()
    # With this line end, the writer quotes every text that contains CR or LF.
    csv.writer(text, lineterminator="\r\n").writerow(map(_cell, row))
    return text.getvalue().removesuffix("\r\n") + "\n"


def _cell(value: object) -> object:
    if not isinstance(value, str) or not value.startswith(_BEGIN_FORMULAS):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def write_texts(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Write texts by name into `folder`, created if missing; each file appears complete.

    Raises
    ------
    ConfigError
        If a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            unfinished = folder / f".{name}.part"
            # Song names may hold bytes that are not valid text.
            unfinished.write_text(text, encoding="utf-8", errors="backslashreplace")
            unfinished.replace(folder / name)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror})") from error
    return [folder / name for name in texts]
