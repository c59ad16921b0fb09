"""Pictures of sound: a mixture and its stems as spectrograms, one above the other."""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, MultipleLocator

from viso.config import SpectralConfig
from viso.errors import AudioError, ConfigError
from viso.spectral import Analysis, frames_for

__all__ = ["spectrograms"]

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

FORMATS = ("jpeg", "jpg", "pdf", "png", "svg", "tif", "tiff", "webp")
RANGE_DB = 80.0
LOW_HZ, HIGH_HZ = 40.0, 20_000.0
TICKS_HZ = (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)
ROWS, MAX_COLUMNS = 480, 2000
BLOCK = 1 << 15
INK, PAPER = "#1b1b2f", "#ffffff"


class _Panel(NamedTuple):
    name: str
    power: Doubles  # (ROWS, columns), low frequencies first
    column_s: float  # time between columns
    first_s: float  # left edge of the first column
    duration_s: float


def spectrograms(
    signals: Mapping[str, Floats],
    *,
    rate_hz: int,
    path: Path,
    title: str = "",
    start_s: float = 0.0,
) -> Path:
    """Draw signals one above the other, on a common time axis and a common scale of levels.

    The frequency axis is logarithmic from 40 Hz to 20 kHz or half the sampling rate. The colours
    reach 80 dB down from the loudest point of ``"mixture"``, or of the first signal if none has
    that name. The power of the channels is averaged, and so is whatever lies too close in time
    for the picture; memory does not grow with the signals, time does so slowly.

    Parameters
    ----------
    signals : mapping of str to float32 array [shape=(channels, n), full scale = 1.0]
        Names and sounds, from the top. They may differ in length and in channels.
    rate_hz : int
        Sampling rate of all of them in Hz.
    path : Path
        The picture; its suffix chooses the format: png, jpg, webp, tiff, pdf or svg. It appears
        when it is whole; a file of that name is replaced.
    title : str
        A line above the panels, taken as it is.
    start_s : float
        Where in the song the signals begin, in seconds, for the labels of the time axis.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    ConfigError
        If there is nothing to draw, the suffix names no format, or the rate is impossible.
    AudioError
        If a signal is empty, of a wrong shape or not finite, or the file cannot be written.

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
    panels = [_measure(name, signal, rate_hz=rate_hz) for name, signal in signals.items()]
    figure = _draw(panels, high_hz=_top_hz(rate_hz), title=title, start_s=start_s)
    _save(figure, path, kind=kind)
    return path


def _top_hz(rate_hz: int) -> float:
    return min(HIGH_HZ, rate_hz / 2)


def _transform(n_samples: int, *, rate_hz: int) -> SpectralConfig:
    """Choose a window of about 90 ms, which tells bass notes apart, and no more frames than use."""
    n_fft = 2 ** max(4, round(math.log2(0.09 * max(1, rate_hz))))
    hop = max(1, n_fft // 16, min(n_samples // (MAX_COLUMNS - 1) + 1, n_fft // 3))
    return SpectralConfig.from_mapping(
        {"rate_hz": rate_hz, "n_fft": n_fft, "hop": hop}, origin="spectrogram"
    )


def _measure(name: str, signal: Floats, *, rate_hz: int) -> _Panel:
    """Return the power of a signal at the picture's points."""
    signal = np.asarray(signal)
    if signal.ndim != 2 or 0 in signal.shape:
        raise AudioError(f"{name}: an array of shape {signal.shape}; pass (channels, samples)")
    n_channels, n_samples = signal.shape
    config = _transform(n_samples, rate_hz=rate_hz)
    n_frames = frames_for(n_samples, hop=config.hop)
    pool = math.ceil(n_frames / MAX_COLUMNS)
    power = np.zeros((math.ceil(n_frames / pool), config.n_bins))
    analysis = Analysis(config, n_channels=n_channels)
    frame = 0
    for start in range(0, n_samples + BLOCK, BLOCK):
        block = signal[:, start : start + BLOCK].astype(np.float32)
        # Not finite, or so loud that its square is not: told below by its name.
        with np.errstate(over="ignore", invalid="ignore"):
            frames = analysis.push(block) if block.size else analysis.finish()
            if not frames.shape[2]:
                continue
            now = np.arange(frame, frame + frames.shape[2]) // pool
            firsts = np.flatnonzero(np.diff(now, prepend=-1))
            # The frames' memory runs along the bins; so does the work, for speed.
            parts = np.ascontiguousarray(frames.transpose(0, 2, 1)).view(np.float32)
            loudness = np.add.reduceat(np.square(parts, out=parts).sum(axis=0), firsts, axis=0)
            power[now[firsts]] += loudness[:, 0::2] + loudness[:, 1::2]
            frame += frames.shape[2]
    if not np.isfinite(power).all():
        raise AudioError(f"{name}: holds samples that are not finite, or far beyond full scale")
    n_pooled = np.bincount(np.arange(n_frames) // pool)
    hop_s = config.hop / rate_hz
    rows = _to_rows((power / (n_channels * n_pooled[:, None])).T, rate_hz=rate_hz)
    return _Panel(name, rows, pool * hop_s, -hop_s / 2, n_samples / rate_hz)


def _edges_hz(high_hz: float) -> Doubles:
    """Return the frequencies between the picture's rows [shape=(ROWS + 1,)]."""
    return np.geomspace(min(LOW_HZ, high_hz / 10), high_hz, ROWS + 1)


def _to_rows(power: Doubles, *, rate_hz: int) -> Doubles:
    """Average bins [shape=(bins, columns)] into rows of the logarithmic axis.

    A row that is narrower than a bin is made as wide as one: the average over a bin's width is
    the straight line between two bins.
    """
    n_bins = len(power)
    edges = _edges_hz(_top_hz(rate_hz)) / (rate_hz / 2) * (n_bins - 1)
    centres = (edges[:-1] + edges[1:]) / 2
    half = np.maximum(np.diff(edges), 1.0) / 2
    total = np.pad(np.cumsum(power, axis=0), ((1, 0), (0, 0)))

    def up_to(position: Doubles) -> Doubles:
        # Bin k reaches from k - 1/2 to k + 1/2.
        position = np.clip(position + 0.5, 0, n_bins)
        k = np.minimum(position.astype(np.intp), n_bins - 1)
        return np.asarray(total[k] + (position - k)[:, None] * power[k])

    return np.maximum(up_to(centres + half) - up_to(centres - half), 0) / (2 * half)[:, None]


def _draw(panels: list[_Panel], *, high_hz: float, title: str, start_s: float) -> Figure:
    reference = next((p for p in panels if p.name == "mixture"), panels[0]).power.max() or 1.0
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.10)
    figure = Figure(figsize=(14, 1.15 + 2.95 * len(panels)), facecolor=PAPER, layout=layout)
    axes = list(figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False)[:, 0])
    low, high = np.log2(_edges_hz(high_hz)[[0, -1]])
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
        # Where a signal has ended there is silence, in the colour of silence.
        ax.set_facecolor(image.get_cmap()(0.0))
        ax.set_title(
            panel.name, loc="left", size=17, weight="bold", color=INK, pad=7, parse_math=False
        )
    _label(axes, end_s=start_s + max(p.duration_s for p in panels), start_s=start_s)
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


def _label(axes: list[Axes], *, start_s: float, end_s: float) -> None:
    """Set the ticks and the span of time."""
    span_s = max(end_s - start_s, 1e-3)
    for ax in axes:
        ax.yaxis.set_major_locator(FixedLocator([math.log2(f) for f in TICKS_HZ]))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: _hertz(2**y)))
        ax.tick_params(labelsize=14, colors=INK, length=4)
        ax.spines[:].set_visible(False)
    last = axes[-1]
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
    """Write the picture beside its place, then move it there."""
    FigureCanvasAgg(figure)
    temporary = path.with_name(f".viso-{os.getpid()}-{secrets.token_hex(4)}.{kind}")
    try:
        with warnings.catch_warnings():
            # A title in a script that the font lacks is drawn as boxes; that is no news.
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
