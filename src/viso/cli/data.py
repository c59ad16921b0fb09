"""``viso data pack``: recordings become a corpus."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viso.cli import checking
from viso.cli.console import EXIT_INTERRUPTED, bar, error_line, out, shown
from viso.errors import VisoError

if TYPE_CHECKING:
    from viso.train.data.corpus import Track
    from viso.train.data.readers import Item

__all__ = ["register"]

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

    Interrupted, it goes on where it stopped when the same command is started again. Folders
    called test are never packed.
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
    """Keep some songs for validation where no split is known, and say which."""
    from viso.train.data import readers

    items, songs = readers.hold_out(items)
    if songs:
        names = ", ".join(songs)
        out().print(shown(f"held out for validation: {names} (--valid chooses others)"))
    return items


def _pack_all(items: list[Item], output: Path) -> list[Track]:
    """Pack behind a progress bar; say what an interrupted packing left to keep."""
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
    """Print a line for each group, and one for the corpus."""
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


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    checking.register(data)
    app.add_typer(data, name="data")
