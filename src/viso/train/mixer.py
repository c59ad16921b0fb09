"""Draws training mixtures from a corpus, whole batches at once, on the training device."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from viso.errors import DataError
from viso.train import augment
from viso.train.corpus import LEVEL_BLOCK, Corpus, Track
from viso.train.recipe import Mixing

__all__ = ["Batch", "Mixer"]

_MUSIC_FLOOR_DB = -60.0


@dataclass(frozen=True)
class Batch:
    """Sources of a batch of mixtures; the mixture is their sum.

    `vocals` and `instrumental` are float32 [shape=(batch, 2, samples)]; `bandwidth_hz`
    [shape=(batch,)] is where the narrower of the two sources ends.
    """

    vocals: Tensor
    instrumental: Tensor
    bandwidth_hz: Tensor

    @property
    def mixture(self) -> Tensor:
        """The sum of the sources."""
        return self.vocals + self.instrumental


class _Chunks:
    """The chunks of some tracks that may be drawn, each with its probability.

    A chunk is a row: where it starts in the flat audio, how far the start may still move,
    and what is known of its track. All columns are tensors on the training device.
    """

    def __init__(
        self,
        corpus: Corpus,
        tracks: list[Track],
        weights: dict[str, float],
        *,
        n_samples: int,
        floor_db: float,
        device: torch.device,
    ) -> None:
        tracks = [t for t in tracks if weights.get(t.group, 0.0) > 0]
        starts = [_loud_starts(corpus, t, n_samples=n_samples, floor_db=floor_db) for t in tracks]
        owner = np.repeat(np.arange(len(tracks)), [len(s) for s in starts])
        if not owner.size:
            raise DataError(
                f"{corpus.folder}: no chunk of {n_samples} samples in the groups {sorted(weights)}"
            )
        start = np.concatenate(starts) * LEVEL_BLOCK
        groups = sorted(weights)
        group = np.array([groups.index(t.group) for t in tracks])[owner]
        # A group's weight is shared by its tracks as the square root of what each has to
        # offer: long songs do not drown the many short ones.
        chance = 1 / np.sqrt(np.bincount(owner)[owner])
        chance *= np.array([weights[g] for g in groups])[group] / np.bincount(group, chance)[group]
        length = np.array([t.n_samples for t in tracks])[owner]

        def column(values: npt.ArrayLike) -> Tensor:
            return torch.from_numpy(np.asarray(values)).to(device)

        self.tracks = tracks
        self.owner = column(owner)
        self.start = column(start)
        self.spare = column(np.minimum(length - n_samples - start, LEVEL_BLOCK - 1) + 1)
        self.cumulative = column(np.cumsum(chance) / chance.sum())

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the owners and the exact starts of `n` chunks, each [shape=(n,)]."""
        device = generator.device
        point = torch.rand(n, generator=generator, device=device, dtype=torch.float64)
        row = torch.searchsorted(self.cumulative, point).clamp_max(len(self.cumulative) - 1)
        jitter = torch.rand(n, generator=generator, device=device) * self.spare[row]
        return self.owner[row], self.start[row] + jitter.long()


