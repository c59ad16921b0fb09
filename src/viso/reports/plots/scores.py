"""Pictures of scores, as SVG text for a page: boxes of systems, one against another."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

__all__ = ["INK", "LIGHT", "as_svg", "boxes", "scatter"]

INK, LIGHT, MAIN = "#1b1b2f", "#e4e4ee", "#3b5bdb"


def boxes(values: Mapping[str, Sequence[float]], *, unit: str) -> str:
    """Draw a box for each system and a point for each song.

    The box shows median and quartiles. Whiskers reach up to 1.5 times the quartiles' distance.

    Parameters
    ----------
    values : mapping of str to sequence of float
        A figure for each song, by system. Systems without figures are left out.
    unit : str
        Label of the axis.

    Returns
    -------
    str
        An ``<svg>`` element.
    """
    shown = {name: finite for name, row in values.items() if (finite := _finite(row))}
    figure = Figure(figsize=(9, 0.9 + 0.5 * max(1, len(shown))), layout="constrained")
    ax = figure.subplots()
    if shown:
        ax.boxplot(
            list(shown.values())[::-1],
            orientation="horizontal",
            tick_labels=list(shown)[::-1],
            widths=0.55,
            showfliers=False,
            medianprops={"color": MAIN, "linewidth": 2.5},
        )
        random = np.random.default_rng(0)
        for height, row in enumerate(list(shown.values())[::-1], 1):
            at = height + random.uniform(-0.16, 0.16, len(row))
            ax.plot(row, at, ".", color=INK, alpha=0.45, markersize=5)
        for label in ax.get_yticklabels():
            label.set_parse_math(False)
    ax.set_xlabel(unit)
    return as_svg(figure, ax)


def scatter(pairs: Mapping[str, tuple[float, float]], *, x_label: str, y_label: str) -> str:
    """Draw a point for each song; above the line the second system is better.

    Parameters
    ----------
    pairs : mapping of str to (float, float)
        Figures of both systems, by song.
    x_label, y_label : str

    Returns
    -------
    str
        An ``<svg>`` element.
    """
    shown = {song: pair for song, pair in pairs.items() if len(_finite(pair)) == 2}
    figure = Figure(figsize=(5.4, 5.2), layout="constrained")
    ax = figure.subplots()
    if shown:
        x, y = np.array(list(shown.values())).T
        low, high = min(x.min(), y.min()) - 0.5, max(x.max(), y.max()) + 0.5
        ax.plot([low, high], [low, high], color=LIGHT, linewidth=2, zorder=0)
        ax.plot(x, y, "o", color=MAIN, markersize=6, alpha=0.8)
        ax.set_xlim(low, high)
        ax.set_ylim(low, high)
    ax.set_aspect("equal")
    ax.set_xlabel(x_label, parse_math=False)
    ax.set_ylabel(y_label, parse_math=False)
    return as_svg(figure, ax)


def _finite(values: Sequence[float]) -> list[float]:
    return [float(value) for value in values if np.isfinite(value)]


def as_svg(figure: Figure, ax: Axes) -> str:
    """Return a figure as an ``<svg>`` element in the common style."""
    ax.spines[:].set_visible(False)
    ax.grid(color=LIGHT)
    ax.set_axisbelow(True)
    ax.tick_params(colors=INK, length=0)
    FigureCanvasSVG(figure)
    text = io.StringIO()
    # No date and fixed ids, so that the same scores give the same page.
    with matplotlib.rc_context({"svg.hashsalt": "viso"}), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; ignore the warning.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    whole = text.getvalue()
    return whole[whole.index("<svg") :]
