"""All figures of one song: the stems of every system, compared with the truth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from viso.audio import write
from viso.dsp.stft import SpectralConfig
from viso.errors import DataError
from viso.evaluate.songs import Figures, truth_of
from viso.evaluate.systems import System
from viso.metrics import (
    Fullness,
    bss_eval_blocks,
    fullness,
    nsdr,
    residual,
    segment_sdr,
    si_sdr,
    usdr,
)
from viso.separator import STEMS

__all__ = ["METRICS", "figures_of", "score_song"]

Floats = npt.NDArray[np.float32]

_BLOCK = 1 << 16

METRICS = {
    "usdr": "SDR over the whole song",
    "csdr": "SDR of a second, median",
    "si_sdr": "scale-invariant SDR",
    "sdr": "BSSEval v4 SDR",
    "isr": "BSSEval v4 image to spatial distortion",
    "sir": "BSSEval v4 source to interference",
    "sar": "BSSEval v4 source to artefacts",
    "nsdr": "BSSEval v3 SDR above that of the mixture",
    "gnsdr": "mean of nsdr over songs, weighted by their lengths",
    "bleedless": "no energy too much on a mel scale, 0 to 100",
    "fullness": "no energy too little on a mel scale, 0 to 100",
}
"""Short names and meanings of the metrics. All but the last two are in decibels.

Higher is better. ``gnsdr`` covers all songs together, the others cover one song each.
"""


def figures_of(
    truth: dict[str, Floats], stems: dict[str, Floats], *, rate_hz: int, bss: bool
) -> Figures:
    """Return the metrics of every stem.

    Parameters
    ----------
    truth, stems : dict of str to float32 array [shape=(channels, n)]
        "vocals" and "instrumental"; perhaps further ones, which with the vocals add up to the
        mixture. BSSEval compares the vocals with the instrumental, and the further ones with each
        other and the vocals.
    rate_hz : int
    bss : bool
        Whether to compute BSSEval v4, `nsdr`, `bleedless` and `fullness` too.

    Returns
    -------
    dict of str to dict of str to float
        By stem, then by metric; ``nan`` where a metric is not defined.
    """
    figures: Figures = {}
    for stem in truth:
        pair = truth[stem], stems[stem]
        figures[stem] = {
            "usdr": usdr(*pair),
            "csdr": segment_sdr(*pair, rate_hz=rate_hz).median,
            "si_sdr": si_sdr(*pair),
        }
    if bss:
        _add_bss(figures, truth, stems, STEMS, rate_hz=rate_hz)
        others = [stem for stem in truth if stem not in STEMS]
        if others:
            _add_bss(figures, truth, stems, ["vocals", *others], rate_hz=rate_hz)
        mixture = truth["vocals"] + truth["instrumental"]
        for stem in truth:
            figures[stem]["nsdr"] = nsdr(truth[stem], stems[stem], mixture)
            if truth[stem].any():
                mel = fullness(truth[stem], stems[stem], rate_hz=rate_hz)
            else:
                mel = Fullness(math.nan, math.nan)
            figures[stem].update(mel._asdict())
    return figures


def _add_bss(
    figures: Figures,
    truth: dict[str, Floats],
    stems: dict[str, Floats],
    sources: Sequence[str],
    *,
    rate_hz: int,
) -> None:
    """Add BSSEval v4 of sources that add up to the mixture, where a stem has none yet."""
    blocks = partial(_blocks, truth, stems, sources)
    medians = bss_eval_blocks(blocks, rate_hz=rate_hz).medians()
    for metric in ("sdr", "isr", "sir", "sar"):
        for stem, value in zip(sources, getattr(medians, metric), strict=True):
            figures[stem].setdefault(metric, float(value))


def _blocks(
    truth: dict[str, Floats], stems: dict[str, Floats], sources: Sequence[str]
) -> Iterator[tuple[Floats, Floats]]:
    """Yield blocks of truth and estimates, each [shape=(sources, channels, n)]."""
    for first in range(0, truth[sources[0]].shape[1], _BLOCK):
        part = slice(first, first + _BLOCK)
        yield (
            np.stack([truth[stem][:, part] for stem in sources]),
            np.stack([stems[stem][:, part] for stem in sources]),
        )


def score_song(
    song: str,
    stems: Sequence[Path],
    systems: Sequence[System],
    *,
    bss: bool,
    each: bool = False,
    threads: int = 0,
    residuals: Path | None = None,
) -> tuple[float, dict[str, Figures]]:
    """Separate and score a song with every system.

    Parameters
    ----------
    song : str
    stems : sequence of Path
        Its true stems (see `songs_of`).
    systems : sequence of System
    bss : bool
        Whether to compute BSSEval v4, `nsdr`, `bleedless` and `fullness` too.
    each : bool
        Whether to score every true stem, not only vocals and instrumental.
    threads : int
        Threads of a model; 0 uses all cores.
    residuals : Path, optional
        A folder for sound files: the vocals of models and of estimates, minus the true vocals.

    Returns
    -------
    duration_s : float
    figures : dict
        By system, stem and metric.

    Raises
    ------
    DataError, AudioError
        If stems or estimates cannot be read or do not fit each other.
    ConfigError
        If no transform exists for the rate of an ideal mask or a residual, or a model does not
        estimate a true stem.
    """
    truth, rate_hz = truth_of(list(stems), each=each)
    n_samples = truth["vocals"].shape[1]
    if not n_samples:
        raise DataError(f"{stems[0]}: holds no sample")
    found = {}
    for system in systems:
        made = system.stems(song, truth, rate_hz, threads=threads)
        found[system.name] = figures_of(truth, made, rate_hz=rate_hz, bss=bss)
        if residuals is not None and system.kind in ("model", "estimates"):
            # Some systems forbid the star of a blend's weights in file names.
            name = f"{song} - {system.name}".replace("*", " ")
            _write_residual(residuals / f"{name}.wav", truth, made, rate_hz)
    return n_samples / rate_hz, found


def _write_residual(
    path: Path, truth: dict[str, Floats], made: dict[str, Floats], rate_hz: int
) -> None:
    config = SpectralConfig.from_mapping({"rate_hz": rate_hz}, origin=path.stem)
    left = residual(truth["vocals"], made["vocals"], config=config)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, left.signal, rate_hz=rate_hz, bit_depth="float")
