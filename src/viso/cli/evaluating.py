"""``viso evaluate``: a model against true stems."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from viso import weights
from viso.cli.console import bar, out
from viso.errors import ConfigError, DataError
from viso.evaluate import (
    Row,
    SongScores,
    by_genre,
    evaluate,
    read_baseline,
    read_genres,
    songs_of,
    summary,
)
from viso.separator import STEMS, Separator

__all__ = ["register"]


def _table(rows: list[Row]) -> Table:
    table = Table(title="uSDR over songs, dB", title_justify="left")
    table.add_column("stem")
    table.add_column("system")
    for name in ("median", "95 % interval", "mean", "songs"):
        table.add_column(name, justify="right")
    for stem in STEMS:
        for row in rows:
            if row.stem == stem:
                interval = f"{row.low:.2f} to {row.high:.2f}"
                figures = (f"{row.median:.2f}", interval, f"{row.mean:.2f}", str(row.n_songs))
                table.add_row(row.stem, row.system, *figures)
        table.add_section()
    return table


def _genre_table(parts: dict[str, list[Row]], systems: list[str]) -> Table:
    table = Table(title="by genre: median uSDR, dB", title_justify="left")
    table.add_column("genre")
    table.add_column("songs", justify="right")
    for stem in STEMS:
        for system in systems:
            table.add_column(f"{stem}\n{system}", justify="right")
    for genre, rows in parts.items():
        medians = {(row.stem, row.system): f"{row.median:.2f}" for row in rows}
        n_songs = max((row.n_songs for row in rows), default=0)
        figures = [medians.get((stem, system), "-") for stem in STEMS for system in systems]
        table.add_row(genre, str(n_songs), *figures)
    return table


def _write_csv(path: Path, songs: dict[str, SongScores]) -> None:
    unfinished = path.with_name(f".{path.name}.part")
    with unfinished.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["song", "system", *(f"{stem}_usdr_db" for stem in STEMS)])
        for song, scores in songs.items():
            for system, values in scores.items():
                writer.writerow([song, system, *(f"{values[stem]:.3f}" for stem in STEMS)])
    unfinished.replace(path)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command(name="evaluate")
    def evaluate_command(
        model: Annotated[
            str, typer.Argument(help="Packaged model or ONNX file.")
        ] = weights.DEFAULT,
        data: Annotated[
            Path, typer.Option(help="Folder with a folder of stems for each song.")
        ] = Path(),
        baseline: Annotated[
            Path | None, typer.Option(help="JSON with another system's scores a song.")
        ] = None,
        baseline_name: Annotated[str, typer.Option(help="What to call it.")] = "baseline",
        genres: Annotated[
            Path | None,
            typer.Option(help="CSV with Track Name and Genre: a table by genre, too."),
        ] = None,
        oracles: Annotated[bool, typer.Option(help="Add the ideal masks.")] = True,
        output: Annotated[
            Path | None, typer.Option("--out", "-o", help="CSV with a row a song and system.")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="The summary as JSON.")] = False,
    ) -> None:
        """Score a model on songs whose stems are known (whole-song uSDR)."""
        separator = Separator(model)
        others = read_baseline(baseline, label=baseline_name) if baseline else {}
        known = read_genres(genres) if genres else {}
        names = songs_of(data)
        if baseline and not set(names) & set(others):
            raise DataError(f"{baseline}: none of the songs in {data} is in it")
        if output is not None and not output.parent.is_dir():
            raise ConfigError(f"{output}: no such folder; make it first")
        songs: dict[str, SongScores] = {}
        with bar(quiet=as_json) as progress:
            task = progress.add_task("songs", total=len(names), speed="")
            for name, scores in evaluate(separator, names, oracles=oracles):
                songs[name] = {**others.get(name, {}), **scores}
                progress.advance(task)
        rows = summary(songs)
        parts = by_genre(songs, known) if genres else {}
        if as_json:
            records = [vars(row) for row in rows]
            records += [{**vars(row), "genre": g} for g, part in parts.items() for row in part]
            typer.echo(json.dumps(records))
        else:
            out().print(_table(rows), soft_wrap=False)
            if parts:
                systems = [separator.card.name, *([baseline_name] if baseline else [])]
                out().print(_genre_table(parts, systems), soft_wrap=False)
        if output is not None:
            _write_csv(output, songs)
