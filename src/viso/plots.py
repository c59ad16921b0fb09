"""Pictures of sound: a mixture and its stems as spectrograms, one above the other."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter, MaxNLocator

from viso.config import SpectralConfig
from viso.errors import AudioError, ConfigError
from viso.spectral import Analysis, frames_for

__all__ = ["spectrograms"]

Floats = npt.NDArray[np.float32]

_RANGE_DB = 80.0
_LOW_HZ, _HIGH_HZ = 40.0, 20_000.0
_ROWS = 400
_MAX_COLUMNS = 2000
_BLOCK = 1 << 18
_TICKS_HZ = (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)


@dataclass(frozen=True)
class _Panel:
    """One signal's levels: dB of a full-scale sine, low frequencies first."""

    name: str
    levels_db: Floats  # (rows, columns)
    duration_s: float


def spectrograms(
    signals: Mapping[str, Floats],
    *,
    rate_hz: int,
    path: Path,
    title: str = "",
    start_s: float = 0.0,
) -> Path:
    """Draw signals one above the other on a common time axis and a common scale of levels.

    The frequency axis is logarithmic from 40 Hz to 20 kHz or half the sampling rate, the colours
    reach 80 dB down from the loudest point of ``"mixture"``, or of the first signal if none has
    that name. Channels are averaged in power. Time and memory are bounded: 10 minutes of stereo
    take a few seconds, whatever is finer than the picture is averaged.

    Parameters
    ----------
    signals : mapping of str to float32 array [shape=(channels, n), full scale = 1.0]
        Names and sounds, from the top. They may differ in length and in channels.
    rate_hz : int
        Sampling rate of all of them in Hz.
    path : Path
        The picture; its suffix chooses the format: png, pdf, svg, jpg, webp ... It appears when
        it is whole; a file of that name is replaced.
    title : str, optional
        A line above the panels, taken literally.
    start_s : float, optional
        Where in the song the signals begin, in seconds, for the labels of the time axis.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    ConfigError
        If there is nothing to draw, or the suffix names no format of matplotlib.
    AudioError
        If a signal is not of shape (channels, n), or the file cannot be written.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(0, 0.1, (2, 44100)).astype(np.float32)
    >>> spectrograms({"mixture": noise}, rate_hz=44100, path=Path("noise.png"))  # doctest: +SKIP
    PosixPath('noise.png')
    """
    path = Path(path)
    kind = _format_of(path)
    if not signals:
        raise ConfigError("signals: there is none to draw; pass at least one")
    for name, signal in signals.items():
        if signal.ndim != 2 or 0 in signal.shape:
            raise AudioError(f"{name}: an array of shape {signal.shape}; pass (channels, samples)")
    panels = [_measure(name, signal, rate_hz=rate_hz) for name, signal in signals.items()]
    with rc_context(_STYLE):
        figure = _draw(panels, high_hz=_top_hz(rate_hz), title=title, start_s=start_s)
        _save(figure, path, kind=kind)
    return path


def _format_of(path: Path) -> str:
    """Return matplotlib's name of the picture format that a suffix stands for."""
    known = FigureCanvasAgg.get_supported_filetypes()
    kind = path.suffix.lower().removeprefix(".")
    if kind not in known:
        raise ConfigError(
            f"{path}: {path.suffix or 'no suffix'} is no picture format; "
            f"use one of {', '.join(sorted(known))}"
        )
    return kind


def _top_hz(rate_hz: int) -> float:
    return min(_HIGH_HZ, rate_hz / 2)


def _edges_hz(rate_hz: int) -> Floats64:
    """Return the frequencies between the picture's rows [shape=(_ROWS + 1,)]."""
    high_hz = _top_hz(rate_hz)
    return np.geomspace(min(_LOW_HZ, high_hz / 10), high_hz, _ROWS + 1)


def _spectral(rate_hz: int) -> SpectralConfig:
    """Choose a window of about 90 ms: 12 Hz apart is told apart, and drums stay sharp."""
    n_fft = 2 ** max(4, round(math.log2(0.09 * rate_hz)))
    return SpectralConfig(rate_hz=rate_hz, n_fft=n_fft, hop=n_fft // 8)


def _rows(config: SpectralConfig) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats]:
    ...
