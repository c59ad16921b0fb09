"""What a person sees: the progress bar, one line an error, exit codes."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO, cast

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from viso.errors import VisoError
from viso.faults import unexpected

__all__ = [
    "DEBUG",
    "EXIT_FAILED",
    "EXIT_INTERRUPTED",
    "bar",
    "error_line",
    "out",
    "own_stdout",
    "shown",
    "told",
    "trace",
]

EXIT_FAILED, EXIT_INTERRUPTED = 1, 130

DEBUG = "VISO_DEBUG"
"""An environment variable that asks for tracebacks; ``--debug`` sets it."""


def out() -> Console:
    """Return a console on standard output that prints text as it is, and wraps tables only."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=True, markup=False, emoji=False)


def error_line(message: str) -> None:
    """Print an error on one line of standard error."""
    console = Console(file=sys.stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)
    console.print("error: ", end="", style="bold red")
    console.print(shown(" ".join(message.split())))


def told(error: Exception) -> str:
    """Return what one line says of any error."""
    if isinstance(error, VisoError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or 'output'}: {error.strerror or error}"
    return unexpected(error)


def trace(error: Exception | str) -> None:
    """Print the traceback of an error, or one that is text already, if it was asked for."""
    if os.environ.get(DEBUG):
        text = error if isinstance(error, str) else "".join(traceback.format_exception(error))
        sys.stderr.write(shown(text))


def shown(text: str) -> str:
    """Return text that any terminal can print, whatever bytes a file's name is made of."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@contextmanager
def bar(*, quiet: bool) -> Iterator[Progress]:
    """Show progress bars on standard error while in the block (only on a terminal)."""
    console = Console(file=sys.stderr)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[speed]}"),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    ) as progress:
        yield progress


@contextmanager
def own_stdout() -> Iterator[None]:
    """Keep standard output for this thread while in the block: others write to standard error.

    Ray prints what happens to its nodes in a thread, between the lines of JSON.
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
