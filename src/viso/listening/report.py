"""What an analysis leaves behind: tables as CSV, all figures as JSON, a page to look at."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from viso._version import __version__
from viso.listening.analysis import Analysis, MeanRow
from viso.listening.statistics import Interval
from viso.pages import as_csv, page, table, write_texts

__all__ = ["as_summary", "write_report"]

_MEASURES = {"sdr": "SDR", "si_sdr": "SI-SDR"}


def as_summary(analysis: Analysis) -> dict[str, Any]:
    """Return all figures as plain objects for JSON; what is not defined is None."""
    told = {
        "viso": __version__,
        "test": analysis.test.id,
        "title": analysis.test.title,
        "kind": analysis.test.kind,
        "stem": analysis.test.stem,
        "n_listeners": analysis.n_listeners,
        "screened": [asdict(found) for found in analysis.screened],
        "means": [asdict(row) for row in analysis.means],
        "by_trial": [asdict(row) for row in analysis.by_trial],
        "by_listener": [asdict(row) for row in analysis.by_listener],
        "comparisons": [asdict(row) for row in analysis.comparisons],
        "correlations": {
            question: {
                measure: {
                    "pearson": found.pearson._asdict(),
                    "spearman": found.spearman._asdict(),
                    "n": found.n,
                }
                for measure, found in measures.items()
            }
            for question, measures in analysis.correlations.items()
        },
        "pairs": [asdict(row) for row in analysis.pairs],
    }
    told = {name: value for name, value in told.items() if value not in ([], {})}
    return dict(_defined(told))


def _defined(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _defined(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_defined(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_report(folder: Path, analysis: Analysis, *, pictures: Mapping[str, str]) -> list[Path]:
    """Write ``report.html``, which needs no other file, ``summary.json``, and tables as CSV.

    Of a MUSHRA test ``ratings.csv`` (a line a slider, listeners left out included), ``means.csv``
    and ``comparisons.csv``; of others ``pairs.csv``.

    Parameters
    ----------
    folder : Path
        Made if missing.
    analysis : Analysis
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
    texts = {"summary.json": json.dumps(as_summary(analysis), indent=1) + "\n"}
    if analysis.test.kind == "mushra":
        texts["ratings.csv"] = _csv(analysis.ratings)
        texts["means.csv"] = _csv((*analysis.means, *analysis.by_trial))
        texts["comparisons.csv"] = _csv(analysis.comparisons)
    else:
        texts["pairs.csv"] = _csv(analysis.pairs)
    texts["report.html"] = page(analysis.test.title, _parts(analysis, pictures))
    return write_texts(folder, texts)


def _csv(rows: Sequence[Any]) -> str:
    records = [asdict(row) for row in rows]
    return as_csv([*records[:1], *(map(_cell, record.values()) for record in records)])


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else ""
    return value


def _parts(analysis: Analysis, pictures: Mapping[str, str]) -> list[str]:
    test = analysis.test
    n_songs = len({trial.song for trial in test.rated})
    parts = [
        f"<p>{test.kind.upper() if test.kind != 'preference' else 'Preference test'}, stem "
        f"{test.stem}: {len(test.rated)} trials of {n_songs} songs, all stimuli at "
        f"{test.loudness_lufs:.1f} LUFS. {analysis.n_listeners} listeners"
        f"{_left_out(analysis)}. <small>test {test.id}, viso {__version__}</small></p>"
    ]
    if test.kind == "mushra":
        parts += _mushra_parts(analysis)
    else:
        parts += _pair_parts(analysis)
    for caption, picture in pictures.items():
        parts.append(f"<h2>{html.escape(caption)}</h2>{picture}")
    if test.kind == "mushra":
        parts.append(f"<h2>Listeners</h2>{_screening(analysis)}")
    return parts


def _left_out(analysis: Analysis) -> str:
    if analysis.test.kind != "mushra":
        return ""
    n_kept = sum(found.is_kept for found in analysis.screened)
    return f", of whom {n_kept} count: the others rate the hidden reference too low"


