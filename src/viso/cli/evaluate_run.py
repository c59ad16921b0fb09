"""The work of ``viso evaluate``, in its own module because it is slow to import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from viso.cli.console import bar, note_line, out, print_json, shown
from viso.errors import ConfigError, DataError, how_to_install
from viso.evaluate import (
    MIXTURE,
    ORACLES,
    Comparison,
    Row,
    SongResult,
    System,
    by_group,
    compare,
    evaluate,
    gnsdr_rows,
    read_baseline,
    read_genres,
    singer_of,
    songs_of,
    stems_among,
    summary,
    system_of,
    write_report,
)
from viso.evaluate.report import as_records, check_folder

__all__ = ["EvaluationRequest", "comparison_line", "group_table", "pictures", "run", "stem_tables"]

Groups = dict[str, dict[str, list[Row]]]


@dataclass(frozen=True)
class EvaluationRequest:
    """The options of the command line."""

    names: tuple[str, ...]
    data: Path
    report: Path | None
    baseline: Path | None
    baseline_name: str
    genres: Path | None
    wiener: int
    bss: bool
    each: bool
    oracles: bool
    residuals: bool
    jobs: int
    as_json: bool


def run(request: EvaluationRequest) -> None:
    """Read the inputs, score all systems, print the tables and write the report."""
    if request.residuals and request.report is None:
        raise ConfigError("--residuals: say where with --out")
    baseline = request.baseline
    others = read_baseline(baseline, label=request.baseline_name) if baseline else {}
    genres = read_genres(request.genres) if request.genres else {}
    songs = songs_of(request.data)
    if baseline and not set(songs) & set(others):
        raise DataError(f"{baseline}: none of the songs in {request.data} is in it")
    mine = [system_of(name) for name in request.names]
    if request.wiener:
        mine += [system.filtered(request.wiener) for system in mine if _is_bare(system)]
    systems = [System(MIXTURE, "mixture"), *mine]
    systems += [System(name, "oracle") for name in ORACLES if request.oracles]
    if baseline and request.baseline_name in {system.name for system in systems}:
        raise ConfigError(f"--baseline-name {request.baseline_name!r}: another row has this name")
    results = _scored(systems, songs, request)
    for result in results:
        result.scores.update(others.get(result.song, {}))
    peers = [system.name for system in mine] + ([request.baseline_name] if baseline else [])
    _tell(request, results, peers, genres)


def _is_bare(system: System) -> bool:
    """Tell whether the system is a model without a Wiener filter."""
    return system.kind == "model" and not system.wiener


def _scored(
    systems: Sequence[System], songs: Mapping[str, list[Path]], request: EvaluationRequest
) -> list[SongResult]:
    if request.report is not None:
        check_folder(request.report)
    store = None if request.report is None else request.report / "songs"
    found = {}
    with bar(quiet=request.as_json) as progress:
        task = progress.add_task("songs", total=len(songs), speed="")
        for result in evaluate(
            systems,
            songs,
            bss=request.bss,
            each=request.each,
            store=store,
            jobs=request.jobs,
            residuals=request.report / "residuals"
            if request.report and request.residuals
            else None,
        ):
            found[result.song] = result
            progress.advance(task)
    return [found[song] for song in songs]


def _groups(results: Sequence[SongResult], genres: Mapping[str, str]) -> Groups:
    """Return rows by genre and by singer, where the data names them."""
    songs = {result.song: result.scores for result in results}
    groups: Groups = {}
    if genres:
        groups["genre"] = by_group(songs, genres.get)
    singers = [singer for song in songs if (singer := singer_of(song))]
    if len(set(singers)) < len(singers):
        groups["singer"] = by_group(songs, singer_of)
    return groups


def _tell(
    request: EvaluationRequest,
    results: Sequence[SongResult],
    peers: Sequence[str],
    genres: Mapping[str, str],
) -> None:
    """Print the tables, and write the report if requested."""
    scores = {result.song: result.scores for result in results}
    durations_s = {result.song: result.duration_s for result in results}
    rows = [*summary(scores), *gnsdr_rows(scores, durations_s)]
    groups = _groups(results, genres)
    comparisons = [
        found
        for other in peers[1:]
        for stem in stems_among(rows)
        if (found := compare(scores, peers[0], other, stem=stem, metric="usdr"))
    ]
    if request.report is not None:
        write_report(
            request.report,
            results,
            title=f"{', '.join(peers)} on {request.data.resolve().name}",
            rows=rows,
            groups=groups,
            comparisons=comparisons,
            genres=genres,
            pictures=pictures(results, peers),
        )
    _print(request, rows, groups, comparisons, peers)


def _print(
    request: EvaluationRequest,
    rows: Sequence[Row],
    groups: Groups,
    comparisons: Sequence[Comparison],
    peers: Sequence[str],
) -> None:
    if request.as_json:
        records = as_records(rows)
        for kind, parts in groups.items():
            for group, part in parts.items():
                records += as_records(part, kind=kind, group=group)
        print_json(records)
        return
    for stem in stems_among(rows):
        for table in stem_tables(rows, stem):
            out().print(table, soft_wrap=False)
    for kind, parts in groups.items():
        for stem in stems_among(rows):
            out().print(group_table(kind, parts, peers, stem), soft_wrap=False)
    for comparison in comparisons:
        out().print(comparison_line(comparison))
    if request.report is not None:
        out().print(shown(str(request.report / "report.html")))


_TABLES = (
    ("usdr", "csdr", "si_sdr", "gnsdr"),
    ("sdr", "isr", "sir", "sar", "nsdr"),
    ("bleedless", "fullness"),
)


def stem_tables(rows: Sequence[Row], stem: str) -> list[Table]:
    """Return a stem's figures, one row for each system, in tables that fit a narrow terminal."""
    mine = {(row.system, row.metric): row for row in rows if row.stem == stem}
    tables = []
    for wanted in _TABLES:
        metrics = [metric for metric in wanted if any(key[1] == metric for key in mine)]
        systems = list(dict.fromkeys(name for name, metric in mine if metric in metrics))
        if not metrics:
            continue
        counts = {
            system: max(row.n_songs for (name, _), row in mine.items() if name == system)
            for system in systems
        }
        unit = "0 to 100" if "fullness" in metrics else "dB"
        table = Table(
            title=f"{stem}: medians over {max(counts.values())} songs, {unit}",
            title_justify="left",
            box=SIMPLE_HEAD,
        )
        table.add_column("system", no_wrap=True)
        for metric in metrics:
            table.add_column(metric, justify="right", no_wrap=True)
            if metric == "usdr":
                table.add_column("95 % interval", justify="right", no_wrap=True)
        # Medians over different songs cannot be compared, so show the counts.
        differ = len(set(counts.values())) > 1
        if differ:
            table.add_column("songs", justify="right", no_wrap=True)
        for system in systems:
            count = [str(counts[system])] if differ else []
            table.add_row(shown(system), *_cells(mine, system, metrics), *count)
        tables.append(table)
    return tables


