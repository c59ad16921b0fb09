"""What ``viso listen`` does; a module of its own, as it is slow to load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from viso.cli.console import note_line, out, print_json, shown
from viso.errors import ConfigError, DataError
from viso.evaluate import estimate_files, songs_of
from viso.listening import (
    Analysis,
    BuildSettings,
    MeanRow,
    Results,
    Song,
    analyse,
    as_summary,
    build_test,
    export_page,
    export_webmushra,
    load_test,
    read_excerpts,
    read_results,
    write_report,
)

__all__ = ["analyse_results", "build_from", "export_to"]


def build_from(
    systems: Sequence[str],
    data: Path,
    output: Path,
    *,
    values: Mapping[str, Any],
    excerpts: Path | None,
) -> None:
    """Find the songs, and build the test."""
    settings = BuildSettings.from_mapping(dict(values), origin="viso listen build")
    folders = _named(systems)
    wanted = None if excerpts is None else read_excerpts(excerpts)
    songs = [
        Song(
            name,
            tuple(stems),
            {system: estimate_files(folder, name) for system, folder in folders.items()},
        )
        for name, stems in songs_of(data).items()
        # Songs of which nothing is played need not be separated.
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
    """Return folders by the systems' names."""
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
    """Write the page, or webMUSHRA's configuration."""
    if webmushra:
        if post or embed:
            raise ConfigError("--webmushra: goes with neither --post nor --embed; leave them out")
        configuration = export_webmushra(test, output)
        out().print(shown(f"{configuration}: open webMUSHRA with ?config={configuration.name}"))
        return
    export_page(test, output, n_orders=orders, post=post, embedded=embed)
    how = "open it" if embed else "serve the folder, or export with --embed to open it from disk"
    out().print(shown(f"{output / 'index.html'}: {how}"))


def analyse_results(
    folder: Path,
    results: Sequence[Path],
    output: Path | None,
    *,
    mid_anchor: bool,
    unfinished: bool,
    as_json: bool,
) -> None:
    """Analyse, tell and write."""
    test = load_test(folder)
    found: Results = read_results(results, test, with_unfinished=unfinished)
    if found.n_unfinished:
        note_line(
            f"left out: {found.n_unfinished} who have not finished; --unfinished takes them, too"
        )
    analysis = analyse(test, found, mid_anchor=mid_anchor)
    if output is not None:
        write_report(output, analysis, pictures=_pictures(analysis))
    if as_json:
        print_json(as_summary(analysis))
        return
    _print(analysis)
    if output is not None:
        out().print(shown(str(output / "report.html")))


def _print(analysis: Analysis) -> None:
    if analysis.test.kind != "mushra":
        out().print(_pair_table(analysis), soft_wrap=False)
        return
    left_out = [found.listener for found in analysis.screened if not found.is_kept]
    told = f"{analysis.n_listeners} listeners"
    if left_out:
        told += f", {len(left_out)} left out by the screening: {', '.join(left_out)}"
    out().print(shown(told))
    for question in analysis.test.questions:
        table = Table(title=question.name, title_justify="left", box=SIMPLE_HEAD)
        table.add_column("condition")
        for name in ("mean", "95 % interval", "listeners"):
            table.add_column(name, justify="right", no_wrap=True)
        for row in analysis.means:
            if row.question == question.name:
                bounds = f"{row.low:.1f} to {row.high:.1f}"
                table.add_row(shown(row.condition), f"{row.mean:.1f}", bounds, str(row.n))
        out().print(table, soft_wrap=False)
        for pair in analysis.comparisons:
            if pair.question == question.name:
                out().print(
                    shown(
                        f"{pair.one} against {pair.other}: {pair.difference:+.1f} "
                        f"({pair.low:+.1f} to {pair.high:+.1f}), p {pair.p_holm:.2g} (Holm), "
                        f"higher for {pair.n_better} of {pair.n_listeners} listeners"
                    )
                )


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
            f"{100 * row.low:.0f} to {100 * row.high:.0f} %",
            f"{row.p_holm:.2g}",
            str(row.n_answers),
        )
    return table


def _pictures(analysis: Analysis) -> dict[str, str]:
    try:
        from viso.plots.ratings import cloud, intervals
    except ModuleNotFoundError:
        note_line("no plots in the report without the extra [listen]: pip install '.[listen]'")
        return {}
    drawn: dict[str, str] = {}
    if analysis.pairs:
        rows = {
            shown(f"{row.one} / {row.other}"): (100 * row.share, 100 * row.low, 100 * row.high)
            for row in analysis.pairs
        }
        drawn["Pairs"] = intervals({"": rows}, unit="%", limits=(0, 100))
    songs = {t.name: f"{t.song}, {t.start_s:g} s ({t.name})" for t in analysis.test.rated}
    kept = {found.listener for found in analysis.screened if found.is_kept}
    listeners = {
        found.listener: found.listener + ("" if found.is_kept else " (left out)")
        for found in sorted(analysis.screened, key=lambda found: found.listener not in kept)
    }
    for question in analysis.test.questions:
        name = question.name.capitalize()
        unit = f"{question.name}, 0 to 100"
        for caption, rows_of, labels in (
            ("means and 95 % intervals", analysis.means, {"": question.name}),
            ("song by song", analysis.by_trial, songs),
            ("listener by listener", analysis.by_listener, listeners),
        ):
            series = _series(rows_of, question.name, labels)
            if caption.startswith("means"):
                # The conditions are the rows, there is nothing else to tell apart.
                series = {"": {name: next(iter(v.values())) for name, v in series.items()}}
            drawn[f"{name}: {caption}"] = intervals(series, unit=unit, limits=(0, 100))
        points = analysis.points.get(question.name, {}).get("sdr")
        if points:
            told = [(shown(system), x, y) for system, x, y in points]
            drawn[f"{name}: beside SDR, a dot a trial and system"] = cloud(
                told, x_label="SDR of the excerpt, dB", y_label=unit
            )
    return drawn


def _series(
    rows: Sequence[MeanRow], question: str, labels: Mapping[str, str]
) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Return means by condition, then by what they are of, in the labels' order."""
    found: dict[str, dict[str, tuple[float, float, float]]] = {}
    for of, label in labels.items():
        for row in rows:
            if row.question == question and row.of == of:
                bounds = (row.mean, row.low, row.high)
                found.setdefault(shown(row.condition), {})[shown(label)] = bounds
    return found
