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

__all__ = ["EXIT_FAILED", "EXIT_INTERRUPTED", "EXIT_USAGE", "bar", "error_line", "out"]

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


def out() -> Console:
    """Return a console on standard output that never wraps what is not a table."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=True)


def error_line(message: str) -> None:
    """Print an error on one line of standard error."""
    one_line = " ".join(message.split())
    console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
    console.print("[bold red]error:[/] ", end="")
    console.print(one_line, markup=False)


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
