"""The work of ``viso listen``, in its own module because it is slow to import."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.box import SIMPLE_HEAD
from rich.table import Table

from viso.cli.console import note_line, out, print_json, shown
from viso.errors import ConfigError, DataError, how_to_install
from viso.evaluate import estimate_files, songs_of
from viso.listening import (
    Analysis,
    Answers,
    BuildSettings,
    MeanRow,
    Results,
    SongMaterial,
    analyse,
    as_summary,
    build_test,
    caveats,
    conditions_of,
    export_page,
    export_webmushra,
    load_test,
    read_excerpts,
    read_results,
    write_report,
)

__all__ = [
    "analyse_results",
    "build_from",
    "export_to",
    "pictures_of",
    "remove_listeners",
    "serve_test",
]

_MOST_CONNECTIONS = 2000  # of all listeners of a test


def build_from(
    systems: Sequence[str],
    data: Path,
    output: Path,
    *,
    values: Mapping[str, Any],
    excerpts: Path | None,
) -> None:
    """Find the songs and build the test."""
    settings = BuildSettings.from_mapping(dict(values), origin="viso listen build")
    folders = _named(systems)
    wanted = None if excerpts is None else read_excerpts(excerpts)
    songs = [
        SongMaterial(
            name,
            tuple(stems),
            {system: estimate_files(folder, name) for system, folder in folders.items()},
        )
        for name, stems in songs_of(data).items()
        # Songs without an excerpt in the test need not be separated.
        if wanted is None or name in wanted
    ]
    if wanted is not None and (unknown := sorted(set(wanted) - {song.name for song in songs})):
        raise DataError(f"{excerpts}: song {unknown[0]!r} is not in {data}")
    test = build_test(songs, output, settings=settings, excerpts=wanted)
    n_stimuli = len(test.rated[0].stimuli)
    out().print(
        shown(
            f"{output}: {len(test.rated)} trials of {n_stimuli} stimuli, "
            f"{len(test.questions) or 1} page each, at {test.loudness_lufs:.1f} LUFS; "
            f"seed {test.seed}"
        )
    )
    if test.loudness_lufs < settings.loudness_lufs:
        lowered_db = settings.loudness_lufs - test.loudness_lufs
        out().print(f"  all lowered by {lowered_db:.1f} dB, so that none clips")


def _named(systems: Sequence[str]) -> dict[str, Path]:
    """Return the systems' folders by name."""
    found: dict[str, Path] = {}
    for text in systems:
        # A folder's own name may hold an equals sign.
        name, equals, place = text.partition("=")
        folder = Path(place) if equals and not Path(text).is_dir() else Path(text)
        if folder == Path(text):
            name = folder.resolve().name
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; name one that holds a folder for each song")
        if name in found:
            raise ConfigError(f"{text}: another system is called {name!r}; give NAME=FOLDER")
        found[name] = folder
    return found


def export_to(
    test: Path, output: Path, *, orders: int, post: str, embed: bool, webmushra: bool
) -> None:
    """Write the static page or webMUSHRA's configuration."""
    if webmushra:
        if post or embed:
            raise ConfigError("--webmushra: goes with neither --post nor --embed; leave them out")
        configuration = export_webmushra(test, output)
        out().print(shown(f"{configuration}: open webMUSHRA with ?config={configuration.name}"))
        return
    export_page(test, output, n_orders=orders, post=post, embedded=embed)
    how = "open it" if embed else "serve the folder, or export with --embed to open it from disk"
    out().print(shown(f"{output / 'index.html'}: {how}"))


def remove_listeners(
    folder: Path, names: Sequence[str], data: Path | None, *, unanswered: bool
) -> None:
    """Delete listeners by name, or those who answered nothing; print how many are left."""
    if bool(names) == unanswered:
        raise ConfigError("viso listen remove: name listeners, or give --unanswered, not both")
    path = data or folder / "results.sqlite"
    if not path.is_file():
        raise DataError(f"{path}: no such file; name the answers that viso listen serve stored")
    answers = Answers(path, load_test(folder))
    try:
        begun = {listener.name: listener for listener in answers.progress()[0]}
        if unknown := [name for name in names if name not in begun]:
            raise DataError(f"{path}: listener {unknown[0]!r:.40} is not in it; nobody was removed")
        chosen = names or [name for name, one in begun.items() if not one.n_answered]
        n_removed = answers.remove(chosen)
    finally:
        answers.close()
    out().print(shown(f"{path}: {n_removed} removed, {len(begun) - n_removed} left"))


