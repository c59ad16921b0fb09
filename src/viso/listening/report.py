"""The files of an analysis: tables as CSV, all figures as JSON, and an HTML page."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from viso._version import __version__
from viso.config import parse_json
from viso.errors import ConfigError
from viso.listening.analysis import Analysis
from viso.listening.caveats import caveats
from viso.listening.rows import MeanRow, QuartileRow
from viso.listening.statistics import FEWEST_GROUPS, Interval
from viso.reports.html import as_csv, page, table, write_texts

__all__ = ["as_summary", "write_report"]

_MEASURES = {"sdr": "SDR", "si_sdr": "SI-SDR"}


def as_summary(analysis: Analysis) -> dict[str, Any]:
    """Return all figures as plain objects for JSON; what is not defined is None."""
    summary = {
        "viso": __version__,
        "test": analysis.test.id,
        "title": analysis.test.title,
        "kind": analysis.test.kind,
        "stem": analysis.test.stem,
        "n_listeners": analysis.n_listeners,
        "caveats": caveats(analysis),
        "screened": [asdict(found) for found in analysis.screened],
        "means": [asdict(row) for row in analysis.means],
        "quartiles": [asdict(row) for row in analysis.quartiles],
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
    summary = {name: value for name, value in summary.items() if value not in ([], {})}
    return dict(_defined(summary))


def _defined(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _defined(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_defined(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_report(folder: Path, analysis: Analysis, *, pictures: Mapping[str, str]) -> list[Path]:
    """Write the self-contained ``report.html``, ``summary.json``, and tables as CSV.

    A MUSHRA test gets ``ratings.csv`` (a line per slider, also of listeners who are left out),
    ``means.csv``, ``quartiles.csv`` and ``comparisons.csv``; other tests get ``pairs.csv``.

    Parameters
    ----------
    folder : Path
        Created if missing. An earlier report in it is replaced.
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
        If a file cannot be written, or the folder holds anything but a report.
    """
    _check_folder(folder)
    texts = {"summary.json": json.dumps(as_summary(analysis), indent=1) + "\n"}
    if analysis.test.kind == "mushra":
        texts["ratings.csv"] = _csv(analysis.ratings)
        texts["means.csv"] = _csv((*analysis.means, *analysis.by_trial))
        texts["quartiles.csv"] = _csv(analysis.quartiles)
        texts["comparisons.csv"] = _csv(analysis.comparisons)
    else:
        texts["pairs.csv"] = _csv(analysis.pairs)
    texts["report.html"] = page(analysis.test.title, _parts(analysis, pictures))
    return write_texts(folder, texts)


def _check_folder(folder: Path) -> None:
    """Raise if the folder holds anything but a report: its files could have the same names."""
    try:
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return
        found = parse_json((folder / "summary.json").read_text(encoding="utf-8"))
        if isinstance(found, dict) and {"viso", "test", "kind"} <= set(found):
            return
    except (OSError, ValueError):
        pass
    raise ConfigError(
        f"{folder}: not empty and no report of viso listen; name another folder for the report"
    )


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
    parts += [f"<p><b>Note:</b> {html.escape(caveat)}</p>" for caveat in caveats(analysis)]
    if test.kind == "mushra" and not analysis.n_kept:
        # The screening comes first, as it explains the missing results.
        return [*parts, _screening(analysis), *_shown(pictures)]
    if test.kind == "mushra":
        parts += _mushra_parts(analysis)
    else:
        parts += _pair_parts(analysis)
    parts += _shown(pictures)
    if test.kind == "mushra":
        parts.append(_screening(analysis))
    return parts


def _shown(pictures: Mapping[str, str]) -> list[str]:
    return [f"<h2>{html.escape(name)}</h2>{picture}" for name, picture in pictures.items()]


def _left_out(analysis: Analysis) -> str:
    if analysis.test.kind != "mushra":
        return ""
    if analysis.n_kept == analysis.n_listeners:
        return ", who all count"
    n_kept = analysis.n_kept
    return f", of whom {n_kept or 'none'} count{'' if n_kept else 's'}; see Listeners"


def _mushra_parts(analysis: Analysis) -> list[str]:
    parts = []
    for question in analysis.test.questions:
        rows = [row for row in analysis.means if row.question == question.name]
        parts.append(
            f"<h2>{html.escape(question.name.capitalize())}</h2>"
            f"<p>{html.escape(question.text)} 0 is {html.escape(question.low)}, 100 "
            f"{html.escape(question.high)}. Means over listeners, in grey the 95 % interval "
            "(Student's t): what other listeners would say of these songs. Median and quartiles "
            "are those of all ratings, one for each listener and trial.</p>"
            f"{_means(rows, analysis.quartiles)}"
        )
        pairs = [pair for pair in analysis.comparisons if pair.question == question.name]
        if pairs:
            body = [
                [
                    f"{html.escape(c.one)} - {html.escape(c.other)}",
                    f"{c.difference:+.1f}",
                    f"{c.low:+.1f} to {c.high:+.1f}" if math.isfinite(c.low) else "",
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


def _means(rows: Sequence[MeanRow], quartiles: Sequence[QuartileRow]) -> str:
    of = {(row.question, row.condition): row for row in quartiles}
    body = []
    for row in rows:
        found = of[row.question, row.condition]
        body.append(
            [
                html.escape(row.condition),
                _format_interval(Interval(row.mean, row.low, row.high), digits=1),
                f"{found.median:.1f}",
                f"{found.lower_quartile:.1f} to {found.upper_quartile:.1f}",
                str(row.n),
                str(found.n),
            ]
        )
    return table(["condition", "mean", "median", "quartiles", "listeners", "ratings"], body)


def _correlation(analysis: Analysis, question: str) -> list[str]:
    found = analysis.correlations.get(question)
    if not found:
        return []
    body = [
        [
            _MEASURES[measure],
            _format_interval(row.pearson),
            _format_interval(row.spearman),
            str(row.n),
        ]
        for measure, row in found.items()
    ]
    return [
        "<p>Ratings beside what is measured of the same excerpts. The 95 % intervals are over "
        f"songs (jackknife); with fewer than {FEWEST_GROUPS} songs there is none.</p>"
        + table(["measure", "Pearson", "Spearman", "points"], body)
    ]


def _format_interval(found: Interval, *, digits: int = 2) -> str:
    if not math.isfinite(found.value):
        return ""
    value, low, high = (f"{figure:.{digits}f}" for figure in found)
    if not math.isfinite(found.low):
        return value
    return f'{value}<br><span class="range">{low} to {high}</span>'


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
    summary = (
        "Right answers; 50 % is guessing. p is that of guessing as well or better."
        if is_abx
        else "The part that prefers the first; undecided answers count half for each. p is that "
        "of a permutation test over listeners."
    )
    share = "right" if is_abx else "prefer the first"
    head = ["pair", share, "p", "p (Holm)", "answers", "undecided", "listeners"]
    return [f"<h2>Pairs</h2><p>{summary}</p>{table(head, body)}"]


def _screening(analysis: Analysis) -> str:
    body = [
        [
            html.escape(found.listener),
            "counts" if found.is_kept else "<b>left out</b>",
            f"{found.n_missed} of {found.n_trials}",
            f"{found.n_anchor} of {found.n_anchor_trials}",
            html.escape("; ".join(found.reasons)),
        ]
        for found in sorted(analysis.screened, key=lambda found: found.is_kept)
    ]
    head = ["listener", "", "hidden reference below 90", "7 kHz anchor above 90", "why left out"]
    return (
        "<h2>Listeners</h2><p>Post-screening by ITU-R BS.1534-3: who rates the hidden reference "
        "below 90 in more than 15 % of the trials is left out.</p>" + table(head, body)
    )
