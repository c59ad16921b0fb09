"""Pools of tracks: chunks are drawn from them and read at a playing speed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from viso.train import augment
from viso.train.data.chunks import Chunks, TrackTensors, gathered
from viso.train.data.corpus import Corpus, Track
from viso.train.recipe import Mixing

__all__ = ["Pool", "Reading"]

_MARGIN = 8  # samples beyond the end that an interpolator may read


class Reading:
    """Reads chunks from the corpus's flat audio, at drawn speeds.

    Parameters
    ----------
    flat : int16 Tensor
        All audio of the corpus.
    mixing : Mixing
    n_samples : int
        Length of a chunk.

    Attributes
    ----------
    n_needed : int
        Samples of its track that a chunk needs at the highest speed.
    """

    def __init__(self, flat: Tensor, mixing: Mixing, *, n_samples: int) -> None:
        self._flat, self._mixing, self._n_samples = flat, mixing, n_samples
        fastest = max(1.0, mixing.speed[1]) if mixing.speed_share else 1.0
        self.n_needed = int(n_samples * fastest) + _MARGIN

    def speeds(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw playing speeds [shape=(n,)]; the speed is 1 for chunks that do not change."""
        mixing = self._mixing
        drawn = augment.uniform(n, *mixing.speed, generator)
        return torch.where(augment.some(n, mixing.speed_share, generator), drawn, 1.0)

    def sound(
        self,
        facts: TrackTensors,
        owner: Tensor,
        start: Tensor,
        speed: Tensor,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Gather chunks and play them at their speeds; mono chunks are panned near the centre.

        Returns
        -------
        audio : float32 Tensor [shape=(n, 2, n_samples)]
        bandwidth_hz : Tensor [shape=(n,)]
        """
        n_channels = facts.n_channels[owner]
        first = facts.offset[owner] + start * n_channels
        audio = gathered(self._flat, first, n_channels, self.n_needed)
        audio = audio * (facts.peak[owner] / 32768)[:, None, None]
        audio = augment.change_speed(audio, speed != 1, speed, n_samples=self._n_samples)
        most_db = self._mixing.pan_db
        audio = augment.pan(audio, n_channels == 1, most_db=most_db, generator=generator)
        return audio, facts.bandwidth_hz[owner] * speed


@dataclass(frozen=True)
class Pool:
    """Tracks whose chunks are drawn together."""

    chunks: Chunks
    facts: TrackTensors
    reading: Reading

    @classmethod
    def of(
        cls,
        corpus: Corpus,
        tracks: list[Track],
        weights: dict[str, float],
        reading: Reading,
        *,
        floor_db: float,
        dry: tuple[str, ...],
        device: torch.device,
    ) -> Pool:
        """Return the pool of the tracks whose group has a weight.

        Raises
        ------
        DataError
            If none of their chunks is loud enough.
        """
        chunks = Chunks(
            corpus, tracks, weights, n_samples=reading.n_needed, floor_db=floor_db, device=device
        )
        return cls(chunks, TrackTensors.of(chunks.tracks, dry, device), reading)

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Draw chunks, each at its own speed.

        Returns
        -------
        audio : float32 Tensor [shape=(n, 2, n_samples)]
        bandwidth_hz : Tensor [shape=(n,)]
        owner : int Tensor [shape=(n,)]
            Indices of their tracks in `chunks.tracks`.
        """
        owner, start = self.chunks.draw(n, generator)
        speed = self.reading.speeds(n, generator)
        audio, bandwidth_hz = self.reading.sound(self.facts, owner, start, speed, generator)
        return audio, bandwidth_hz, owner
