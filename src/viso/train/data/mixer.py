"""Draws training mixtures from a corpus, a whole batch at once, on the training device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from viso.errors import DataError
from viso.train import augment
from viso.train.data.chunks import Chunks, TrackTensors, group_weights, on_device
from viso.train.data.corpus import Corpus, Track
from viso.train.data.pools import Pool, Reading
from viso.train.recipe import Mixing

__all__ = ["Batch", "Mixer"]

_MUSIC_FLOOR_DB = -60.0
_LOWEST_SHIFT = 2 ** (-3 / 12)  # lowest factor that `shift_pitch` draws, for the bandwidth
_SECOND_DB, _SECOND_ASIDE_DB = (-12.0, 0.0), 12.0  # second voice: level against the first, pan


@dataclass(frozen=True)
class Batch:
    """The sources of a batch of mixtures; a mixture is their sum.

    `vocals` and `instrumental` are float32 [shape=(batch, 2, samples)]; `bandwidth_hz`
    [shape=(batch,)] is the bandwidth of the narrower source.
    """

    vocals: Tensor
    instrumental: Tensor
    bandwidth_hz: Tensor

    @property
    def mixture(self) -> Tensor:
        """The sum of the sources."""
        return self.vocals + self.instrumental


@dataclass(frozen=True)
class _Drawn:
    """Sources before they are mixed; `foreign` pairs do not have the levels of one record."""

    vocals: Tensor
    music: Tensor
    foreign: Tensor
    bandwidth_hz: Tensor


class Mixer:
    """Draws batches of sources.

    The audio is one flat int16 tensor: on a CPU the memory map itself, on a GPU a copy on
    the card. A batch takes a few gathers and the augmentations that `Mixing` requests.

    Parameters
    ----------
    corpus : Corpus
        Only its training tracks are drawn.
    mixing : Mixing
    n_samples : int
        Length of a chunk.
    device : torch.device

    Attributes
    ----------
    shares : dict of str to dict of str to float
        How often each group is drawn, by role; the shares of a role sum to one.

    Raises
    ------
    DataError
        If a group that the recipe names does not exist, or has no chunk that is long and loud
        enough.
    """

    def __init__(
        self, corpus: Corpus, mixing: Mixing, *, n_samples: int, device: torch.device
    ) -> None:
        self.mixing, self.n_samples, self.rate_hz = mixing, n_samples, corpus.rate_hz
        train = [t for t in corpus.tracks if t.split == "train"]
        voices = [t for t in train if t.role == "vocals"]
        # A single stem of a backing (drums, bass, ...) is no music on its own.
        music = [t for t in train if t.role == "instrumental" and t.group not in mixing.parts]
        partner = {t.song: t for t in music}
        self.shares = {
            "vocals": group_weights(voices, mixing.vocals),
            "instrumental": group_weights(music, mixing.instrumentals),
        }
        self._reading = Reading(
            on_device(np.asarray(corpus.audio).view(np.int16), device), mixing, n_samples=n_samples
        )

        def pool(tracks: list[Track], weights: dict[str, float], floor_db: float) -> Pool:
            dry = mixing.dry_groups
            return Pool.of(
                corpus, tracks, weights, self._reading, floor_db=floor_db, dry=dry, device=device
            )

        wanted = [t for t in voices if t.group in self.shares["vocals"]]
        paired = [_common(t, partner[t.song]) for t in wanted if t.song in partner]
        self._voices = pool(voices, self.shares["vocals"], mixing.floor_db)
        self._music = pool(music, self.shares["instrumental"], _MUSIC_FLOOR_DB)
        self._keep_to("vocals", self._voices.chunks, mixing.vocals)
        self._keep_to("instrumental", self._music.chunks, mixing.instrumentals)
        self._parts: list[Pool] = []
        for name in mixing.parts if mixing.remix else ():
            of_part = [t for t in train if t.group == name and t.role == "instrumental"]
            self._parts.append(pool(of_part, group_weights(of_part, {name: 1.0}), _MUSIC_FLOOR_DB))
        self._songs: Pool | None = None
        if mixing.same_song > 0 and paired:
            self._songs = pool(paired, self.shares["vocals"], mixing.floor_db)
            partners = [partner[t.song] for t in self._songs.chunks.tracks]
            self._partner_facts = TrackTensors.of(partners, mixing.dry_groups, device)

    def _keep_to(self, role: str, chunks: Chunks, wanted: dict[str, float]) -> None:
        """Keep in the shares only the groups that have a chunk to draw."""
        empty = sorted(set(self.shares[role]) - chunks.groups)
        if empty and wanted:
            seconds = self._reading.n_needed / self.rate_hz
            raise DataError(
                f"mixing: no {role} of the groups {', '.join(empty)} is {seconds:.1f} s long and "
                "loud enough; take them out of the recipe, or lower floor_db or chunk_frames"
            )
        left = {g: share for g, share in self.shares[role].items() if g not in empty}
        self.shares[role] = {g: share / sum(left.values()) for g, share in left.items()}

    def draw(self, n: int, generator: torch.Generator) -> Batch:
        """Return the sources of `n` mixtures.

        Parameters
        ----------
        n : int
        generator : torch.Generator
            On the training device; the only source of randomness.
        """
        n_same = 0
        if self._songs is not None:
            # Round at random: a batch of two must get its share of songs, too.
            whim = float(torch.rand(1, generator=generator, device=generator.device))
            n_same = min(n, int(n * self.mixing.same_song + whim))
        parts = [self._different_songs(n - n_same, generator)] if n > n_same else []
        if n_same:
            parts.append(self._one_song(n_same, generator))
        drawn = _Drawn(
            torch.cat([part.vocals for part in parts]),
            torch.cat([part.music for part in parts]),
            torch.cat([part.foreign for part in parts]),
            torch.cat([part.bandwidth_hz for part in parts]),
        )
        return self._mixed(drawn, generator)

    def _mixed(self, drawn: _Drawn, generator: torch.Generator) -> Batch:
        """Set levels, channels, polarity, width, silence and band, and return the batch."""
        mixing, n = self.mixing, len(drawn.vocals)

        def some(share: float) -> Tensor:
            return augment.some(n, share, generator)

        level_db = augment.uniform(n, *mixing.vocal_level_db, generator)
        vocals = augment.match_level(drawn.vocals, drawn.music, drawn.foreign, level_db)
        sources = []
        everywhere = torch.ones(n, dtype=torch.bool, device=vocals.device)
        for source in (vocals, drawn.music):
            source = augment.swap_channels(source, some(mixing.swap))
            source = augment.invert(source, some(mixing.invert))
            sources.append(
                augment.scale(source, everywhere, factor=mixing.gain, generator=generator)
            )
        mono = some(mixing.mono)
        vocals, music = (
            augment.widen(source, mono, width=(0.0, 0.0), generator=generator) for source in sources
        )
        vocals = augment.quieten(vocals, some(mixing.quiet_vocals), generator=generator)
        # One random number decides for both sources, so that they are never both silent.
        first = augment.uniform(n, 0, 1, generator)
        vocals = augment.silence(vocals, first < mixing.no_vocals)
        music = augment.silence(music, first > 1 - mixing.no_music)
        (vocals, music), cutoff_hz = augment.cut_band(
            (vocals, music), some(mixing.cut_band), rate_hz=self.rate_hz, generator=generator
        )
        return Batch(vocals, music, torch.minimum(drawn.bandwidth_hz, cutoff_hz))

    def _one_song(self, n: int, generator: torch.Generator) -> _Drawn:
        """Draw both sources from the same moment of one song, at one speed."""
        if self._songs is None:
            raise AssertionError("no song has both sources")
        owner, start = self._songs.chunks.draw(n, generator)
        speed, sound = self._reading.speeds(n, generator), self._reading.sound
        vocals, vocals_hz = sound(self._songs.facts, owner, start, speed, generator)
        music, music_hz = sound(self._partner_facts, owner, start, speed, generator)
        foreign = ~self._songs.facts.release_level[owner]
        return _Drawn(vocals, music, foreign, torch.minimum(vocals_hz, music_hz))

    def _different_songs(self, n: int, generator: torch.Generator) -> _Drawn:
        """Draw vocals and music from different recordings."""
        vocals, vocals_hz, voice = self._voices.draw(n, generator)
        vocals_at_release = self._voices.facts.release_level[voice]
        if self.mixing.second_voice:
            chosen = augment.some(n, self.mixing.second_voice, generator)
            vocals, vocals_hz = self._sung_along(chosen, vocals, vocals_hz, generator)
        music, music_hz, track = self._music.draw(n, generator)
        at_release = self._music.facts.release_level[track]
        if self._parts:
            remixed = augment.some(n, self.mixing.remix, generator)
            music, music_hz, at_release = self._remixed(
                remixed, music, music_hz, at_release, generator
            )
        shifted = augment.some(n, self.mixing.shift_pitch, generator)
        vocals = self._produced(vocals, self._voices.facts.dry[voice], shifted, generator)
        vocals_hz = torch.where(shifted, vocals_hz * _LOWEST_SHIFT, vocals_hz)
        coloured = augment.some(n, self.mixing.tilt, generator)
        music = augment.tilt(music, coloured, rate_hz=self.rate_hz, generator=generator)
        if self.mixing.drive:
            vocals, music = (
                augment.drive(source, augment.some(n, share, generator), generator=generator)
                for source, share in ((vocals, self.mixing.drive / 2), (music, self.mixing.drive))
            )
        # Only stems of finished records keep their levels in the mixture.
        foreign = ~(vocals_at_release & at_release)
        return _Drawn(vocals, music, foreign, torch.minimum(vocals_hz, music_hz))

    def _remixed(
        self,
        chosen: Tensor,
        music: Tensor,
        music_hz: Tensor,
        at_release: Tensor,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Replace the chosen chunks of music with sums of stems (drums, bass, ...) of many songs.

        The narrowest stem does not set the bandwidth: drums fill what a bass leaves empty.
        """
        rows = torch.nonzero(chosen)[:, 0]
        n = len(rows)
        if not n:
            return music, music_hz, at_release
        whole = torch.zeros_like(music[rows])
        widest = torch.zeros_like(music_hz[rows])
        everywhere = torch.ones(n, dtype=torch.bool, device=rows.device)
        for pool in self._parts:
            part, hz, _ = pool.draw(n, generator)
            part = augment.swap_channels(part, augment.some(n, self.mixing.swap, generator))
            whole += augment.scale(part, everywhere, factor=self.mixing.gain, generator=generator)
            widest = torch.maximum(widest, hz)
        return (
            music.index_copy(0, rows, whole),
            music_hz.index_copy(0, rows, widest),
            at_release.index_fill(0, rows, True),
        )

    def _sung_along(
        self, chosen: Tensor, vocals: Tensor, vocals_hz: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Add a second voice to the chosen chunks, softer and panned, as in duets and choirs."""
        rows = torch.nonzero(chosen)[:, 0]
        n = len(rows)
        if not n:
            return vocals, vocals_hz
        other, hz, _ = self._voices.draw(n, generator)
        everywhere = torch.ones(n, dtype=torch.bool, device=rows.device)
        level_db = augment.uniform(n, *_SECOND_DB, generator)
        other = augment.match_level(other, vocals[rows], everywhere, level_db)
        other = augment.pan(other, everywhere, most_db=_SECOND_ASIDE_DB, generator=generator)
        narrower = torch.minimum(vocals_hz[rows], hz)
        return vocals.index_add(0, rows, other), vocals_hz.index_copy(0, rows, narrower)

    def _produced(
        self, vocals: Tensor, dry: Tensor, shifted: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Make solo voices sound like records; some effects are for dry voices only."""
        mixing = self.mixing

        def some(share: float) -> Tensor:
            return augment.some(len(vocals), share, generator)

        chain: list[tuple[Callable[..., Tensor], Tensor]] = [
            (augment.shift_pitch, shifted),
            (augment.tilt, some(mixing.tilt)),
            (augment.compress, dry & some(mixing.compress)),
            (partial(augment.harmonise, level_db=mixing.harmony_db), some(mixing.harmonise)),
            (augment.double, dry & some(mixing.double)),
            (augment.delay, dry & some(mixing.delay)),
            (augment.reverb, dry & some(mixing.reverb)),
        ]
        for effect, chosen in chain:
            vocals = effect(vocals, chosen, rate_hz=self.rate_hz, generator=generator)
        return vocals


def _common(track: Track, partner: Track) -> Track:
    """Return `track`, cut to the length of its partner."""
    return track.model_copy(update={"n_samples": min(track.n_samples, partner.n_samples)})
