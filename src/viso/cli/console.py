"""What a user sees: the progress bar, one line for each error, exit codes.

Names of files, cards and tags come from strangers. All printed text passes through `_Plain` or
`bar`, which escape everything that could control the terminal.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from viso.errors import VisoError, unexpected

__all__ = [
    "DEBUG",
    "EXIT_FAILED",
    "EXIT_INTERRUPTED",
    "bar",
    "error_line",
    "format_error",
    "note_line",
    "out",
    "own_stdout",
    "print_json",
    "shown",
    "trace",
]

EXIT_FAILED, EXIT_INTERRUPTED = 1, 130

DEBUG = "VISO_DEBUG"
"""The environment variable that turns tracebacks on; ``--debug`` sets it."""
# C0, DEL and C1 control the terminal; direction marks make text look like another; surrogates are
# bytes of a file name that are not valid text.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


class _Plain(Console):
    """Prints text as it is, wraps only tables, and lets no text control the terminal."""

    def __init__(self, file: TextIO) -> None:
        super().__init__(file=file, highlight=False, soft_wrap=True, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return text to print; line feeds stay, as our own lines end in them (see `shown`)."""
        lines = "\n".join(map(shown, text.split("\n")))
        # The encoding of a terminal or a file may lack some letters.
        format_error = lines.encode(self.encoding, "backslashreplace").decode(self.encoding)
        return super().render_str(format_error, **options)


def out() -> Console:
    """Return a console on standard output."""
    return _Plain(sys.stdout)


def print_json(record: object) -> None:
    """Print an object as one line of JSON that any terminal can show."""
    # `json.dumps` escapes every other character that controls a terminal.
    typer.echo(json.dumps(record).replace("\x7f", "\\u007f"))


def error_line(message: str) -> None:
    """Print an error on one line of standard error."""
    console = _Plain(sys.stderr)
    console.print("error: ", end="", style="bold red")
    console.print(shown(" ".join(message.split())))


def format_error(error: Exception) -> str:
    """Return the text of any error, for one line."""
    if isinstance(error, VisoError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or 'output'}: {error.strerror or error}"
    return unexpected(error)


def trace(error: Exception | str) -> None:
    """Print the traceback of an error, or a traceback that is already text, if `DEBUG` is set."""
    if os.environ.get(DEBUG):
        text = error if isinstance(error, str) else "".join(traceback.format_exception(error))
        sys.stderr.write("\n".join(map(shown, text.split("\n"))))


def note_line(message: str) -> None:
    """Print a line on standard error, so that a program can read the figures on standard output."""
    _Plain(sys.stderr).print(shown(message))


def shown(text: str) -> str:
    """Return a stranger's text as one harmless line.

    Characters that control a terminal, change the reading direction, end a line or are not valid
    text are escaped.

    Examples
    --------
    >>> print(shown("a\\x1b[2Jb\\nc"))
    a\\x1b[2Jb\\nc
    """
    return _UNSAFE.sub(lambda found: _escaped(found[0]), text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


class _ShownColumn(TextColumn):
    def render(self, task: Task) -> Text:
        return Text(shown(self.text_format.format(task=task)))


@contextmanager
def bar(*, quiet: bool) -> Iterator[Progress]:
    """Show progress bars on standard error while in the block (only on a terminal)."""
    console = Console(file=sys.stderr)
    with Progress(
        SpinnerColumn(),
        _ShownColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True),
        _ShownColumn("{task.fields[speed]}"),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    ) as progress:
        yield progress


@contextmanager
def own_stdout() -> Iterator[None]:
    """Reserve standard output for this thread while in the block; others write to standard error.

    One of Ray's threads prints news of its nodes, which would appear between the lines of JSON.
    """
    before = sys.stdout
    sys.stdout = cast("TextIO", _OwnStdout(before))
    try:
        yield
    finally:
        sys.stdout = before


class _OwnStdout:
    def __init__(self, stream: TextIO) -> None:
        self._stream, self._thread = stream, threading.current_thread()

    def write(self, text: str) -> int:
        is_own = threading.current_thread() is self._thread
        return (self._stream if is_own else sys.stderr).write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)
