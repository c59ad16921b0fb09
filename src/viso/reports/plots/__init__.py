"""Pictures of sound: a mixture and its stems as spectrograms, one above the other."""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, MultipleLocator

from viso.errors import AudioError, ConfigError
from viso.reports.plots.panels import Panel, edges_hz, measure, top_hz

if TYPE_CHECKING:
    from viso.separator.confidence import Second

__all__ = ["spectrograms"]

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

FORMATS = ("jpeg", "jpg", "pdf", "png", "svg", "tif", "tiff", "webp")
RANGE_DB = 80.0

TICKS_HZ = (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)


INK, PAPER = "#1b1b2f", "#ffffff"
CURVES = ("#c2185b", "#3b5bdb")  # of vocals and instrumental
STRIP = 0.45  # height of the confidence, in panels
SDR_RANGE_DB = (-10.0, 30.0)


def spectrograms(
    signals: Mapping[str, Floats],
    *,
    rate_hz: int,
    path: Path,
    title: str = "",
    start_s: float = 0.0,
    confidence: Sequence[Second] = (),
) -> Path:
    """Draw signals one above the other, on a common time axis and a common scale of levels.

    The frequency axis is logarithmic, from 40 Hz to 20 kHz or half the sampling rate. The colours
    span 80 dB below the loudest point of ``"mixture"``, or of the first signal if none has that
    name. Power is averaged over the channels, and over frames that are too close in time for the
    picture. Memory does not grow with the signals; time grows slowly.

    Parameters
    ----------
    signals : mapping of str to float32 array [shape=(channels, n), full scale = 1.0]
        Names and sounds, from top to bottom. They may differ in length and in channels.
    rate_hz : int
        Sampling rate of all of them in Hz.
    path : Path
        The picture. Its suffix chooses the format: png, jpg, webp, tiff, pdf or svg. The file
        appears when it is complete; an existing file is replaced.
    title : str
        A line of plain text above the panels.
    start_s : float
        Start of the signals in the song, in seconds, for the labels of the time axis.
    confidence : sequence of Second
        Result of `viso.separator.confidence`, drawn as two curves below the stems.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    ConfigError
        If there is nothing to draw, the suffix names no format, or the rate is impossible.
    AudioError
        If a signal is empty, has a wrong shape or is not finite, or the file cannot be written.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(0, 0.1, (2, 44100)).astype(np.float32)
    >>> spectrograms({"mixture": noise}, rate_hz=44100, path=Path("noise.png"))  # doctest: +SKIP
    PosixPath('noise.png')
    """
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise ConfigError(
            f"{path}: {path.suffix or 'no suffix'} is no picture format; "
            f"use one of {', '.join('.' + name for name in FORMATS)}"
        )
    if not signals:
        raise ConfigError("signals: nothing to draw; pass at least one")
    panels = [measure(name, signal, rate_hz=rate_hz) for name, signal in signals.items()]
    figure = _draw(panels, confidence, high_hz=top_hz(rate_hz), title=title, start_s=start_s)
    _save(figure, path, kind=kind)
    return path


def _draw(
    panels: list[Panel],
    confidence: Sequence[Second],
    *,
    high_hz: float,
    title: str,
    start_s: float,
) -> Figure:
    reference = next((p for p in panels if p.name == "mixture"), panels[0]).power.max() or 1.0
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.10)
    heights = [1.0] * len(panels) + [STRIP] * bool(confidence)
    figure = Figure(figsize=(14, 1.15 + 2.95 * sum(heights)), facecolor=PAPER, layout=layout)
    grid = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)
    axes = list(grid[: len(panels), 0])
    for ax in axes[1:]:
        ax.sharey(axes[0])
    low, high = np.log2(edges_hz(high_hz)[[0, -1]])
    floor = 10 ** (-RANGE_DB / 10)
    for ax, panel in zip(axes, panels, strict=True):
        left_s = start_s + panel.first_s
        image = ax.imshow(
            10 * np.log10(np.maximum(panel.power / reference, floor)),
            origin="lower",
            aspect="auto",
            extent=(left_s, left_s + panel.power.shape[1] * panel.column_s, low, high),
            cmap="magma",
            vmin=-RANGE_DB,
            vmax=0,
        )
        # After the end of a signal, the panel has the colour of silence.
        ax.set_facecolor(image.get_cmap()(0.0))
        ax.set_title(
            panel.name, loc="left", size=17, weight="bold", color=INK, pad=7, parse_math=False
        )
    _label_pitch(axes)
    _label_time(grid[-1, 0], end_s=start_s + max(p.duration_s for p in panels), start_s=start_s)
    if confidence:
        _draw_confidence(grid[-1, 0], confidence)
    axes[0].set_ylim(low, high)
    bar = figure.colorbar(
        image, ax=axes, pad=0.015, aspect=17 * len(panels), ticks=range(-80, 1, 20)
    )
    bar.set_label("Level (dB, 0 = the loudest point)", size=15, color=INK, labelpad=8)
    bar.ax.tick_params(labelsize=14, colors=INK)
    bar.outline.set_visible(False)
    figure.supylabel("Frequency (Hz)", size=15, color=INK)
    if title:
        figure.suptitle(title, size=20, color=INK, parse_math=False)
    return figure