def _cells(mine: Mapping[tuple[str, str], Row], system: str, metrics: Sequence[str]) -> list[str]:
    cells = []
    for metric in metrics:
        row = mine.get((system, metric))
        cells.append("" if row is None else f"{row.median:.2f}")
        if metric == "usdr":
            cells.append("" if row is None else f"{row.low:.2f} to {row.high:.2f}")
    return cells


def group_table(
    kind: str, parts: Mapping[str, Sequence[Row]], systems: Sequence[str], stem: str
) -> Table:
    """Return a table with one row for each group of songs, such as a genre."""
    table = Table(title=f"{stem} by {kind}: median uSDR, dB", title_justify="left", box=SIMPLE_HEAD)
    table.add_column(kind)
    table.add_column("songs", justify="right", no_wrap=True)
    for system in systems:
        table.add_column(shown(system), justify="right")
    for group, rows in parts.items():
        found = {row.system: row for row in rows if (row.metric, row.stem) == ("usdr", stem)}
        cells = [f"{found[name].median:.2f}" if name in found else "" for name in systems]
        n_songs = max((row.n_songs for row in found.values()), default=0)
        table.add_row(shown(group), str(n_songs), *cells)
    return table


def comparison_line(c: Comparison) -> str:
    """Return a comparison as a sentence."""
    return shown(
        f"{c.stem} {c.metric}, {c.one} against {c.other}: {c.difference:+.2f} dB "
        f"({c.low:+.2f} to {c.high:+.2f}), p {c.p:.2g}, ahead on {c.n_better} of {c.n_songs} songs"
    )


def pictures(results: Sequence[SongResult], systems: Sequence[str]) -> dict[str, str]:
    """Return plots by caption: boxes of all systems, and the first system against each peer."""
    try:
        from viso.reports.plots.scores import boxes, scatter
    except ModuleNotFoundError:
        note_line(f"no plots in the report without the extra [plot]: {how_to_install('plot')}")
        return {}
    stems = dict.fromkeys(
        stem for result in results for figures in result.scores.values() for stem in figures
    )
    usdr = {
        (stem, system): {
            result.song: result.scores[system][stem]["usdr"]
            for result in results
            if stem in result.scores.get(system, {})
        }
        for stem in stems
        for system in dict.fromkeys(name for result in results for name in result.scores)
    }
    drawn = {}
    for stem in stems:
        rows = {
            shown(system): list(v.values()) for (name, system), v in usdr.items() if name == stem
        }
        drawn[f"uSDR of {stem}, a dot a song"] = boxes(rows, unit="uSDR, dB")
    for other in systems[1:]:
        for stem in stems:
            one, two = usdr[stem, other], usdr[stem, systems[0]]
            pairs = {song: (one[song], two[song]) for song in one if song in two}
            caption = f"uSDR of {stem}, a dot a song: {systems[0]} against {other}"
            drawn[caption] = scatter(
                pairs, x_label=shown(f"{other}, dB"), y_label=shown(f"{systems[0]}, dB")
            )
    return drawn
