"""A corpus with part of its training songs: the same ones in every larger part."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable

import numpy as np

from viso.train.data.corpus import LEVEL_BLOCK, Corpus, Track
from viso.train.recipe import Mixing

__all__ = ["SONGS", "as_if_unheard", "chosen", "shared", "songs_alone", "training_songs"]

SONGS = "songs"
"""The group of finished songs with true stems; ``songs-drums`` and so on are their parts."""


def _song_of(track: Track) -> str | None:
    """Return the finished song that a track is of; None if it is of another group."""
    if track.group == SONGS:
        return track.song
    if track.group.startswith(f"{SONGS}-"):
        return track.song.removesuffix(f"/{track.group.removeprefix(f'{SONGS}-')}")
    return None


def training_songs(corpus: Corpus) -> list[str]:
    """Return the names of the finished songs of the training split, sorted."""
    return sorted({t.song for t in corpus.tracks if t.split == "train" and t.group == SONGS})


def chosen(songs: Iterable[str], percent: float) -> set[str]:
    """Return this share of some songs, at least one; smaller shares are part of larger ones.

    A hash of the name decides, so the choice depends on nothing but the names.

    Parameters
    ----------
    songs : iterable of str
    percent : float
        Above 0, at most 100.
    """
    ranked = sorted(songs, key=lambda name: hashlib.sha256(name.encode()).digest())
    return set(ranked[: max(1, round(len(ranked) * percent / 100))])


def shared(corpus: Corpus, percent: float, *, longest_s: float | None = None) -> Corpus:
    """Return a corpus with a share of its finished training songs, and all else.

    Parameters
    ----------
    corpus : Corpus
    percent : float
        Of the songs in the training split; their parts (drums, bass, ...) come and go with them.
    longest_s : float, optional
        Of longer ones only this much, where the voice is loudest: whole songs among excerpts
        would outweigh them.

    Returns
    -------
    Corpus
        The same sound, fewer tracks. The validation split is as it was.
    """
    kept = chosen(training_songs(corpus), percent)
    voices = {t.song: t for t in corpus.tracks if t.group == SONGS and t.role == "vocals"}
    result = copy.copy(corpus)
    # Computed of all tracks, if it was: it must not pass for that of some.
    result.__dict__.pop("hash", None)
    result.tracks = []
    for track in corpus.tracks:
        song = _song_of(track)
        if track.split == "train" and song is not None:
            if song not in kept:
                continue
            if longest_s is not None and song in voices:
                track = _excerpt(corpus, track, voices[song], longest_s)
        result.tracks.append(track)
    return result


def as_if_unheard(corpus: Corpus) -> Corpus:
    """Return the finished songs of the training split as the only ones to be judged by."""
    result = copy.copy(corpus)
    result.__dict__.pop("hash", None)
    result.tracks = [
        track.model_copy(update={"split": "valid"})
        for track in corpus.tracks
        if track.split == "train" and track.group == SONGS
    ]
    return result


def songs_alone(mixing: Mixing) -> Mixing:
    """Return a recipe's mixing with finished songs (and their parts) as the only source."""
    parts = tuple(part for part in mixing.parts if part.startswith(f"{SONGS}-"))
    changes = {"vocals": {SONGS: 1.0}, "instrumentals": {SONGS: 1.0}, "parts": parts}
    if not parts:
        changes["remix"] = 0.0
    return Mixing.model_validate({**mixing.model_dump(), **changes})


def _excerpt(corpus: Corpus, track: Track, voice: Track, longest_s: float) -> Track:
    """Return a track cut to where its song's voice is loudest, on the grid of the levels."""
    blocks = max(1, int(longest_s * corpus.rate_hz) // LEVEL_BLOCK)
    if track.n_levels <= blocks:
        return track
    power = corpus.track_levels(voice).astype(np.float64)[: track.n_levels] ** 2
    sums = np.convolve(power, np.ones(blocks), "valid")
    first = int(np.argmax(sums))
    return track.model_copy(
        update={
            "offset": track.offset + first * LEVEL_BLOCK * track.n_channels,
            "level_offset": track.level_offset + first,
            "n_samples": blocks * LEVEL_BLOCK,
        }
    )
