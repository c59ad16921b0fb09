"""``viso data``: check recordings and pack them into a corpus."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from viso.cli.console import EXIT_FAILED, EXIT_INTERRUPTED, bar, error_line, out, print_json, shown
from viso.errors import DataError, VisoError

if TYPE_CHECKING:
    from viso.train.data.corpus import Track
    from viso.train.data.lint import CheckedSong, Finding
    from viso.train.data.readers import Item

__all__ = ["data"]

data = typer.Typer(help="Prepare recordings for training.", no_args_is_help=True)

_AGAIN = "the same command goes on from there"


@data.command()
def pack(
    output: Annotated[Path, typer.Option("--out", "-o", help="The corpus to make.")],
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FOLDER]...",
            help="MUSDB18 (.stem.mp4), MUSDB18-HQ or any folder of stems a song, pairs of mixture "
            "and vocals, or several of these with solo singing beside them.",
        ),
    ] = None,
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
    music_root: Annotated[
        Path | None, typer.Option(help="Where the paths of a list begin; here, if not said.")
    ] = None,
    longest: Annotated[
        float | None, typer.Option(min=1, help="Keep this many seconds of a listed track.")
    ] = None,
    held_out: Annotated[
        bool,
        typer.Option(
            "--hold-out/--no-hold-out",
            help="Keep a tenth of the songs for validation where no split is known.",
        ),
    ] = True,
    parts: Annotated[
        bool,
        typer.Option(
            "--parts", help="Pack drums, bass and so on by themselves, too, to be remixed."
        ),
    ] = False,
    licence: Annotated[
        str | None, typer.Option(help="Of the recordings, where it is not known.")
    ] = None,
) -> None:
    """Pack recordings into a corpus that a recipe can train on.

    If it is interrupted, the same command resumes it. Folders called test are never packed.
    """
    from viso.train.data import readers

    items: list[Item] = []
    for folder in folders or []:
        items += readers.items_in(folder, licence=licence, music_root=music_root, longest_s=longest)
    for folder in songs or []:
        items += readers.songs_in(folder, licence=licence)
    for folder in valid or []:
        items += readers.songs_in(folder, split="valid", licence=licence)
    for folder in voices or []:
        items += readers.voices_in(folder, licence=licence)
    for folder in music or []:
        items += readers.music_in(folder, licence=licence)
    if music_table is not None:
        root = music_root or Path()
        items += readers.music_listed(music_table, root=root, longest_s=longest)
    if held_out:
        items = _hold_out(items)
    if parts:
        items += readers.parts_of(items)
    _tell_left_out(
        chain.from_iterable(g or [] for g in (folders, songs, valid, voices, music)), music_root
    )
    _summarise(_pack_all(items, output), output)


def _tell_left_out(folders: Iterable[Path], music_root: Path | None) -> None:
    from viso.train.data import readers

    for folder in folders:
        for line in readers.left_out(folder, music_root=music_root):
            out().print(shown(line))


def _hold_out(items: list[Item]) -> list[Item]:
    """Keep some songs for validation where no split is known, and print which."""
    from viso.train.data import readers

    items, songs = readers.hold_out(items)
    if songs:
        names = ", ".join(songs)
        out().print(shown(f"held out for validation: {names} (--valid chooses others)"))
    return items


def _pack_all(items: list[Item], output: Path) -> list[Track]:
    """Pack with a progress bar; print how many tracks an interrupted packing has left."""
    from viso.train.data.pack import pack as pack_items

    tracks: list[Track] = []
    n_kept, seconds = 0, 0.0
    try:
        with bar(quiet=False) as progress:
            task = progress.add_task("", total=len(items), speed="")
            for packed in pack_items(items, output):
                tracks.append(packed.track)
                n_kept += packed.is_kept
                seconds += packed.track.n_samples / 44_100
                name, done = packed.track.song, f"{seconds / 3600:.2f} h"
                progress.update(task, description=name, completed=len(tracks), speed=done)
    except KeyboardInterrupt as error:
        error_line(f"interrupted; {len(tracks)} of {len(items)} tracks are packed, {_AGAIN}")
        raise typer.Exit(EXIT_INTERRUPTED) from error
    except VisoError:
        if tracks:
            out().print(f"{len(tracks)} of {len(items)} tracks are packed; {_AGAIN}")
        raise
    if n_kept:
        out().print(f"{n_kept} of {len(items)} tracks kept from an interrupted packing")
    return tracks


def _summarise(tracks: list[Track], output: Path) -> None:
    """Print one line for each group and one for the corpus."""
    from viso.train.data.corpus import Corpus
    from viso.train.data.pack import groups_of

    corpus = Corpus(output)
    groups = groups_of(tracks, rate_hz=corpus.rate_hz)
    width = max(len(group.name) for group in groups)
    for group in groups:
        singers = f", {_counted(group.n_singers, 'singer')}" if group.n_singers else ""
        top = f"up to {group.bandwidth_hz / 1000:.1f} kHz"
        out().print(
            f"{shown(group.name):{width}}  {group.split:5}  {group.role:12}  {group.hours:7.2f} h, "
            f"{_counted(group.n_tracks, 'track')}{singers}, {top}"
        )
    hours = sum(group.hours for group in groups)
    facts = f"{len(tracks)} tracks, {hours:.2f} h, hash {corpus.hash[:16]}"
    out().print(shown(f"{output}: {facts}"))


def _counted(n: int, thing: str) -> str:
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


_MOST_NOTES = 10


def _songs(
    path: Path, music_root: Path | None, longest_s: float | None, *, is_solo: bool
) -> tuple[int, Iterator[CheckedSong]]:
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
    songs: Iterator[CheckedSong], n_songs: int, *, rate_hz: int | None, as_json: bool
) -> list[Finding]:
    """Check with a progress bar; as JSON, print each finding at once."""
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
    """Return a table of the faults and notes of every check, including checks without any."""
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
    """Print the findings of each check, faults first, with at most `_MOST_NOTES` notes."""
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


@data.command()
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

    The exit code is 1 if there is a fault. A corpus no longer has the mixtures and the files'
    own rates, so check the folder before you pack it.
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
