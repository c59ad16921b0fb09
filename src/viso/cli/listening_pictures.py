"""The pictures of a listening test's report; one sign for each condition in all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from viso.cli.console import note_line, shown
from viso.errors import how_to_install
from viso.listening import Analysis, MeanRow, conditions_of

__all__ = ["pictures_of"]

Bounds = tuple[float, float, float]


def pictures_of(analysis: Analysis) -> dict[str, str]:
    """Return SVG by caption; nothing without the extra ``[listen]``, which is said."""
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
            told = [(shown(system), x, y) for system, x, y in points]
            drawn[f"{name}: beside SDR, a dot a trial and system"] = cloud(
                told, x_label="SDR of the excerpt, dB", y_label=unit, signs=signs
            )
    return drawn


def _ratings(analysis: Analysis, question: str) -> dict[str, list[float]]:
    """Return all ratings that count by condition."""
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
    """Return means by condition, then by what they are of, in the labels' order."""
    found: dict[str, dict[str, Bounds]] = {}
    for of, label in labels.items():
        for row in rows:
            if row.question == question and row.of == of:
                bounds = (row.mean, row.low, row.high)
                found.setdefault(shown(row.condition), {})[shown(label)] = bounds
    return found
