"""``viso data pack``, ``viso train`` and ``viso export``; they need the [train] extra."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from math import inf
from pathlib import Path
from typing import Annotated

import typer

from viso.cli.console import out
from viso.errors import ConfigError

__all__ = ["register"]

data = typer.Typer(help="Prepare recordings for training.", no_args_is_help=True)


@contextmanager
def _needs_training() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{error.name} is needed for training; for the extra [train]: pip install '.[train]'"
        ) from error


def _group(folder: Path) -> str:
    """A folder's own name; of ``name/train`` and ``name/valid`` the name."""
    return folder.parent.name if folder.name in ("train", "valid") else folder.name


@data.command()
def pack(
    output: Annotated[Path, typer.Option("--out", "-o", help="The corpus to make.")],
    songs: Annotated[
        list[Path] | None, typer.Option(help="Folder with a folder of stems for each song.")
    ] = None,
    valid: Annotated[list[Path] | None, typer.Option(help="The same, for validation only.")] = None,
    voices: Annotated[
        list[Path] | None, typer.Option(help="Folder of solo singing, named as its group.")
    ] = None,
    music: Annotated[
        list[Path] | None, typer.Option(help="Folder of music without singing.")
    ] = None,
    music_table: Annotated[
        Path | None, typer.Option(help="Tab-separated list: package, path, split.")
    ] = None,
    music_root: Annotated[Path, typer.Option(help="Where the paths of the list begin.")] = Path(),
    longest: Annotated[
        float | None, typer.Option(help="Keep this many seconds of a listed track.")
    ] = None,
) -> None:
    """Pack recordings into a corpus that a recipe can train on."""
    with _needs_training():
        from viso.train import pack as readers
    items = chain(
        *(readers.songs_in(p, group=_group(p), split="train") for p in songs or []),
        *(readers.songs_in(p, group=_group(p), split="valid") for p in valid or []),
        *(readers.voices_in(p, group=p.name) for p in voices or []),
        *(readers.music_in(p, group=p.name) for p in music or []),
        readers.music_listed(
            music_table, root=music_root, group=music_table.stem, longest_s=longest
        )
        if music_table
        else (),
    )
    n_tracks, seconds = 0, 0.0
    for track in readers.pack(items, output):
        n_tracks += 1
        seconds += track.n_samples / 44_100
    out().print(f"{output}: {n_tracks} tracks, {seconds / 3600:.2f} h")


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(data, name="data")

    @app.command()
    def train(
        recipe: Annotated[Path, typer.Argument(help="TOML file.")],
        folder: Annotated[
            Path | None, typer.Option(help="Run folder; goes on if it holds a run.")
        ] = None,
        corpus: Annotated[Path | None, typer.Option(help="In place of the recipe's.")] = None,
        device: Annotated[str, typer.Option(help="A torch device.")] = "cpu",
    ) -> None:
        """Train a model from a recipe; run it again to go on where it stopped."""
        with _needs_training():
            from viso.train.loop import Trainer
            from viso.train.recipe import Recipe
        settings = Recipe.from_toml(recipe)
        if corpus is not None:
            settings = settings.model_copy(update={"corpus": str(corpus)})
        trainer = Trainer(settings, folder or Path("runs") / settings.name, device=device)
        for state in trainer.run():
            score = "" if state.usdr_db is None else f"  validation uSDR {state.usdr_db:.2f} dB"
            out().print(
                f"step {state.step}/{settings.schedule.steps}  loss {state.loss:.4f}  "
                f"{state.audio_hours:.1f} h of audio in {state.hours:.2f} h{score}"
            )
        best = f", best validation uSDR {trainer.best_db:.2f} dB" if trainer.best_db > -inf else ""
        out().print(f"{trainer.folder}: {trainer.step} steps done{best}")

    @app.command()
    def export(
        folder: Annotated[Path, typer.Argument(help="Run folder.")],
        output: Annotated[Path, typer.Option("--out", "-o", help="ONNX file to write.")],
        scores: Annotated[
            Path | None, typer.Option(help="JSON object of names and figures for the card.")
        ] = None,
    ) -> None:
        """Turn a run's best weights into a model file with its card inside."""
        with _needs_training():
            from viso.train.export import export_run
        try:
            figures = json.loads(scores.read_text(encoding="utf-8")) if scores else {}
        except (OSError, ValueError) as error:
            raise ConfigError(f"{scores}: no JSON object of figures ({error})") from error
        difference = export_run(folder, output, scores=figures)
        out().print(f"{output}: {output.stat().st_size / 1e6:.1f} MB, parity {difference:.1e}")
