"""``viso data check``: what is wrong with recordings, before anything is trained on them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from viso.cli.console import EXIT_FAILED, EXIT_INTERRUPTED, bar, error_line, out, print_json, shown
from viso.errors import DataError

if TYPE_CHECKING:
    from viso.train.data.lint import Finding, Song

__all__ = ["register"]

_MOST_NOTES = 10


def _songs(
    path: Path, music_root: Path | None, longest_s: float | None, *, is_solo: bool
) -> tuple[int, Iterator[Song]]:
    """Return the number of songs in a corpus or a folder, and the songs."""
    from viso.train.data.corpus import Corpus
    from viso.train.data.lint import songs_of_corpus, songs_of_items
    from viso.train.data.readers import items_in, voices_in

    if not path.is_dir():
        raise DataError(f"{path}: no such folder; name a corpus or a folder of recordings")
    if (path / "index.json").is_file():
        return songs_of_corpus(Corpus(path))
    if is_solo:
        return songs_of_items(voices_in(path))
    return songs_of_items(items_in(path, music_root=music_root, longest_s=longest_s))


def _check_all(
    songs: Iterator[Song], n_songs: int, *, rate_hz: int | None, as_json: bool
) -> list[Finding]:
    """Check behind a progress bar; as JSON, print each finding as it comes."""
    from viso.train.data.lint import lint

    findings: list[Finding] = []
    seconds, began = 0.0, time.monotonic()
    with bar(quiet=as_json) as progress:
        task = progress.add_task("", total=n_songs, speed="")
        for checked in lint(songs, rate_hz=rate_hz):
            findings += checked.findings
            seconds += checked.duration_s
            speed = f"{seconds / max(1e-9, time.monotonic() - began):.0f}x"
            name = checked.song[:40]
            progress.update(task, description=name, advance=bool(checked.song), speed=speed)
            if as_json:
                for finding in checked.findings:
                    print_json(asdict(finding))
    return findings


def _table(findings: list[Finding]) -> Table:
    """Return how many faults and notes each check has, the silent checks too."""
    from viso.train.data.lint import CHECKS

    table = Table(title="What the checks found", title_justify="left")
    table.add_column("check")
    table.add_column("faults", justify="right")
    table.add_column("notes", justify="right")
    table.add_column("looks for")
    for check, what in CHECKS.items():
        counts = [
            sum(f.check == check and f.severity == severity for f in findings)
            for severity in ("fault", "note")
        ]
        table.add_row(check, *(str(n) if n else "-" for n in counts), what)
    return table


def _print_findings(findings: list[Finding]) -> None:
    """Print check after check, the faults first, and not more than a page of notes."""
    from viso.train.data.lint import CHECKS

    for check in CHECKS:
        faults, notes = (
            [f for f in findings if f.check == check and f.severity == severity]
            for severity in ("fault", "note")
        )
        if faults or notes:
            out().print(f"\n{check}", style="bold")
        for finding in faults + notes[:_MOST_NOTES]:
            where = f"{finding.song} {finding.role}".strip()
            out().print(shown(f"  {finding.severity}  {where}: {finding.message}"))
        if len(notes) > _MOST_NOTES:
            out().print(f"  and {len(notes) - _MOST_NOTES} notes more (--json prints all)")


def register(data_app: typer.Typer) -> None:
    """Add the command to the application ``viso data``."""

    @data_app.command()
    def check(
        path: Annotated[
            Path,
            typer.Argument(
                metavar="CORPUS_OR_FOLDER",
                help="A packed corpus, or a folder that viso data pack takes.",
            ),
        ],
        rate: Annotated[
            int | None, typer.Option(min=1, help="Sampling rate the files ought to have, in Hz.")
        ] = None,
        music_root: Annotated[
            Path | None, typer.Option(help="Where the paths of a list of music begin.")
        ] = None,
        longest: Annotated[
            float | None, typer.Option(min=1, help="Check this many seconds of a listed track.")
        ] = None,
        solo: Annotated[
            bool, typer.Option("--solo", help="Sound files that stand alone: voices or music.")
        ] = False,
        as_json: Annotated[
            bool, typer.Option("--json", help="One JSON object a finding, as they are found.")
        ] = False,
    ) -> None:
        """Look for faults in recordings: silence, clipping, bleed, lags, copies and more.

        Ends with exit code 1 if there is a fault. A corpus has lost its mixtures and the files'
        own rates, so check the folder before packing it.
        """
        n_songs, songs = _songs(path, music_root, longest, is_solo=solo)
        try:
            findings = _check_all(songs, n_songs, rate_hz=rate, as_json=as_json)
        except KeyboardInterrupt as error:
            error_line("interrupted; songs not yet checked may have faults too")
            raise typer.Exit(EXIT_INTERRUPTED) from error
        n_faults = sum(finding.severity == "fault" for finding in findings)
        n_notes = len(findings) - n_faults
        if not as_json:
            out().print(_table(findings), soft_wrap=False)
            _print_findings(findings)
            out().print(f"\n{n_songs} songs checked, {n_faults} faults, {n_notes} notes")
        raise typer.Exit(EXIT_FAILED if n_faults else 0)
