"""``viso models``: what can be run, and what is known of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from viso import weights
from viso.cli.console import out
from viso.model import OnnxModel, load

__all__ = ["register"]


def _record(model: OnnxModel) -> dict[str, object]:
    size = model.path.stat().st_size
    card = model.card.model_dump(mode="json")
    return {**card, "file": str(model.path), "bytes": size, "sha256": model.sha256}


def _lines(model: OnnxModel, *, is_default: bool) -> Table:
    """A model as a small table of two columns."""
    card, spectral = model.card, model.card.spectral
    table = Table(box=None, show_header=False, padding=(0, 1), title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(card.name, card.description)
    size_mb = model.path.stat().st_size / 1e6
    parameters = f"{card.parameters / 1e6:.1f} M parameters, " if card.parameters else ""
    facts = {
        "": "the default" if is_default else "",
        "version": card.version,
        "target": f"{card.target}, {'stereo' if card.channels == 2 else 'mono'}",
        "transform": f"{spectral.rate_hz} Hz, FFT {spectral.n_fft}, hop {spectral.hop}, chunks of "
        f"{card.chunk_frames} frames with {card.context_frames} of context on either side",
        "size": f"{parameters}{size_mb:.1f} MB",
        "trained on": ", ".join(card.trained_on),
        "teacher": card.teacher or "none",
        "licence": card.licence,
        "origin": card.origin,
        "scores": "\n".join(f"{key}: {value:g}" for key, value in card.scores.items()),
        "limits": "\n".join(card.limits),
        "sha256": model.sha256,
    }
    for key, value in facts.items():
        if value:
            table.add_row(f"  {key}", value)
    return table


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command()
    def models(
        files: Annotated[
            list[Path] | None, typer.Argument(metavar="[MODEL...]", help="ONNX files as well.")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object a model.")] = False,
    ) -> None:
        """List the models that can be run, with their cards."""
        chosen = files or [Path(name) for name in weights.available()]
        for name in chosen:
            model = load(name, device="cpu", threads=1)
            if as_json:
                typer.echo(json.dumps(_record(model)))
            else:
                is_default = model.card.name == weights.DEFAULT
                out().print(_lines(model, is_default=is_default), soft_wrap=False)
