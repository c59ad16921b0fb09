"""The files of an evaluation: a table of songs, a summary and an HTML page."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from viso._version import __version__
from viso.config import parse_json
from viso.errors import ConfigError
from viso.evaluate.run import SongResult
from viso.evaluate.scoring import METRICS
from viso.evaluate.songs import singer_of
from viso.evaluate.tables import Comparison, Row, stems_among
from viso.reports.html import as_csv, page, table, write_texts

__all__ = ["as_records", "check_folder", "songs_csv", "write_report"]

_FILES = ("songs.csv", "summary.json", "report.html")
_FACTS = ("song", "singer", "genre", "duration_s", "system", "stem")


def check_folder(folder: Path) -> None:
    """Raise if a report would replace files in the folder that do not belong to a report.

    Raises
    ------
    ConfigError
        If it would; the message names the file.
    """
    found = [folder / name for name in _FILES if (folder / name).exists()]
    if found and not (_is_summary(folder / "summary.json") or _is_table(folder / "songs.csv")):
        raise ConfigError(
            f"{found[0]}: was not made by viso evaluate; choose an empty or a new folder with --out"
        )


def _is_summary(path: Path) -> bool:
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"viso", "rows"} <= content.keys()


def _is_table(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            return lines.readline(200).startswith(",".join(_FACTS))
    except OSError:
        return False


def as_records(rows: Sequence[Row], *, kind: str = "", group: str = "") -> list[dict[str, object]]:
    """Return rows as plain objects for JSON, with their group (such as a genre) if there is one."""
    extra = {kind: group} if kind else {}
    return [{**asdict(row), **extra} for row in rows]


def songs_csv(results: Sequence[SongResult], genres: Mapping[str, str]) -> str:
    """Return CSV with a line per song, system and stem; undefined figures are empty."""
    metrics = _metrics(results)
    rows: list[list[str]] = [[*_FACTS, *metrics]]
    for result in results:
        facts = [result.song, singer_of(result.song) or "", genres.get(result.song, "")]
        for system, stems in result.scores.items():
            for stem, figures in stems.items():
                values = [_figure(figures.get(metric), 4) for metric in metrics]
                rows.append([*facts, f"{result.duration_s:.2f}", system, stem, *values])
    return as_csv(rows)


def _metrics(results: Sequence[SongResult]) -> list[str]:
    seen = {
        metric
        for result in results
        for stems in result.scores.values()
        for values in stems.values()
        for metric in values
    }
    return [metric for metric in METRICS if metric in seen]


def _figure(value: float | None, digits: int) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def write_report(
    folder: Path,
    results: Sequence[SongResult],
    *,
    title: str,
    rows: Sequence[Row],
    groups: Mapping[str, Mapping[str, Sequence[Row]]],
    comparisons: Sequence[Comparison],
    genres: Mapping[str, str],
    pictures: Mapping[str, str],
) -> list[Path]:
    """Write ``songs.csv``, ``summary.json`` and the self-contained ``report.html``.

    Parameters
    ----------
    folder : Path
        Created if missing.
    results : sequence of SongResult
    title : str
    rows : sequence of Row
        See `summary`.
    groups : mapping of str to mapping of str to sequence of Row
        For each kind of group, such as "genre": the result of `by_group`.
    comparisons : sequence of Comparison
    genres : mapping of str to str
        Genre by song.
    pictures : mapping of str to str
        SVG by caption.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    ConfigError
        If a file cannot be written.
    """
    records = as_records(rows)
    for kind, parts in groups.items():
        for group, part in parts.items():
            records += as_records(part, kind=kind, group=group)
    summary = {
        "viso": __version__,
        "title": title,
        "rows": records,
        "comparisons": [asdict(comparison) for comparison in comparisons],
    }
    content = _page(title, rows, groups, comparisons, pictures, n_songs=len(results))
    texts = {
        "songs.csv": songs_csv(results, genres),
        "summary.json": json.dumps(summary, indent=1) + "\n",
        "report.html": content,
    }
    return write_texts(folder, texts)


def _page(
    title: str,
    rows: Sequence[Row],
    groups: Mapping[str, Mapping[str, Sequence[Row]]],
    comparisons: Sequence[Comparison],
    pictures: Mapping[str, str],
    *,
    n_songs: int,
) -> str:
    parts = [
        f"<p>{n_songs} songs. Medians over songs in dB (bleedless, fullness: 0 to 100), higher is "
        "better; in grey the bootstrap 95 % interval of the median. "
        f"<small>viso {__version__}</small></p>",
    ]
    names = stems_among(rows)
    parts += [f"<h2>{stem.capitalize()}</h2>{_stem_table(rows, stem)}" for stem in names]
    if comparisons:
        parts.append(f"<h2>Song by song</h2>{_comparison_table(comparisons)}")
    for caption, picture in pictures.items():
        parts.append(f"<h2>{html.escape(caption)}</h2>{picture}")
    for kind, tables in groups.items():
        parts.append(f"<h2>By {kind}: median uSDR</h2>{_group_table(kind, tables)}")
    content = "".join(f"<li><b>{name}</b>: {what}</li>" for name, what in METRICS.items())
    parts.append(f"<h2>Metrics</h2><ul>{content}</ul>")
    if any(row.metric == "sir" for row in rows):
        parts.append(
            "<p>Of songs coded with loss, which have bands without any sound, isr, sir and sar say "
            "little: there nearly any filter fits.</p>"
        )
    return page(title, parts)


def _stem_table(rows: Sequence[Row], stem: str) -> str:
    mine = {(row.system, row.metric): row for row in rows if row.stem == stem}
    metrics = [metric for metric in METRICS if any(key[1] == metric for key in mine)]
    body = []
    for system in dict.fromkeys(system for system, _ in mine):
        cells = [html.escape(system)]
        for metric in metrics:
            row = mine.get((system, metric))
            cells.append(
                ""
                if row is None
                else f"{row.median:.2f}<br>"
                f'<span class="range">{row.low:.2f} to {row.high:.2f}</span>'
            )
        n_songs = max(row.n_songs for (name, _), row in mine.items() if name == system)
        body.append([*cells, str(n_songs)])
    return table(["system", *metrics, "songs"], body)


def _comparison_table(comparisons: Sequence[Comparison]) -> str:
    body = [
        [
            f"{html.escape(c.one)} - {html.escape(c.other)}",
            c.stem,
            c.metric,
            f"{c.difference:+.2f}",
            f"{c.low:+.2f} to {c.high:+.2f}",
            f"{c.p:.2g}",
            f"{c.n_better} of {c.n_songs}",
        ]
        for c in comparisons
    ]
    head = ["systems", "stem", "metric", "median difference", "95 %", "p", "ahead on"]
    return table(head, body)


def _group_table(kind: str, tables: Mapping[str, Sequence[Row]]) -> str:
    systems = list(dict.fromkeys(row.system for rows in tables.values() for row in rows))
    head = [kind, "songs"]
    names = stems_among(row for rows in tables.values() for row in rows)
    head += [
        f"{html.escape(system)}<br><small>{stem}</small>" for stem in names for system in systems
    ]
    body = []
    for group, rows in tables.items():
        found = {(row.stem, row.system): row for row in rows if row.metric == "usdr"}
        n_songs = max((row.n_songs for row in found.values()), default=0)
        cells = [
            f"{found[stem, system].median:.2f}" if (stem, system) in found else ""
            for stem in names
            for system in systems
        ]
        body.append([html.escape(group), str(n_songs), *cells])
    return table(head, body)
