"""A song's mixture, true vocals, estimate and error as spectrograms; the error in two colours."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator

from failures.division import kinds_of
from failures.frames import mid_side, transform
from viso.dsp.stft import istft, stft
from viso.reports.plots.panels import edges_hz, measure, top_hz

__all__ = ["Song", "draw", "worst_part"]

Floats = npt.NDArray[np.float32]

LONGEST_S = 12.0
_TICKS_HZ = (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)
_SOUND_DB, _ERROR_DB = 80.0, 45.0  # below the loudest point of the mixture, of the errors
_INK = "#1b1b2f"


class Song(NamedTuple):
    """What is drawn: float32 arrays [shape=(channels, n)] and their rate in Hz."""

    vocals: Floats
    instrumental: Floats
    estimate: Floats
    rate_hz: int


def worst_part(song: Song, *, longest_s: float = LONGEST_S) -> slice:
    """Return the samples of the `longest_s` seconds with the most error; of a short song all."""
    error = (song.estimate - song.vocals).astype(np.float64)
    n = round(longest_s * song.rate_hz)
    if error.shape[1] <= n:
        return slice(0, error.shape[1])
    total = np.pad(np.cumsum((error**2).sum(axis=0)), (1, 0))
    first = int(np.argmax(total[n:] - total[:-n]))
    return slice(first, first + n)


def draw(song: Song, path: Path, *, title: str) -> None:
    """Draw four panels with common axes; leak is red, lost is blue, both are violet.

    Parameters
    ----------
    song : Song
        Of which the worst 12 seconds are drawn.
    path : Path
        The picture; its suffix chooses the format.
    title : str
    """
    part = worst_part(song)
    vocals, instrumental, estimate = (audio[:, part] for audio in song[:3])
    leak, lost = _errors(vocals, instrumental, estimate, rate_hz=song.rate_hz)
    sounds = {"mixture": vocals + instrumental, "true vocals": vocals, "estimate": estimate}
    power = {
        name: measure(name, audio, rate_hz=song.rate_hz)
        for name, audio in {**sounds, "leak": leak, "lost": lost}.items()
    }

    def brightness(name: str, range_db: float, below: tuple[str, ...]) -> npt.NDArray[np.float64]:
        loudest = max(power[each].power.max() for each in below) or 1.0
        level_db = 10 * np.log10(np.maximum(power[name].power / loudest, 1e-20))
        return np.clip(1 + level_db / range_db, 0, 1)

    high_hz = top_hz(song.rate_hz)
    start_s = part.start / song.rate_hz
    end_s = part.stop / song.rate_hz
    low, high = np.log2(edges_hz(high_hz)[[0, -1]])
    figure = Figure(figsize=(11, 12), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(4, 1, sharex=True, sharey=True)
    where = {"origin": "lower", "aspect": "auto", "extent": (start_s, end_s, low, high)}
    for panel, name in zip(panels, sounds, strict=False):
        panel.imshow(
            brightness(name, _SOUND_DB, ("mixture",)), cmap="magma", vmin=0, vmax=1, **where
        )
        panel.set_title(name, loc="left", weight="bold", color=_INK)
    red, blue = (brightness(name, _ERROR_DB, ("leak", "lost")) for name in ("leak", "lost"))
    # A little green keeps blue as bright as red to the eye.
    panels[3].imshow(np.stack([red, 0.35 * blue, blue], axis=2), **where)
    panels[3].set_title("error: leak red, lost blue", loc="left", weight="bold", color=_INK)
    shown = [hertz for hertz in _TICKS_HZ if hertz <= high_hz]
    panels[0].yaxis.set_major_locator(FixedLocator([math.log2(hertz) for hertz in shown]))
    panels[0].yaxis.set_major_formatter(
        FixedFormatter([f"{h // 1000}k" if h >= 1000 else str(h) for h in shown])
    )
    panels[3].set_xlabel("Time (s)")
    figure.supylabel("Frequency (Hz)")
    figure.suptitle(title, parse_math=False)
    figure.savefig(path, dpi=80)


def _errors(
    vocals: Floats, instrumental: Floats, estimate: Floats, *, rate_hz: int
) -> tuple[Floats, Floats]:
    """Return leak and lost as sound."""
    config = transform(rate_hz)
    kinds = kinds_of(
        *(stft(mid_side(audio), config=config) for audio in (vocals, instrumental, estimate))
    )
    leak, lost = (
        istft(kind, config=config, n_samples=vocals.shape[1]) for kind in (kinds.leak, kinds.lost)
    )
    return leak, lost