def analyse_results(
    folder: Path,
    results: Sequence[Path],
    output: Path | None,
    *,
    mid_anchor: bool,
    unfinished: bool,
    as_json: bool,
) -> None:
    """Analyse the answers, print the figures and write the report."""
    test = load_test(folder)
    found: Results = read_results(results, test, with_unfinished=unfinished)
    if found.n_unfinished:
        note_line(
            f"left out: {found.n_unfinished} who have not finished; --unfinished takes them, too"
        )
    analysis = analyse(test, found, mid_anchor=mid_anchor)
    if output is not None:
        write_report(output, analysis, pictures=pictures_of(analysis))
    if as_json:
        print_json(as_summary(analysis))
    else:
        _print(analysis)
        if output is not None:
            out().print(shown(str(output / "report.html")))
    if test.kind == "mushra" and not analysis.n_kept:
        where = "" if output is None else f", see {output / 'report.html'}"
        raise DataError(
            f"{test.title}: none of the {analysis.n_listeners} listeners passes the screening"
            f"{where}; look at how the test was done, and get more listeners"
        )
    for summary in caveats(analysis):
        note_line(f"note: {summary}")


def _print(analysis: Analysis) -> None:
    if analysis.test.kind != "mushra":
        out().print(_pair_table(analysis), soft_wrap=False)
        return
    left_out = [found for found in analysis.screened if not found.is_kept]
    summary = f"{analysis.n_listeners} listeners"
    if left_out:
        summary += f", {len(left_out)} left out by the screening:"
    out().print(shown(summary))
    for found in left_out:
        out().print(shown(f"  {found.listener}: {'; '.join(found.reasons)}"))
    if not analysis.n_kept:
        return
    for question in analysis.test.questions:
        _print_question(analysis, question.name)


