"""``viso models``: what can be run, what is known of it, and ``viso models import``."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from typer.core import TyperGroup

from viso import weights
from viso.blend import parts_of, shares_of
from viso.cli import importing
from viso.cli.console import EXIT_FAILED, error_line, out
from viso.config import ModelCard
from viso.errors import ModelError
from viso.model import OnnxModel, load

__all__ = ["register"]


class _ListsByItself(TyperGroup):
    """Commands of which ``list`` need not be said."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put ``list`` before anything that is no command and no call for help."""
        if not args or args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


models = typer.Typer(
    cls=_ListsByItself,
    help="List the models that can be run, with their cards, or import more. "
    "'viso models' alone is 'viso models list'.",
)


def _members(words: str, known: Sequence[str]) -> list[tuple[str, str]]:
    """Return a model, or those of a blend, and what to say of the share of each."""
    parts = [(words, None)] if words in known else parts_of(words)
    if len(parts) == 1:
        return [(words, "")]
    weights = [weight for _, weight in parts if weight is not None]
    shares = shares_of(len(parts), weights)
    return [(name, f"{share:g}") for (name, _), share in zip(parts, shares, strict=True)]


def _record(model: OnnxModel, *, share: str) -> dict[str, object]:
    size = model.path.stat().st_size
    card = model.card.model_dump(mode="json")
    record = {**card, "file": str(model.path), "bytes": size, "sha256": model.sha256}
    return {**record, "share": float(share)} if share else record


def _reach(card: ModelCard) -> str:
    """Say how far up the network sees, and what becomes of the bins above."""
    if card.used_bins == card.spectral.n_bins:
        return ""
    top_khz = card.used_bins * card.spectral.rate_hz / card.spectral.n_fft / 1000
    above = {"highest": "the highest bin's", "average": "the average", "zeros": "zero"}[card.above]
    fate = f"the mask is {above}" if card.output == "mask" else "all is instrumental"
    return f"{card.used_bins} bins, up to {top_khz:.1f} kHz; above, {fate}"


def _lines(model: OnnxModel, *, share: str) -> Table:
    """A model as a small table of two columns."""
    card, spectral = model.card, model.card.spectral
    table = Table(box=None, show_header=False, padding=(0, 1), title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(card.name, card.description)
    size_mb = model.path.stat().st_size / 1e6
    parameters = f"{card.parameters / 1e6:.1f} M parameters, " if card.parameters else ""
    facts = {
        "": "the default" if card.name == weights.DEFAULT else "",
        "share": f"{share} of the blend" if share else "",
        "version": card.version,
        "target": f"{card.target}, {'stereo' if card.channels == 2 else 'mono'}",
        "transform": f"{spectral.rate_hz} Hz, FFT {spectral.n_fft}, hop {spectral.hop}, chunks of "
        f"{card.chunk_frames} frames with {card.context_frames} of context on either side",
        "sees": _reach(card),
        "size": f"{parameters}{size_mb:.1f} MB",
        "trained on": ", ".join(card.trained_on),
        "teacher": card.teacher or "none",
        "licence": card.licence,
        "origin": card.origin,
        "scores": "\n".join(f"{key}: {value:g}" for key, value in card.scores.items()),
        "limits": "\n".join(card.limits),
        "file": "" if card.name in weights.packaged() else str(model.path),
        "sha256": model.sha256,
    }
    for key, value in facts.items():
        if value:
            table.add_row(f"  {key}", value)
    return table


@models.command("list")
def list_(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[MODEL...]",
            help="Names, ONNX files, or blends such as a+b; all names, if none is given.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a model.")] = False,
    folder: Annotated[
        Path | None, typer.Option(help="Of your own models, if not the usual one.")
    ] = None,
) -> None:
    """List the models that can be run, with their cards."""
    known = weights.available(folder=folder)
    is_broken = False
    wanted = [_members(str(name), known) for name in files or known]
    for name, share in itertools.chain(*wanted):
        path = weights.path_of(name, folder=folder) if name in known else Path(name)
        try:
            model = load(path, device="cpu", threads=1)
        except ModelError as error:
            # One broken file among one's own does not hide the others.
            if files:
                raise
            error_line(str(error))
            is_broken = True
            continue
        if as_json:
            typer.echo(json.dumps(_record(model, share=share)))
        else:
            out().print(_lines(model, share=share), soft_wrap=False)
    if is_broken:
        raise typer.Exit(EXIT_FAILED)


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    importing.register(models)
    app.add_typer(models, name="models")
