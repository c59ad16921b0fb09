"""The command line: a thin layer that turns an error into one line and an exit code."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from viso._version import __version__
from viso.cli.console import DEBUG, EXIT_FAILED, error_line, format_error, out, shown, trace

__all__ = ["app", "main"]


class _Commands(TyperGroup):
    """Checks all words of a command line before any command sees them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Accept --debug anywhere, and refuse empty words."""
        end = args.index("--") if "--" in args else len(args)
        words = [word for word in args[:end] if word != "--debug"]
        for word in (*words, *args[end:]):
            # As a path, an empty word would mean the whole current folder.
            if not word or (word.startswith("--") and word.endswith("=")):
                raise typer.BadParameter(
                    f"{word!r}: an empty word; is it a variable that is not set?"
                )
        if len(words) < end:
            words.insert(0, "--debug")
        return super().parse_args(ctx, [*words, *args[end:]])

    def invoke(self, ctx: Any) -> Any:
        """Run the command; make the message of an error safe to print."""
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
    cls=_Commands,
    help="Takes a song, gives back the vocals and the instrumental.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

from viso.cli import (  # noqa: E402
    data,
    evaluate,
    listen,
    models,
    separate,
    serve,
    spectrogram,
    train,
)

app.command()(separate.separate)
app.add_typer(models.models, name="models")
app.command()(evaluate.evaluate)
app.command()(spectrogram.spectrogram)
app.add_typer(data.data, name="data")
app.command()(train.train)
app.command()(train.export)
app.add_typer(listen.listen, name="listen")
app.command()(serve.serve)


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
    debug: Annotated[
        bool,
        typer.Option("--debug", envvar=DEBUG, help="Show where in the code an error comes from."),
    ] = False,
) -> None:
    """Takes a song, gives back the vocals and the instrumental."""
    if debug:
        os.environ[DEBUG] = "1"


def _terminated(_signal: int, _frame: FrameType | None) -> None:
    # As Ctrl-C does: unwind the stack, so that unfinished files are removed.
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line; every error is one line, and --debug also shows its traceback."""
    for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _terminated)
    try:
        app()
    except Exception as error:
        trace(error)
        error_line(format_error(error))
        sys.exit(EXIT_FAILED)