def _print_question(analysis: Analysis, question: str) -> None:
    medians = {row.condition: row.median for row in analysis.quartiles if row.question == question}
    table = Table(title=question, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("condition")
    for name in ("mean", "95 % interval", "median", "listeners"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in analysis.means:
        if row.question == question:
            bounds = _bounds(row.low, row.high, ".1f")
            median = f"{medians[row.condition]:.1f}"
            table.add_row(shown(row.condition), f"{row.mean:.1f}", bounds, median, str(row.n))
    out().print(table, soft_wrap=False)
    for pair in analysis.comparisons:
        if pair.question == question:
            out().print(
                shown(
                    f"{pair.one} against {pair.other}: {pair.difference:+.1f} "
                    f"({_bounds(pair.low, pair.high, '+.1f')}), p {pair.p_holm:.2g} (Holm), "
                    f"higher for {pair.n_better} of {pair.n_listeners} listeners"
                )
            )


def _bounds(low: float, high: float, form: str) -> str:
    return f"{low:{form}} to {high:{form}}" if math.isfinite(low) else "no interval"


def _pair_table(analysis: Analysis) -> Table:
    share = "right" if analysis.test.kind == "abx" else "prefer the first"
    table = Table(title=analysis.test.title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("pair")
    for name in (share, "95 % interval", "p (Holm)", "answers"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in analysis.pairs:
        table.add_row(
            shown(f"{row.one} / {row.other}"),
            f"{100 * row.share:.0f} %",
            f"{_bounds(100 * row.low, 100 * row.high, '.0f')} %",
            f"{row.p_holm:.2g}",
            str(row.n_answers),
        )
    return table


def serve_test(
    folder: Path,
    data: Path | None,
    *,
    host: str,
    port: int,
    token: str,
    address: str,
    n_links: int,
    is_open: bool,
    most: int,
    per_hour: int,
    closes: str,
) -> None:
    """Print the test's addresses and serve it until Ctrl-C."""
    try:
        import uvicorn

        from viso.http.connections import listen, server_config
        from viso.listening.server import Entrance, create_listening_app
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{error.name} is not installed; viso listen serve needs the extra [web]: "
            f"{how_to_install('web')}"
        ) from error

    test = load_test(folder)
    entrance = Entrance(is_open, most, _moment(closes), per_hour)
    name = _host_of(address)
    token = token or secrets.token_urlsafe(16)
    path = data or folder / "results.sqlite"
    answers = Answers(path, test)
    try:
        app = create_listening_app(
            folder, answers, maker_key=token, entrance=entrance, names=(name,) if name else ()
        )
        listener = listen(host, port)
        port = listener.getsockname()[1]
        base = f"{address.rstrip('/')}/" if address else f"http://{_in_address(host)}:{port}/"
        begun, _ = answers.progress()
        n_finished = sum(bool(listener.finished_at) for listener in begun)
        for line in (
            f"{base}  {'for listeners' if is_open else 'for listeners with a link of their own'}",
            f"{base}maker#{token}  for you: progress, links, results",
            f"{path}: {len(begun)} began, {n_finished} finished",
            *(f"{base}#{key}" for key in answers.invite(n_links)),
        ):
            out().print(shown(line))
        # Nothing is logged: neither addresses nor links.
        config = server_config(app, limit_concurrency=_MOST_CONNECTIONS, proxy_headers=False)
        with suppress(KeyboardInterrupt), listener:
            uvicorn.Server(config).run(sockets=[listener])
    finally:
        answers.close()


def _in_address(host: str) -> str:
    if host in ("0.0.0.0", "::"):  # noqa: S104
        return "localhost"
    return f"[{host}]" if ":" in host else host


def _host_of(address: str) -> str:
    """Return the host name in an address, "" for an empty address."""
    if not address:
        return ""
    try:
        parts = urlsplit(address)
        name = parts.hostname
    except ValueError:
        name = None
    is_plain = name and parts.scheme in ("http", "https") and not re.search(r"[#?@]", address)
    if not name or not is_plain:
        # Do not print the whole address: the maker's own link ends in the token.
        start = re.sub(r"[^/]*@", "", re.split(r"[#?]", address)[0])
        raise ConfigError(
            f"--address {start}: not where listeners reach it; write https://listen.example.org/"
        )
    return name


def _moment(text: str) -> datetime | None:
    """Return when a test closes: at the end of a day or at a time, local without a time zone."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"--closes {text}: no date; write 2026-12-24 or 2026-12-24T18:00"
        ) from error
    if len(text) <= len("2026-12-24"):
        found = datetime.combine(found, time.max)
    return found.astimezone()


Bounds = tuple[float, float, float]


def pictures_of(analysis: Analysis) -> dict[str, str]:
    """Return SVG by caption; without the extra ``[listen]`` print a note and return none."""
    try:
        from viso.reports.plots.ratings import intervals
    except ModuleNotFoundError:
        note_line(f"no plots in the report without the extra [listen]: {how_to_install('listen')}")
        return {}
    if analysis.test.kind == "mushra":
        return _mushra(analysis)
    rows = {
        shown(f"{row.one} / {row.other}"): (100 * row.share, 100 * row.low, 100 * row.high)
        for row in analysis.pairs
    }
    return {"Pairs": intervals({"": rows}, unit="%", limits=(0, 100))} if rows else {}


def _mushra(analysis: Analysis) -> dict[str, str]:
    from viso.reports.plots.ratings import boxes, cloud, intervals, signs_of

    signs = signs_of([shown(name) for name, _ in conditions_of(analysis.test)])
    songs = {t.name: f"{t.song}, {t.start_s:g} s ({t.name})" for t in analysis.test.rated}
    listeners = {
        found.listener: found.listener + ("" if found.is_kept else " (left out)")
        for found in sorted(analysis.screened, key=lambda found: not found.is_kept)
    }
    drawn: dict[str, str] = {}
    for question in analysis.test.questions:
        name, unit = question.name.capitalize(), f"{question.name}, 0 to 100"
        means = {
            shown(row.condition): {shown(row.condition): (row.mean, row.low, row.high)}
            for row in analysis.means
            if row.question == question.name
        }
        for caption, series in (
            ("means and 95 % intervals", means),
            ("song by song", _series(analysis.by_trial, question.name, songs)),
            ("listener by listener", _series(analysis.by_listener, question.name, listeners)),
        ):
            if series:
                drawn[f"{name}: {caption}"] = intervals(
                    series, unit=unit, limits=(0, 100), signs=signs
                )
            if caption.startswith("means") and series:
                drawn[f"{name}: median, quartiles and spread of all ratings"] = boxes(
                    _ratings(analysis, question.name), unit=unit, limits=(0, 100), signs=signs
                )
        points = analysis.points.get(question.name, {}).get("sdr")
        if points:
            summary = [(shown(system), x, y) for system, x, y in points]
            drawn[f"{name}: beside SDR, a dot a trial and system"] = cloud(
                summary, x_label="SDR of the excerpt, dB", y_label=unit, signs=signs
            )
    return drawn


def _ratings(analysis: Analysis, question: str) -> dict[str, list[float]]:
    """Return all ratings that pass the screening, by condition."""
    found: dict[str, list[float]] = {}
    for condition, _ in conditions_of(analysis.test):
        values = [
            rating.value
            for rating in analysis.ratings
            if rating.is_kept and (rating.question, rating.condition) == (question, condition)
        ]
        if values:
            found[shown(condition)] = values
    return found


def _series(
    rows: Sequence[MeanRow], question: str, labels: Mapping[str, str]
) -> dict[str, dict[str, Bounds]]:
    """Return means by condition, then by trial or listener, in the order of the labels."""
    found: dict[str, dict[str, Bounds]] = {}
    for of, label in labels.items():
        for row in rows:
            if row.question == question and row.of == of:
                bounds = (row.mean, row.low, row.high)
                found.setdefault(shown(row.condition), {})[shown(label)] = bounds
    return found
