"""What ``viso evaluate`` shows: tables in the terminal, pictures for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from viso.cli.console import note_line, shown
from viso.errors import how_to_install
from viso.evaluate import Comparison, Row, SongResult
from viso.separator import STEMS

__all__ = ["comparison_line", "group_table", "pictures", "stem_tables"]


_TABLES = (("usdr", "csdr", "si_sdr", "gnsdr"), ("sdr", "isr", "sir", "sar", "nsdr"))


def stem_tables(rows: Sequence[Row], stem: str) -> list[Table]:
    """Return a stem's figures, a row for each system, in tables that fit a narrow terminal."""
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
        table = Table(
            title=f"{stem}: medians over {max(counts.values())} songs, dB",
            title_justify="left",
            box=SIMPLE_HEAD,
        )
        table.add_column("system", no_wrap=True)
        for metric in metrics:
            table.add_column(metric, justify="right", no_wrap=True)
            if metric == "usdr":
                table.add_column("95 % interval", justify="right", no_wrap=True)
        # Medians over different songs are not to be compared.
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
    """Return a row for each group of songs, such as a genre."""
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
    """Draw boxes of all systems, and the first against each other one that is no bound."""
    try:
        from viso.reports.plots.scores import boxes, scatter
    except ModuleNotFoundError:
        note_line(f"no plots in the report without the extra [plot]: {how_to_install('plot')}")
        return {}
    usdr = {
        (stem, system): {
            result.song: result.scores[system][stem]["usdr"]
            for result in results
            if system in result.scores
        }
        for stem in STEMS
        for system in dict.fromkeys(name for result in results for name in result.scores)
    }
    drawn = {}
    for stem in STEMS:
        rows = {
            shown(system): list(v.values()) for (name, system), v in usdr.items() if name == stem
        }
        drawn[f"uSDR of {stem}, a dot a song"] = boxes(rows, unit="uSDR, dB")
    for other in systems[1:]:
        for stem in STEMS:
            one, two = usdr[stem, other], usdr[stem, systems[0]]
            pairs = {song: (one[song], two[song]) for song in one if song in two}
            caption = f"uSDR of {stem}, a dot a song: {systems[0]} against {other}"
            drawn[caption] = scatter(
                pairs, x_label=shown(f"{other}, dB"), y_label=shown(f"{systems[0]}, dB")
            )
    return drawn
