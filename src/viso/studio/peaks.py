"""Lowest and highest samples for waveforms: measured once, when a job is done."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from viso.studio.stem_store import BITS, StemStore

__all__ = ["FILE", "PeakMeter", "peaks"]

FILE = "peaks.npy"
"""Name in the job's folder; int16 [shape=(mixture and stems, 2, buckets)]."""

_BUCKET = 256
_FINE = 4  # buckets per point from which the stored buckets are exact enough
_POINTS = 32  # points whose samples are read at a time
_FULL = float(1 << (BITS - 1))


@dataclass
class PeakMeter:
    """Measures the lowest and highest samples of a stream of stems."""

    _rest: npt.NDArray[np.int32] | None = None
    _chunks: list[npt.NDArray[np.int16]] = field(default_factory=list)

    def push(self, stems: npt.NDArray[np.int32]) -> None:
        """Take a block of the mixture and all stems [shape=(signals, n, channels)]."""
        sound = stems if self._rest is None else np.concatenate([self._rest, stems], axis=1)
        n = sound.shape[1] // _BUCKET
        whole, self._rest = sound[:, : n * _BUCKET], sound[:, n * _BUCKET :]
        self._add(whole.reshape(len(whole), n, -1))

    def _add(self, buckets: npt.NDArray[np.int32]) -> None:
        if buckets.size:
            both = np.stack([buckets.min(axis=2) >> 8, -(-buckets.max(axis=2) >> 8)], axis=1)
            self._chunks.append(np.clip(both, -(1 << 15), (1 << 15) - 1).astype(np.int16))

    def finish(self) -> npt.NDArray[np.int16]:
        """Return lowest and highest of every 256 samples [shape=(signals, 2, buckets)]."""
        if self._rest is not None:
            self._add(self._rest.reshape(len(self._rest), 1, -1))
        return np.concatenate(self._chunks, axis=2)


def peaks(stems: StemStore, stem: str, points: int) -> tuple[list[float], list[float]]:
    """Return lowest and highest sample of equal parts of a stem, over all channels.

    Parameters
    ----------
    stems : StemStore
    stem : str
        Of `stems.drawn`.
    points : int
        Parts; fewer if there are fewer samples.

    Returns
    -------
    low, high : list of float
        Full scale is 1; rounded to 4 places.

    Raises
    ------
    AudioError
        If the stems are gone.
    """
    n, points = stems.n_samples, min(points, stems.n_samples)
    if n >= points * _BUCKET * _FINE:
        both = np.load(stems.folder / FILE)[stems.drawn.index(stem)] / float(1 << 15)
        edges = np.arange(points) * both.shape[1] // points
        low, high = np.minimum.reduceat(both[0], edges), np.maximum.reduceat(both[1], edges)
    else:
        low, high = _exact(stems, stem, [n * point // points for point in range(points + 1)])
    return low.round(4).tolist(), high.round(4).tolist()


def _exact(stems: StemStore, stem: str, edges: list[int]) -> npt.NDArray[np.float64]:
    """Measure the samples between edges, some points at a time [shape=(2, points)]."""
    extremes = []
    for first in range(0, len(edges) - 1, _POINTS):
        some = edges[first : first + _POINTS + 1]
        sound = stems.integers(stem, some[0], some[-1])
        starts = np.array(some[:-1]) - some[0]
        low = np.minimum.reduceat(sound.min(axis=1), starts)
        extremes.append(np.stack([low, np.maximum.reduceat(sound.max(axis=1), starts)]))
    return np.concatenate(extremes, axis=1) / _FULL
