"""What a person sees: the progress bar, one line an error, exit codes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

__all__ = ["EXIT_FAILED", "EXIT_INTERRUPTED", "bar", "error_line", "out", "shown"]

EXIT_FAILED, EXIT_INTERRUPTED = 1, 130


def out() -> Console:
    """Return a console on standard output that prints text as it is, and wraps tables only."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=True, markup=False, emoji=False)


def error_line(message: str) -> None:
    """Print an error on one line of standard error."""
    console = Console(file=sys.stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)
    console.print("error: ", end="", style="bold red")
    console.print(shown(" ".join(message.split())))


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
