"""The command line: thin; turns a `VisoError` into one line and an exit code."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from viso._version import __version__
from viso.cli.console import EXIT_FAILED, error_line, out, shown
from viso.errors import VisoError

__all__ = ["app", "main"]


class _ShowsMistakes(TyperGroup):
    """Commands whose errors of usage show what they cite: it may be the name of any file."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except typer.Exit:
            raise
        except Exception as error:
            if isinstance(message := getattr(error, "message", None), str):
                error.message = shown(message)  # type: ignore[attr-defined]
            raise


app = typer.Typer(
    name="viso",
    cls=_ShowsMistakes,
    help="Takes a song, gives back the vocals and the instrumental.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

from viso.cli import (  # noqa: E402
    data,
    evaluating,
    listening,
    models,
    separating,
    serving,
    spectrogram,
    training,
)

for _module in (
    separating,
    models,
    evaluating,
    spectrogram,
    data,
    training,
    listening,
    serving,
):
    _module.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        out().print(f"viso {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it and end."),
    ] = False,
) -> None:
    """Takes a song, gives back the vocals and the instrumental."""


def _terminated(_signal: int, _frame: FrameType | None) -> None:
    # As Ctrl-C: unwinds the stack, so that what is half-made is removed.
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line; never shows a traceback for a user's mistake."""
    for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _terminated)
    try:
        app()
    except VisoError as error:
        error_line(str(error))
        sys.exit(EXIT_FAILED)
    except OSError as error:
        error_line(f"{error.filename or 'output'}: {error.strerror or error}")
        sys.exit(EXIT_FAILED)