def _loud_starts(
    corpus: Corpus, track: Track, *, n_samples: int, floor_db: float
) -> npt.NDArray[np.int64]:
    """Starts, in level blocks, of the chunks of a track whose RMS is above `floor_db`."""
    blocks = -(-n_samples // LEVEL_BLOCK)
    power = corpus.track_levels(track).astype(np.float64) ** 2
    if len(power) < blocks or track.n_samples < n_samples:
        return np.zeros(0, np.int64)
    mean = np.convolve(power, np.full(blocks, 1 / blocks), "valid")
    starts = np.nonzero(10 * np.log10(mean + 1e-12) > floor_db)[0]
    return starts[starts * LEVEL_BLOCK + n_samples <= track.n_samples]


def _common(track: Track, partner: Track) -> Track:
    """Return `track` without what reaches beyond the end of its partner."""
    return track.model_copy(update={"n_samples": min(track.n_samples, partner.n_samples)})


@dataclass(frozen=True)
class _Facts:
    """What is known of a list of tracks, as tensors indexed by the track's place in it."""

    offset: Tensor
    n_channels: Tensor
    bandwidth_hz: Tensor
    release_level: Tensor
    dry: Tensor

    @classmethod
    def of(cls, tracks: list[Track], dry: tuple[str, ...], device: torch.device) -> _Facts:
        return cls(
            torch.tensor([t.offset for t in tracks], device=device),
            torch.tensor([t.n_channels for t in tracks], device=device),
            torch.tensor([t.bandwidth_hz for t in tracks], device=device),
            torch.tensor([t.release_level for t in tracks], device=device),
            torch.tensor([t.group in dry for t in tracks], device=device),
        )


class Mixer:
    """Draws batches of sources.

    The audio is one flat int16 tensor: on a CPU the memory map itself, on a GPU a copy on
    the card. A batch is four gathers and a handful of element-wise operations.

    Parameters
    ----------
    corpus : Corpus
        Only tracks of the training split are drawn.
    mixing : Mixing
    n_samples : int
        Length of a chunk.
    device : torch.device

    Raises
    ------
    DataError
        If nothing in the groups that the recipe names is long and loud enough.
    """

    def __init__(
        self, corpus: Corpus, mixing: Mixing, *, n_samples: int, device: torch.device
    ) -> None:
        self.mixing, self.n_samples, self.rate_hz = mixing, n_samples, corpus.rate_hz
        audio = np.asarray(corpus.audio).view(np.int16)
        self._flat = _as_tensor(audio) if device.type == "cpu" else _as_tensor(audio).to(device)
        train = [t for t in corpus.tracks if t.split == "train"]
        voices = [t for t in train if t.role == "vocals"]
        music = [t for t in train if t.role == "instrumental"]
        partner = {t.song: t for t in music}

        # Played fastest, a chunk takes in this much of its track.
        needed = int(n_samples * mixing.speed[1]) + 2

        def chunks(tracks: list[Track], weights: dict[str, float], floor_db: float) -> _Chunks:
            return _Chunks(
                corpus, tracks, weights, n_samples=needed, floor_db=floor_db, device=device
            )

        def facts(tracks: list[Track]) -> _Facts:
            return _Facts.of(tracks, mixing.reverb_groups, device)

        wanted = [t for t in voices if mixing.vocals.get(t.group, 0.0) > 0]
        paired = [_common(t, partner[t.song]) for t in wanted if t.song in partner]
        self._voices = chunks(voices, mixing.vocals, mixing.floor_db)
        self._music = chunks(music, mixing.instrumentals, _MUSIC_FLOOR_DB)
        self._voice_facts = facts(self._voices.tracks)
        self._music_facts = facts(self._music.tracks)
        self._songs = None
        if mixing.same_song > 0 and paired:
            self._songs = chunks(paired, mixing.vocals, mixing.floor_db)
            self._song_facts = facts(self._songs.tracks)
            self._partner_facts = facts([partner[t.song] for t in self._songs.tracks])

    def draw(self, n: int, generator: torch.Generator) -> Batch:
        """Return `n` mixtures as their sources.

        Parameters
        ----------
        n : int
        generator : torch.Generator
            Lives on the training device; the only source of chance.
        """
        mixing = self.mixing
        n_same = round(n * mixing.same_song) if self._songs is not None else 0
        parts = [self._different_songs(n - n_same, generator)]
        if n_same:
            parts.append(self._one_song(n_same, generator))
        vocals, music, foreign, bandwidth_hz = (
            torch.cat(column) for column in zip(*parts, strict=True)
        )
        level_db = augment.uniform(n, *mixing.vocal_level_db, generator)
        vocals = augment.match_level(vocals, music, foreign, level_db)
        if mixing.swap:
            vocals = augment.swap_channels(vocals, generator)
            music = augment.swap_channels(music, generator)
        vocals = augment.scale(vocals, *mixing.gain, generator)
        music = augment.scale(music, *mixing.gain, generator)
        absent = augment.uniform(n, 0, 1, generator) < mixing.no_vocals
        vocals = vocals * (~absent)[:, None, None]
        return Batch(vocals, music, bandwidth_hz)

    def _one_song(
        self, n: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Both sources from the same moment of one song, at one speed."""
        if self._songs is None:
            raise AssertionError("no song has both sources")
        owner, start = self._songs.draw(n, generator)
        speed = augment.uniform(n, *self.mixing.speed, generator)
        vocals, vocals_hz = self._cut(self._song_facts, owner, start, speed, generator)
        music, music_hz = self._cut(self._partner_facts, owner, start, speed, generator)
        foreign = ~self._song_facts.release_level[owner]
        return vocals, music, foreign, torch.minimum(vocals_hz, music_hz)

    def _different_songs(
        self, n: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Sources that never met: vocals of one recording, music of another."""
        voice, voice_start = self._voices.draw(n, generator)
        track, track_start = self._music.draw(n, generator)
        speed = self.mixing.speed
        vocals, vocals_hz = self._cut(
            self._voice_facts, voice, voice_start, augment.uniform(n, *speed, generator), generator
        )
        music, music_hz = self._cut(
            self._music_facts, track, track_start, augment.uniform(n, *speed, generator), generator
        )
        lucky = augment.uniform(n, 0, 1, generator) < self.mixing.reverb
        roomy = self._voice_facts.dry[voice] & lucky
        vocals = augment.reverb(vocals, roomy, rate_hz=self.rate_hz, generator=generator)
        # Only stems of finished records meet at the levels they have.
        foreign = ~(self._voice_facts.release_level[voice] & self._music_facts.release_level[track])
        return vocals, music, foreign, torch.minimum(vocals_hz, music_hz)

    def _cut(
        self,
        facts: _Facts,
        owner: Tensor,
        start: Tensor,
        speed: Tensor,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Gather chunks at their speeds; mono is put near the centre.

        Returns
        -------
        audio : float32 Tensor [shape=(n, 2, n_samples)]
        bandwidth_hz : Tensor [shape=(n,)]
        """
        n_channels = facts.n_channels[owner]
        first = facts.offset[owner] + start * n_channels
        place = torch.arange(self.n_samples, device=owner.device) * speed[:, None]
        whole = place.long()
        part = (place - whole)[:, None]
        left = first[:, None] + whole * n_channels[:, None]
        index = torch.stack([left, left + (n_channels[:, None] - 1)], dim=1)
        here = self._flat[index].to(torch.float32)
        after = self._flat[index + n_channels[:, None, None]].to(torch.float32)
        audio = torch.lerp(here, after, part) / 32768
        audio = augment.pan(audio, n_channels == 1, self.mixing.pan_db, generator)
        return audio, facts.bandwidth_hz[owner] * speed


def _as_tensor(audio: npt.NDArray[np.int16]) -> Tensor:
    """Share an array's memory with a tensor that nobody writes to."""
    with warnings.catch_warnings():
        # The pages of the map are read-only, of which torch warns; nothing here writes.
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(audio)
