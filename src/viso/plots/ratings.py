"""Pictures of a listening test, as SVG text: means with intervals, ratings against a measure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from viso.plots.scores import as_svg

__all__ = ["cloud", "intervals"]

# Told apart by shape too, for those who do not see all colours.
_COLOURS = ("#3b5bdb", "#d9480f", "#2b8a3e", "#9c36b5", "#0b7285", "#a61e4d", "#5f3dc4", "#66510a")
_MARKS = "osD^vP*X"

Bounds = tuple[float, float, float]


def intervals(
    series: Mapping[str, Mapping[str, Bounds]], *, unit: str, limits: tuple[float, float]
) -> str:
    """Draw values with their intervals: a row for each thing, a colour for each series.

    Parameters
    ----------
    series : mapping of str to mapping of str to (value, low, high)
        By series, then by row; bounds that are not finite are left out.
    unit : str
        Says what is drawn.
    limits : (float, float)
        Ends of the axis.

    Returns
    -------
    str
        An ``<svg>`` element.
    """
    rows = list(dict.fromkeys(row for values in series.values() for row in values))
    step = 0.7 / max(1, len(series))
    height = max(0.42, 0.14 * len(series) + 0.1)
    figure = Figure(figsize=(9, 1.2 + height * max(1, len(rows))), layout="constrained")
    ax = figure.subplots()
    for index, (name, values) in enumerate(series.items()):
        colour, mark = _COLOURS[index % len(_COLOURS)], _MARKS[index % len(_MARKS)]
        offset = (index - (len(series) - 1) / 2) * step
        at = [rows.index(row) + offset for row in values]
        middle = [value for value, _, _ in values.values()]
        ax.plot(middle, at, mark, color=colour, markersize=6, label=name, clip_on=False)
        for place, (_, low, high) in zip(at, values.values(), strict=True):
            if math.isfinite(low) and math.isfinite(high):
                ax.plot([low, high], [place, place], color=colour, linewidth=2)
    ax.set_yticks(range(len(rows)), rows)
    for label in ax.get_yticklabels():
        label.set_parse_math(False)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlim(*limits)
    ax.set_xlabel(unit)
    if len(series) > 1:
        _legend(figure, list(series))
    return as_svg(figure, ax)


def cloud(points: Sequence[tuple[str, float, float]], *, x_label: str, y_label: str) -> str:
    """Draw points, a colour for each system.

    Parameters
    ----------
    points : sequence of (system, x, y)
    x_label, y_label : str

    Returns
    -------
    str
        An ``<svg>`` element.
    """
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    ax = figure.subplots()
    systems = list(dict.fromkeys(system for system, _, _ in points))
    for index, system in enumerate(systems):
        mine = [(x, y) for name, x, y in points if name == system]
        ax.plot(
            *zip(*mine, strict=True),
            _MARKS[index % len(_MARKS)],
            color=_COLOURS[index % len(_COLOURS)],
            markersize=6,
            alpha=0.85,
            label=system,
        )
    ax.set_xlabel(x_label, parse_math=False)
    ax.set_ylabel(y_label, parse_math=False)
    ax.set_ylim(0, 100)
    _legend(figure, systems)
    return as_svg(figure, ax)


def _legend(figure: Figure, names: Sequence[str]) -> None:
    legend = figure.legend(loc="outside upper left", ncols=min(4, len(names)), frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