def _draw_confidence(ax: Axes, seconds: Sequence[Second]) -> None:
    """Draw the estimated SDR of both stems, one step per second."""
    edges = [second.start_s for second in seconds]
    edges.append(edges[-1] + 1)
    low, high = SDR_RANGE_DB
    for name, colour, column in zip(("vocals", "instrumental"), CURVES, (1, 2), strict=True):
        values = np.clip([second[column] for second in seconds], low, high)
        ax.stairs(values, edges, baseline=None, color=colour, linewidth=2.5, label=name)
    ax.axhline(0, color=INK, linewidth=1, linestyle=":")
    ax.set_ylim(low, high)
    ax.yaxis.set_major_locator(MultipleLocator(10))
    ax.tick_params(labelsize=14, colors=INK, length=4)
    ax.spines[:].set_visible(False)
    ax.grid(axis="y", color="#e4e4ee")
    ax.set_axisbelow(True)
    ax.set_title(
        "confidence: estimated SDR (dB)", loc="left", size=17, weight="bold", color=INK, pad=7
    )
    ax.legend(
        loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2, frameon=False, fontsize=14,
        labelcolor=INK,
    )  # fmt: skip


def _label_pitch(axes: list[Axes]) -> None:
    """Set the ticks of the frequency axes."""
    for ax in axes:
        ax.yaxis.set_major_locator(FixedLocator([math.log2(f) for f in TICKS_HZ]))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: _hertz(2**y)))
        ax.tick_params(labelsize=14, colors=INK, length=4)
        ax.spines[:].set_visible(False)


def _label_time(last: Axes, *, start_s: float, end_s: float) -> None:
    """Set the ticks and the span of the time axis."""
    span_s = max(end_s - start_s, 1e-3)
    last.tick_params(labelsize=14, colors=INK, length=4)
    last.set_xlim(start_s, start_s + span_s)
    if end_s < 60 or span_s < 3:
        last.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 5, 10]))
        last.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.10g}"))
        last.set_xlabel("Time (s)", size=15, color=INK)
        return
    steps_s = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)
    step_s = next((s for s in steps_s if span_s / s <= 12), 3600 * math.ceil(span_s / 36_000))
    last.xaxis.set_major_locator(MultipleLocator(step_s))
    last.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _clock(x)))
    last.set_xlabel("Time (min:s)" if end_s < 3600 else "Time (h:min:s)", size=15, color=INK)


def _hertz(frequency_hz: float) -> str:
    value = round(frequency_hz)
    return f"{value // 1000}k" if value >= 1000 else str(value)


def _clock(time_s: float) -> str:
    minutes, seconds = divmod(round(time_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _save(figure: Figure, path: Path, *, kind: str) -> None:
    """Write the picture to a temporary file in the same folder, then rename it."""
    FigureCanvasAgg(figure)
    temporary = path.with_name(f".viso-{os.getpid()}-{secrets.token_hex(4)}.{kind}")
    try:
        with warnings.catch_warnings():
            # A title in a script that the font lacks is drawn as boxes; ignore the warning.
            warnings.filterwarnings("ignore", message="Glyph")
            figure.savefig(temporary, format=kind, dpi=100)
        temporary.replace(path)
    except FileNotFoundError as error:
        raise AudioError(f"{path}: no folder {path.parent}; make it first") from error
    except OSError as error:
        raise AudioError(
            f"{path}: cannot be written ({error.strerror or error}); choose another folder or name"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
