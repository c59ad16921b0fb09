"""What reports in HTML share: their style, their tables, and files that appear when whole."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path

from viso.errors import ConfigError

__all__ = ["page", "table", "write_texts"]

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
    """Return an HTML table; cells are HTML already."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in body]
    rows = "".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def write_texts(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Write texts by name into `folder`, made if missing; each appears when it is whole.

    Raises
    ------
    ConfigError
        If a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            unfinished = folder / f".{name}.part"
            # Names of songs may be bytes that are no text.
            unfinished.write_text(text, encoding="utf-8", errors="backslashreplace")
            unfinished.replace(folder / name)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror})") from error
    return [folder / name for name in texts]
