"""What was measured as medians, ratios, a JSON file, and a table for a terminal or a page."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from peers.scores import STEMS, differences, medians
from peers.systems import BASE

Record = dict[str, Any]


class Column(NamedTuple):
    """One measure: its key, what stands above it, its unit in those of the JSON, decimals."""

    key: str
    heading: str
    unit: float
    decimals: int


COLUMNS = (
    Column("times_real_time", "times real time", 1, 1),
    Column("peak_bytes", "peak memory, MB", 1e6, 0),
    Column("start_up_s", "1 s of song, s", 1, 2),
    Column("installed_bytes", "installed, MB", 1e6, 0),
    Column("n_packages", "packages", 1, 0),
    Column("weights_bytes", "weights, MB", 1e6, 1),
    Column("parameters", "parameters, M", 1e6, 1),
)


def summarise(record: Record, *, song_s: float) -> dict[str, float]:
    """Return the figures of one system: medians of its runs, sizes, scores.

    Parameters
    ----------
    record : dict
        With ``runs``, the runs of ``song`` and ``second``, and whatever else is known of it.
    song_s : float
        Length of the song in seconds.
    """
    figures: dict[str, float] = {}
    runs = record.get("runs", {})
    if runs.get("song"):
        took_s = statistics.median(run["seconds"] for run in runs["song"])
        figures["times_real_time"] = song_s / took_s
        figures["real_time_factor"] = took_s / song_s
        figures["busy_s"] = statistics.median(run["busy_s"] for run in runs["song"])
        figures["peak_bytes"] = statistics.median(run["peak_bytes"] for run in runs["song"])
    if runs.get("second"):
        figures["start_up_s"] = statistics.median(run["seconds"] for run in runs["second"])
    for key in ("installed_bytes", "n_packages", "weights_bytes", "parameters"):
        if record.get(key) is not None:
            figures[key] = record[key]
    if record.get("scores"):
        for stem, value in medians(record["scores"]).items():
            figures[f"{stem}_usdr"] = value
    return figures


def ratios(figures: Mapping[str, float], base: Mapping[str, float]) -> dict[str, float]:
    """Return each figure over that of `base`; decibels have no ratios."""
    keys = [key for key in figures if base.get(key) and not key.endswith("_usdr")]
    return {key: figures[key] / base[key] for key in keys}


def complete(report: Record) -> Record:
    """Add to every system of a report its figures, and its ratios and distances to viso."""
    records = report["systems"]
    for record in records:
        record["figures"] = summarise(record, song_s=report["song_s"])
    base = next((record for record in records if record["name"] == BASE), None)
    for record in records:
        record["ratio_to_viso"] = ratios(record["figures"], base["figures"]) if base else {}
        if base and base.get("scores") and record.get("scores"):
            record["db_above_viso"] = differences(record["scores"], base["scores"])
    return report


def write_json(report: Record, path: Path) -> None:
    """Write a report; one that is there is replaced when the new one is whole."""
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    beside.replace(path)


def read_json(path: Path) -> Record:
    """Read what `write_json` has written."""
    report: Record = json.loads(path.read_text(encoding="utf-8"))
    return report


def rows(report: Record) -> list[list[str]]:
    """Return the table as text, the headings first.

    In brackets stand the ratios to viso, and of uSDR the median over songs of the difference.
    """
    headings = [column.heading for column in COLUMNS] + [f"{stem}, dB uSDR" for stem in STEMS]
    return [["", *headings]] + [_row(record) for record in report["systems"]]


def remarks(report: Record) -> list[str]:
    """Return what must be said below the table."""
    machine, lines = report["machine"], []
    lines.append(
        f"{machine['cpu']}, {machine['cores']} cores, {report['date']}, load before the run "
        f"{machine['load']:.2f}; a song of "
        f"{report['song_s']:g} s, FLAC to two sound files, start of the process included; medians "
        f"of {report['repeats']}, the systems in turn; in brackets relative to viso."
    )
    torches = {record.get("packages", {}).get("torch") for record in report["systems"]} - {None}
    lines.append(
        "Installed: all of the environment's site-packages but pip and setuptools"
        + (f"; torch is {', '.join(sorted(torches))}." if torches else ".")
    )
    if any(record.get("scores") for record in report["systems"]):
        n_songs = max(len(record.get("scores") or ()) for record in report["systems"])
        lines.append(
            f"uSDR: median over {n_songs} songs, in brackets of the difference to viso song by "
            "song; instrumental = mixture minus vocals for all."
        )
    if machine["limits"]:
        said = ", ".join(f"{key}={value}" for key, value in machine["limits"].items())
        lines.append(f"NOT A FAIR RUN: {said} held back some of the systems.")
    for record in report["systems"]:
        if record.get("error"):
            lines.append(f"{record['label']}: not measured ({record['error']}).")
        lines += [f"{record['label']}: {note}." for note in record["notes"]]
    return lines


def as_text(report: Record) -> str:
    """Return the table for a terminal, and what must be said."""
    table = rows(report)
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = []
    for row in table:
        first, *rest = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        numbers = [cell.strip().rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join([first, *numbers]).rstrip())
    return "\n".join([*lines, "", *remarks(report)])


def as_markdown(report: Record) -> str:
    """Return the table as GitHub reads it, and what must be said as a list."""
    table = [[cell.replace("|", "\\|") for cell in row] for row in rows(report)]
    lines = [_markdown_row(table[0]), _markdown_row(["---", *["---:"] * (len(table[0]) - 1)])]
    lines += [_markdown_row(row) for row in table[1:]]
    flat = (" ".join(remark.split()) for remark in remarks(report))
    return "\n".join([*lines, "", *(f"- {remark}" for remark in flat)])


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _row(record: Record) -> list[str]:
    cells = [record["label"]]
    is_base = record["name"] == BASE
    for column in COLUMNS:
        value = record["figures"].get(column.key)
        ratio = record["ratio_to_viso"].get(column.key)
        cell = "" if value is None else f"{value / column.unit:,.{column.decimals}f}"
        cells.append(cell if ratio is None or is_base else f"{cell} ({ratio:.3g}x)")
    for stem in STEMS:
        value = record["figures"].get(f"{stem}_usdr")
        above = record.get("db_above_viso", {}).get(stem)
        cell = "" if value is None else f"{value:.2f}"
        cells.append(cell if above is None or is_base else f"{cell} ({above:+.2f})")
    return cells
