"""How well `viso.separator.confidence` tells the true SDR of every second of songs.

    python bench/confidence.py FOLDER_OF_SONGS [--model NAME_OR_PATH]

Prints the rank correlation (Spearman's rho) over all seconds in which both stems are heard,
the median of rho within a song, and how far off the estimate is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from viso import Separator
from viso.evaluate import songs_of, truth_of
from viso.models import registry
from viso.separator.confidence import confidence

_HEARD_DB = -30.0  # of the mixture's energy in that second


def _energy(audio: npt.NDArray[np.float32], rate_hz: int) -> npt.NDArray[np.float64]:
    n = audio.shape[1] // rate_hz
    whole = audio[:, : n * rate_hz].astype(np.float64)
    return np.asarray((whole.reshape(len(audio), n, rate_hz) ** 2).sum(axis=(0, 2)))


def _rho(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    ranks = [np.argsort(np.argsort(x)) for x in (a, b)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def main() -> None:
    """Separate every song and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default=registry.DEFAULT)
    options = parser.parse_args()
    separator = Separator(options.model)
    pairs: dict[str, list[npt.NDArray[np.float64]]] = {"vocals": [], "instrumental": []}
    for stems in songs_of(options.folder).values():
        truth, rate_hz = truth_of(stems)
        mixture = truth["vocals"] + truth["instrumental"]
        found = separator.separate(mixture, rate_hz=rate_hz)
        told = confidence(found.vocals, found.instrumental, rate_hz=rate_hz)
        level = 10 ** (_HEARD_DB / 10) * _energy(mixture, rate_hz)
        energies = {name: _energy(stem, rate_hz) for name, stem in truth.items()}
        error = _energy(truth["vocals"] - found.vocals, rate_hz)
        kept = (energies["vocals"] > level) & (energies["instrumental"] > level) & (error > 0)
        for column, name in ((1, "vocals"), (2, "instrumental")):
            estimate = np.array([second[column] for second in told[: len(error)]], np.float64)
            true_db = 10 * np.log10(energies[name][kept] / error[kept])
            pairs[name].append(np.stack([estimate[kept], true_db]))
    for name, songs in pairs.items():
        estimate, true_db = np.concatenate(songs, axis=1)
        off = estimate - true_db
        inside = [_rho(*song) for song in songs if song.shape[1] >= 5]
        print(
            f"{name}: {len(off)} seconds, rho {_rho(estimate, true_db):.2f} "
            f"(within a song, median: {np.median(inside):.2f}); estimate minus truth: "
            f"median {np.median(off):+.1f} dB, half of them within "
            f"{np.median(np.abs(off - np.median(off))):.1f} dB of that"
        )


if __name__ == "__main__":
    main()