def _mushra_parts(analysis: Analysis) -> list[str]:
    parts = []
    for question in analysis.test.questions:
        rows = [row for row in analysis.means if row.question == question.name]
        parts.append(
            f"<h2>{html.escape(question.name.capitalize())}</h2>"
            f"<p>{html.escape(question.text)} 0 is {html.escape(question.low)}, 100 "
            f"{html.escape(question.high)}. Means over listeners, in grey the 95 % interval "
            f"(Student's t): what other listeners would say of these songs.</p>{_means(rows)}"
        )
        pairs = [pair for pair in analysis.comparisons if pair.question == question.name]
        if pairs:
            body = [
                [
                    f"{html.escape(c.one)} - {html.escape(c.other)}",
                    f"{c.difference:+.1f}",
                    f"{c.low:+.1f} to {c.high:+.1f}",
                    f"{c.p:.2g}",
                    f"{c.p_holm:.2g}",
                    f"{c.n_better} of {c.n_listeners}",
                ]
                for c in pairs
            ]
            head = ["systems", "mean difference", "95 %", "p", "p (Holm)", "higher for"]
            parts.append(
                "<p>Systems as the same listeners rated them; p by a permutation test over "
                "listeners, corrected by Holm for all pairs.</p>" + table(head, body)
            )
        parts += _correlation(analysis, question.name)
    return parts


def _means(rows: Sequence[MeanRow]) -> str:
    body = [
        [
            html.escape(row.condition),
            f'{row.mean:.1f}<br><span class="range">{row.low:.1f} to {row.high:.1f}</span>',
            str(row.n),
        ]
        for row in rows
    ]
    return table(["condition", "mean", "listeners"], body)


def _correlation(analysis: Analysis, question: str) -> list[str]:
    found = analysis.correlations.get(question)
    if not found:
        return []
    body = [
        [_MEASURES[measure], _told(row.pearson), _told(row.spearman), str(row.n)]
        for measure, row in found.items()
    ]
    return [
        "<p>Ratings beside what is measured of the same excerpts; intervals by a bootstrap over "
        "songs.</p>" + table(["measure", "Pearson", "Spearman", "points"], body)
    ]


def _told(found: Interval) -> str:
    if not math.isfinite(found.value):
        return ""
    if not math.isfinite(found.low):
        return f"{found.value:.2f}"
    return f'{found.value:.2f}<br><span class="range">{found.low:.2f} to {found.high:.2f}</span>'


def _pair_parts(analysis: Analysis) -> list[str]:
    is_abx = analysis.test.kind == "abx"
    body = [
        [
            f"{html.escape(row.one)} / {html.escape(row.other)}",
            f"{100 * row.share:.0f} %<br>"
            f'<span class="range">{100 * row.low:.0f} to {100 * row.high:.0f} %</span>',
            f"{row.p:.2g}",
            f"{row.p_holm:.2g}",
            str(row.n_answers),
            str(row.n_undecided),
            str(row.n_listeners),
        ]
        for row in analysis.pairs
    ]
    told = (
        "Right answers; 50 % is guessing. p is that of guessing as well or better."
        if is_abx
        else "The part that prefers the first; undecided answers count half for each. p is that "
        "of a permutation test over listeners."
    )
    share = "right" if is_abx else "prefer the first"
    head = ["pair", share, "p", "p (Holm)", "answers", "undecided", "listeners"]
    return [f"<h2>Pairs</h2><p>{told}</p>{table(head, body)}"]


def _screening(analysis: Analysis) -> str:
    body = [
        [
            html.escape(found.listener),
            "counts" if found.is_kept else "<b>left out</b>",
            f"{found.n_missed} of {found.n_trials}",
            f"{found.n_anchor} of {found.n_anchor_trials}",
        ]
        for found in analysis.screened
    ]
    head = ["listener", "", "hidden reference below 90", "7 kHz anchor above 90"]
    return (
        "<p>Post-screening by ITU-R BS.1534-3: who rates the hidden reference below 90 in more "
        "than 15 % of the trials is left out.</p>" + table(head, body)
    )
