"""``viso train`` and ``viso export``; they need the [train] extra."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from enum import StrEnum
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from viso.cli.console import EXIT_FAILED, EXIT_INTERRUPTED, error_line, out, shown
from viso.config import parse_json
from viso.errors import ConfigError, VisoError, how_to_install

if TYPE_CHECKING:
    from viso.train.recipe import Recipe
    from viso.train.run.trainer import LogRow, Outlook, Trainer

__all__ = ["export", "needs_training", "seconds_of", "train"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Device(StrEnum):
    """Where to train."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Weights(StrEnum):
    """How an exported file keeps its weights."""

    float32 = "float32"
    float16 = "float16"
    int8 = "int8"


@contextmanager
def needs_training() -> Iterator[None]:
    """Turn a missing package of the [train] extra into an error with the way out."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{error.name} is needed for training; install the extra [train]: "
            f"{how_to_install('train')}"
        ) from error


def seconds_of(text: str) -> float:
    """Return the seconds in a duration such as ``90s``, ``10m``, ``1h30m`` or ``2d``.

    Raises
    ------
    ConfigError
        If the text is not a duration.
    """
    if not re.fullmatch(r"(\d+(\.\d+)?[smhd])+", text):
        raise ConfigError(f"time {text!r} is no duration; write 90s, 10m, 1h30m or 2d")
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not seconds:
        raise ConfigError(f"time {text!r} leaves nothing to train in; give more")
    return seconds


def figures_of(path: Path) -> dict[str, float]:
    """Return the figures for a card from a JSON object or from rows of ``viso evaluate --json``.

    Rows of the mixture and of ideal masks are skipped; the others must be of one system.

    Raises
    ------
    ConfigError
        If the file is neither.
    """
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return {str(name): float(value) for name, value in found.items()}
        rows = [row for row in found if not re.match("mixture|ideal ", row["system"])]
        figures: dict[str, float] = {}
        for row in rows:
            if row["metric"] != "usdr":
                continue
            name = f"{row['stem']} uSDR, dB"
            if "genre" in row:
                figures[
                    f"{name}, {row['genre']} ({row['n_songs']} song{'s' * (row['n_songs'] > 1)})"
                ] = row["median"]
            elif "singer" not in row:
                figures[f"{name}, median of {row['n_songs']} songs"] = row["median"]
                figures[f"{name}, 95 % interval from"] = row["low"]
                figures[f"{name}, 95 % interval to"] = row["high"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: no figures for a card ({error!r:.80})") from error
    if len({row["system"] for row in rows}) != 1:
        raise ConfigError(f"{path}: need the figures of one model; evaluate without a baseline")
    return {name: round(value, 2) for name, value in figures.items()}


def _changed(recipe: Recipe, *, corpus: str | None, time: str | None, steps: int | None) -> Recipe:
    """Return the recipe with the values of the command line in place of its own."""
    values = recipe.model_dump()
    if corpus is not None:
        values["corpus"] = corpus
    if time is not None:
        # The time replaces the recipe's steps; `steps` may still set them.
        values["schedule"] |= {"time_s": seconds_of(time), "steps": None}
    if steps is not None:
        values["schedule"]["steps"] = steps
    return type(recipe).from_mapping(values, origin="command line")


def _announce(trainer: Trainer) -> None:
    """Print what the model learns from and what it is validated on."""
    recipe = trainer.recipe
    hours = trainer.corpus.hours()
    table = Table(title=f"{shown(recipe.name)} learns from", title_justify="left")
    table.add_column("what")
    table.add_column("group")
    for name in ("hours", "drawn, %"):
        table.add_column(name, justify="right")
    for role, groups in trainer.shares().items():
        for group, share in sorted(groups.items()):
            amount = hours.get(f"{role}/{group}/train", 0.0)
            table.add_row(role, shown(group), f"{amount:.2f}", f"{100 * share:.0f}")
        table.add_section()
    out().print(table)
    held_out = sum(h for key, h in hours.items() if key.startswith("vocals/") and "/valid" in key)
    out().print(
        f"{trainer.n_parameters / 1e6:.2f} M parameters; held out: {held_out:.2f} h of songs"
        + (f", {trainer.n_songs} of them score it" if trainer.n_songs else "")
    )
    if not trainer.n_songs:
        out().print("no songs to judge by: pack some with --valid, or nobody knows if it learns")


def _outlook(outlook: Outlook, recipe: Recipe) -> str:
    chunk_s = recipe.network.chunk_frames * recipe.spectral.hop / recipe.spectral.rate_hz
    speed = recipe.schedule.batch * chunk_s / outlook.step_s
    ends = datetime.now().astimezone() + timedelta(seconds=outlook.seconds)
    return (
        f"a step takes {outlook.step_s:.2f} s ({speed:.0f} hours of sound an hour), "
        f"a validation {outlook.validation_s:.0f} s; step {outlook.steps} is the last, "
        f"about {ends:%Y-%m-%d %H:%M}"
    )


def _line(row: LogRow) -> str:
    score = "" if row.usdr_db is None else f"  validation uSDR {row.usdr_db:.2f} dB"
    return (
        f"step {row.step}  loss {row.loss:.4f}  {row.audio_hours:.1f} h of sound "
        f"in {row.hours:.2f} h, drawing {row.drawing:.0%}, waiting {row.waiting:.1%}{score}"
    )


@contextmanager
def _one_voice(trainer: Trainer) -> Iterator[None]:
    """Let only the first of several processes report why a run stopped early."""
    try:
        yield
    except KeyboardInterrupt as error:
        if trainer.is_main:
            last = trainer.folder.last
            rest = f"goes on from {last}" if last.exists() else "begins anew"
            error_line(f"interrupted; the same command {rest}")
        raise typer.Exit(EXIT_INTERRUPTED) from error
    except VisoError as error:
        if trainer.is_main:
            raise
        raise typer.Exit(EXIT_FAILED) from error


def train(
    recipe: Annotated[Path, typer.Argument(help="TOML file.")],
    folder: Annotated[
        Path | None, typer.Option(help="Run folder; goes on if it holds a run.")
    ] = None,
    corpus: Annotated[
        str | None, typer.Option(help="In place of the recipe's; a folder, or an address.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Where a corpus with an address is kept.")
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="Train for so long (10m, 1h30m), not the recipe's steps.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="In place of the recipe's.")] = None,
    device: Annotated[Device, typer.Option(help="auto takes a GPU if any.")] = Device.auto,
    devices: Annotated[int, typer.Option(min=1, help="How many of them share the batch.")] = 1,
    baseline: Annotated[
        Path | None, typer.Option(help="JSON with another system's scores by song.")
    ] = None,
    baseline_name: Annotated[str, typer.Option(help="What to call it.")] = "baseline",
) -> None:
    """Train a model from a recipe; the same command resumes a stopped run."""
    with needs_training():
        from viso.train.recipe import Recipe
        from viso.train.run.memory import keep_memory
        from viso.train.run.trainer import Trainer
    keep_memory()
    settings = _changed(Recipe.from_toml(recipe), corpus=corpus, time=time, steps=steps)
    from viso.evaluate import read_baseline

    known = read_baseline(baseline, label=baseline_name) if baseline is not None else {}
    trainer = Trainer(
        settings,
        folder or Path("runs") / settings.name,
        device=device.value,
        devices=devices,
        baseline={song: scores[baseline_name]["vocals"]["usdr"] for song, scores in known.items()},
        baseline_name=baseline_name,
        cache=cache,
    )
    references: dict[str, float] = {}
    if trainer.is_main:
        _announce(trainer)
        if trainer.is_longer:
            out().print("the run goes on to a later end; the learning rate follows its cosine")
        references = trainer.references()
    beside = ", ".join(f"{name} {value:.2f}" for name, value in references.items())

    reported: list[str] = []

    def started(outlook: Outlook) -> None:
        out().print(_outlook(outlook, settings))

    def went_on(row: LogRow) -> None:
        scored = row.usdr_db is not None
        out().print(_line(row) + (f" ({beside})" if scored and beside else ""))
        trouble = trainer.diagnose(references)
        if trouble and trouble not in reported:
            reported.append(trouble)
            out().print(trouble)

    with _one_voice(trainer):
        trainer.run(on_start=started, on_progress=went_on)
    if trainer.is_main:
        best_db = trainer.best_db
        best = f", best validation uSDR {best_db:.2f} dB" if best_db > -inf else ""
        out().print(shown(f"{trainer.folder.path}: {trainer.step} steps done{best}"))


def export(
    folder: Annotated[Path, typer.Argument(help="Run folder.")],
    output: Annotated[Path, typer.Option("--out", "-o", help="ONNX file to write.")],
    scores: Annotated[
        Path | None,
        typer.Option(help="Figures for the card: a JSON object, or evaluate's --json."),
    ] = None,
    chunk_frames: Annotated[
        int | None, typer.Option(min=1, help="Frames a chunk, where not those of training.")
    ] = None,
    context_frames: Annotated[
        int | None, typer.Option(min=0, help="Frames dropped at either end, likewise.")
    ] = None,
    weights: Annotated[
        Weights, typer.Option(help="How they are stored; int8 makes the smallest file.")
    ] = Weights.float16,
) -> None:
    """Turn a run's best weights into a model file with its card inside."""
    with needs_training():
        from viso.train.export import export_run
    difference = export_run(
        folder,
        output,
        scores={} if scores is None else figures_of(scores),
        chunk_frames=chunk_frames,
        context_frames=context_frames,
        weights=weights.value,
    )
    size_mb = output.stat().st_size / 1e6
    out().print(shown(f"{output}: {size_mb:.1f} MB, parity {difference:.1e}"))
