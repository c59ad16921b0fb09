"""uSDR over songs whose stems are known, for the systems whose weights are trained."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path

import numpy as np
import numpy.typing as npt

from peers.measuring import CommandError
from viso.audio import read, write
from viso.evaluate import songs_of, truth_of
from viso.metrics import usdr

Floats = npt.NDArray[np.float32]
Scores = dict[str, dict[str, float]]

STEMS = ("vocals", "instrumental")


def write_mixtures(songs: Path, folder: Path) -> list[Path]:
    """Write the sum of every song's stems as ``NAME.wav``, unrounded.

    Returns
    -------
    list of Path
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    paths = []
    for name, stems in songs_of(songs).items():
        truth, rate_hz = truth_of(stems)
        paths.append(folder / f"{name}.wav")
        mixture = truth["vocals"] + truth["instrumental"]
        write(paths[-1], mixture, rate_hz=rate_hz, bit_depth="float")
    return paths


def score(songs: Path, estimates: Path) -> Scores:
    """Score ``estimates/NAME/vocals.wav`` of every song.

    Returns
    -------
    dict
        By song and stem, uSDR in dB. The instrumental of every system is the mixture minus its
        vocals, whatever the system itself would have written.
    """
    scores: Scores = {}
    for name, stems in songs_of(songs).items():
        truth, _ = truth_of(stems)
        vocals, _ = read(estimates / name / "vocals.wav")
        if vocals.shape != truth["vocals"].shape:
            raise CommandError(f"{name}: vocals of {vocals.shape}, not {truth['vocals'].shape}")
        mixture: Floats = truth["vocals"] + truth["instrumental"]
        found = {"vocals": vocals, "instrumental": mixture - vocals}
        scores[name] = {stem: usdr(truth[stem], found[stem]) for stem in STEMS}
    return scores


def medians(scores: Scores) -> dict[str, float]:
    """Return the median over songs by stem, in dB."""
    return {stem: statistics.median(song[stem] for song in scores.values()) for stem in STEMS}


def differences(scores: Scores, base: Scores) -> dict[str, float]:
    """Return the median over songs of what a system has above another, by stem, in dB."""
    return {
        stem: statistics.median(scores[song][stem] - base[song][stem] for song in base)
        for stem in STEMS
    }
