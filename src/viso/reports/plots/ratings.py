"""Pictures of a listening test, as SVG text: means, quartiles, ratings against a measure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from viso.reports.plots.scores import as_svg

__all__ = ["Sign", "boxes", "cloud", "intervals", "signs_of"]

# Signs differ in shape too, for readers who do not see all colours. The lists have 8 and 7 entries,
# so that 56 signs differ.
_COLOURS = ("#3b5bdb", "#d9480f", "#2b8a3e", "#9c36b5", "#0b7285", "#a61e4d", "#5f3dc4", "#66510a")
_MARKS = "osD^vP*"

Bounds = tuple[float, float, float]


class Sign(NamedTuple):
    """How every picture of a report draws a condition."""

    colour: str
    mark: str


_PLAIN = Sign(_COLOURS[0], _MARKS[0])


def signs_of(names: Sequence[str]) -> dict[str, Sign]:
    """Return a sign for every name, assigned in order.

    >>> signs_of(["viso"])["viso"].mark
    'o'
    """
    return {
        name: Sign(_COLOURS[i % len(_COLOURS)], _MARKS[i % len(_MARKS)])
        for i, name in enumerate(names)
    }


def intervals(
    series: Mapping[str, Mapping[str, Bounds]],
    *,
    unit: str,
    limits: tuple[float, float],
    signs: Mapping[str, Sign] | None = None,
) -> str:
    """Draw values with their intervals: a row for each item, a sign for each series.

    Parameters
    ----------
    series : mapping of str to mapping of str to (value, low, high)
        By series, then by row. Bounds that are not finite are left out.
    unit : str
        Label of the axis.
    limits : (float, float)
        Ends of the axis.
    signs : mapping of str to Sign, optional
        Sign of each series.

    Returns
    -------
    str
        An ``<svg>`` element.
    """
    signs = signs or {}
    rows = list(dict.fromkeys(row for values in series.values() for row in values))
    # The series of a row stand side by side; a single series stands in the middle.
    beside = {row: [name for name, values in series.items() if row in values] for row in rows}
    n_beside = max(map(len, beside.values()), default=1)
    step = 0.7 / n_beside
    figure, ax = _rows(rows, height=max(0.42, 0.14 * n_beside + 0.1))
    for name, values in series.items():
        sign = signs.get(name, _PLAIN)
        at = [
            rows.index(row) + (beside[row].index(name) - (len(beside[row]) - 1) / 2) * step
            for row in values
        ]
        middle = [value for value, _, _ in values.values()]
        ax.plot(middle, at, sign.mark, color=sign.colour, markersize=6, label=name, clip_on=False)
        for place, (_, low, high) in zip(at, values.values(), strict=True):
            if math.isfinite(low) and math.isfinite(high):
                ax.plot([low, high], [place, place], color=sign.colour, linewidth=2)
    ax.set_xlim(*limits)
    ax.set_xlabel(unit, parse_math=False)
    if n_beside > 1:
        _legend(figure, list(series))
    return as_svg(figure, ax)


def boxes(
    values: Mapping[str, Sequence[float]],
    *,
    unit: str,
    limits: tuple[float, float],
    signs: Mapping[str, Sign] | None = None,
) -> str:
    """Draw a box plot: a row for each condition.

    The box spans the quartiles; the line in it is the median. Whiskers end at the last values
    within 1.5 box lengths (Tukey). Values beyond them are drawn one by one.

    Parameters
    ----------
    values : mapping of str to sequence of float
        Values by condition, at least one each.
    unit, limits, signs
        See `intervals`.

    Returns
    -------
    str
        An ``<svg>`` element.
    """
    signs = signs or {}
    figure, ax = _rows(list(values), height=0.5)
    for place, (name, given) in enumerate(values.items()):
        sign = signs.get(name, _PLAIN)
        found = np.sort(np.asarray(given, dtype=np.float64))
        lower, median, upper = np.percentile(found, [25, 50, 75])
        reach = 1.5 * (upper - lower)
        within = found[(found >= lower - reach) & (found <= upper + reach)]
        ax.plot([within[0], within[-1]], [place, place], color=sign.colour, linewidth=1.5)
        box = Rectangle((lower, place - 0.28), upper - lower, 0.56, facecolor="#ffffff",
                        edgecolor=sign.colour, linewidth=1.5, zorder=2)  # fmt: skip
        ax.add_patch(box)
        ax.plot([median, median], [place - 0.28, place + 0.28], color=sign.colour, linewidth=3)
        beyond = found[(found < lower - reach) | (found > upper + reach)]
        ax.plot(beyond, np.full(beyond.size, place), sign.mark, color=sign.colour, markersize=4,
                alpha=0.6, clip_on=False)  # fmt: skip
    ax.set_xlim(*limits)
    ax.set_xlabel(unit, parse_math=False)
    return as_svg(figure, ax)


def cloud(
    points: Sequence[tuple[str, float, float]],
    *,
    x_label: str,
    y_label: str,
    signs: Mapping[str, Sign] | None = None,
) -> str:
    """Draw points, with one sign per system.

    Parameters
    ----------
    points : sequence of (system, x, y)
    x_label, y_label : str
    signs : mapping of str to Sign, optional
        Sign of each system.

    Returns
    -------
    str
        An ``<svg>`` element.
    """
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    ax = figure.subplots()
    systems = list(dict.fromkeys(system for system, _, _ in points))
    signs = signs or signs_of(systems)
    for system in systems:
        mine = [(x, y) for name, x, y in points if name == system]
        sign = signs.get(system, _PLAIN)
        ax.plot(
            *zip(*mine, strict=True),
            sign.mark,
            color=sign.colour,
            markersize=6,
            alpha=0.85,
            label=system,
        )
    ax.set_xlabel(x_label, parse_math=False)
    ax.set_ylabel(y_label, parse_math=False)
    ax.set_ylim(0, 100)
    _legend(figure, systems)
    return as_svg(figure, ax)


def _rows(names: Sequence[str], *, height: float) -> tuple[Figure, Axes]:
    """Return an empty picture with a row of `height` inches per name, from top to bottom."""
    figure = Figure(figsize=(9, 1.2 + height * max(1, len(names))), layout="constrained")
    ax = figure.subplots()
    ax.set_yticks(range(len(names)), names)
    for label in ax.get_yticklabels():
        label.set_parse_math(False)
    ax.set_ylim(len(names) - 0.4, -0.6)
    return figure, ax


def _legend(figure: Figure, names: Sequence[str]) -> None:
    legend = figure.legend(loc="outside upper left", ncols=min(4, len(names)), frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
