"""``viso listen``: listening tests, in which people rate separated songs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from viso.cli.console import EXIT_INTERRUPTED, error_line

__all__ = ["listen"]

listen = typer.Typer(help="Make, show and analyse listening tests.", no_args_is_help=True)


@listen.command()
def build(
    systems: Annotated[
        list[str],
        typer.Argument(
            metavar="FOLDER...",
            help="A system's separated songs, a folder for each; NAME=FOLDER names it otherwise.",
        ),
    ],
    data: Annotated[Path, typer.Option(help="Folder with a folder of true stems for each song.")],
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder to make.")],
    kind: Annotated[str, typer.Option(help="mushra, abx or preference.")] = "mushra",
    stem: Annotated[str, typer.Option(help="vocals, instrumental, or such as drums.")] = "vocals",
    title: Annotated[str, typer.Option(help="What listeners read first.")] = "Listening test",
    excerpts: Annotated[
        Path | None,
        typer.Option(help="CSV with song, start_s, duration_s, not the loudest vocal passages."),
    ] = None,
    duration: Annotated[float, typer.Option(help="Seconds of an excerpt.")] = 10.0,
    per_song: Annotated[int, typer.Option(help="Excerpts of a song.")] = 1,
    question: Annotated[
        list[str] | None,
        typer.Option(help="Ask for target, interference or artefacts, too; may be repeated."),
    ] = None,
    loudness: Annotated[float, typer.Option(help="Of all stimuli, in LUFS.")] = -23.0,
    anchors: Annotated[bool, typer.Option(help="Add the four anchors (MUSHRA).")] = True,
    with_reference: Annotated[
        bool, typer.Option("--with-reference", help="The reference contends (ABX, preference).")
    ] = False,
    show_reference: Annotated[
        bool, typer.Option("--show-reference", help="It can be heard as such (preference).")
    ] = False,
    undecided: Annotated[
        bool, typer.Option("--undecided", help="Allow no preference (preference).")
    ] = False,
    repeats: Annotated[int, typer.Option(help="How often a pair is heard (ABX, preference).")] = 1,
    short_training: Annotated[
        bool, typer.Option("--short-training", help="Train on one passage, not on every sound.")
    ] = False,
    instructions: Annotated[
        Path | None, typer.Option(help="Text file that listeners read instead of the usual words.")
    ] = None,
    consent: Annotated[
        Path | None, typer.Option(help="Text file that listeners have to agree to.")
    ] = None,
    ask_device: Annotated[
        bool, typer.Option("--ask-device", help="Ask what they listen with.")
    ] = False,
    ask_age: Annotated[bool, typer.Option("--ask-age", help="Ask for an age range.")] = False,
    seed: Annotated[
        int | None, typer.Option(help="Of orders and names; drawn if not said.")
    ] = None,
) -> None:
    """Cut excerpts, set them to one loudness, add a hidden reference and anchors."""
    # Imported here, because separating songs does not need it.
    from viso.cli.listen_run import build_from

    values = {
        "kind": kind,
        "stem": stem,
        "title": title,
        "instructions": _text(instructions),
        "consent": _text(consent),
        "questions": question or [],
        "duration_s": duration,
        "per_song": per_song,
        "loudness_lufs": loudness,
        "anchors": anchors,
        "adds_reference": with_reference,
        "shows_reference": show_reference,
        "repeats": repeats,
        "may_be_undecided": undecided,
        "short_training": short_training,
        "asks_device": ask_device,
        "asks_age": ask_age,
        "seed": seed,
    }
    try:
        build_from(systems, data, output, values=values, excerpts=excerpts)
    except KeyboardInterrupt as error:
        error_line("interrupted; nothing is left of the test")
        raise typer.Exit(EXIT_INTERRUPTED) from error


@listen.command()
def export(
    test: Annotated[
        Path, typer.Argument(metavar="TEST", help="Folder that viso listen build made.")
    ],
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder to make.")],
    orders: Annotated[
        int, typer.Option(min=1, max=10_000, help="Listeners who get an order of their own.")
    ] = 96,
    post: Annotated[
        str, typer.Option(help="Address that takes the answers; without it they are a file.")
    ] = "",
    embed: Annotated[
        bool, typer.Option("--embed", help="Works when index.html is opened from disk.")
    ] = False,
    webmushra: Annotated[
        bool, typer.Option("--webmushra", help="For webMUSHRA: configs to lay over its own.")
    ] = False,
) -> None:
    """Write a test as a static folder: a page for listeners, without the key."""
    from viso.cli.listen_run import export_to

    export_to(test, output, orders=orders, post=post, embed=embed, webmushra=webmushra)


@listen.command()
def serve(
    test: Annotated[
        Path, typer.Argument(metavar="TEST", help="Folder that viso listen build made.")
    ],
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 is every one of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one.")] = 8010,
    data: Annotated[
        Path | None,
        typer.Option(help="SQLite file of the answers; TEST/results.sqlite if not said."),
    ] = None,
    token: Annotated[
        str, typer.Option(help="Opens the page with progress and results; drawn if not said.")
    ] = "",
    address: Annotated[
        str, typer.Option(help="Where listeners reach it, as https://listen.example.org/test/.")
    ] = "",
    links: Annotated[
        int, typer.Option(min=0, max=1000, help="Personal links to print at the start.")
    ] = 0,
    invited: Annotated[
        bool, typer.Option("--invited", help="Only personal links that you hand out can begin.")
    ] = False,
    listeners: Annotated[int, typer.Option(min=1, help="How many may begin.")] = 1000,
    per_hour: Annotated[
        int,
        typer.Option(
            min=0, help="How many may begin from one address in an hour without a personal link."
        ),
    ] = 100,
    closes: Annotated[
        str, typer.Option(help="Nobody begins after it: 2026-12-24, or with a time, T18:00.")
    ] = "",
) -> None:
    """Run a test for many listeners, each with a personal link; needs the extra \\[web]."""
    from viso.cli.listen_run import serve_test

    serve_test(
        test,
        data,
        host=host,
        port=port,
        token=token,
        address=address,
        n_links=links,
        is_open=not invited,
        most=listeners,
        per_hour=per_hour,
        closes=closes,
    )


@listen.command()
def remove(
    test: Annotated[
        Path, typer.Argument(metavar="TEST", help="Folder that viso listen build made.")
    ],
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="LISTENER...", help="Names, as the maker's page shows them."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="SQLite file of the answers; TEST/results.sqlite if not said."),
    ] = None,
    unanswered: Annotated[
        bool, typer.Option("--unanswered", help="All who began and answered nothing.")
    ] = False,
) -> None:
    """Delete listeners and all their answers, so that others may begin; a server may run."""
    from viso.cli.listen_run import remove_listeners

    remove_listeners(test, names or [], data, unanswered=unanswered)


@listen.command()
def analyse(
    test: Annotated[
        Path, typer.Argument(metavar="TEST", help="Folder that viso listen build made.")
    ],
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULTS...",
            help="What listeners saved (.jsonl), what serve stored (.sqlite), folders of these, "
            "webMUSHRA's CSV.",
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the report.")
    ] = None,
    mid_anchor: Annotated[
        bool, typer.Option("--mid-anchor", help="Screen by the 7 kHz anchor, too.")
    ] = False,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Those who have not finished, too (.sqlite).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="All figures as JSON.")] = False,
) -> None:
    """Screen listeners; give means, paired tests, correlation with SDR and a report."""
    from viso.cli.listen_run import analyse_results

    analyse_results(
        test, results, output, mid_anchor=mid_anchor, unfinished=unfinished, as_json=as_json
    )


def _text(path: Path | None) -> str:
    if path is None:
        return ""
    from viso.errors import ConfigError

    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check the name") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not text in UTF-8; save it as such") from error
