"""Finds the same sound in both splits (a fault) or more than once in one split (a note)."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from viso.train.data.lint.findings import Finding
from viso.train.data.lint.fingerprint import FRAMES_A_SECOND, SILENT, fingerprint
from viso.train.data.lint.sound import CheckedSong

__all__ = ["Duplicates", "matched_s"]

_LARGEST_ERROR = 0.30
"""Two fingerprints of one second are of the same sound up to this share of differing bits. Chance
gives 0.5; Haitsma and Kalker's own threshold, for three seconds, is 0.35."""
_SHORTEST_S = 4
_FEWEST_VOTES = 4
_NEIGHBOURS = 6
_SHOWN = 4

_Bits = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class _Sound:
    """The facts kept about a stem."""

    song: str
    group: str
    role: str
    split: str
    digest: bytes
    bits: _Bits


def matched_s(a: _Bits, b: _Bits, *, offset: int) -> int:
    """Return for how many seconds in a row two fingerprints are of the same sound.

    Parameters
    ----------
    a, b : uint32 arrays [shape=(n_frames,)]
    offset : int
        Frames by which the sound comes later in `b`.
    """
    start, stop = max(0, -offset), min(len(a), len(b) - offset)
    n_seconds = (stop - start) // FRAMES_A_SECOND
    if n_seconds < 1:
        return 0
    stop = start + n_seconds * FRAMES_A_SECOND
    x, y = a[start:stop], b[start + offset : stop + offset]
    both = ((x != SILENT) & (y != SILENT)).reshape(n_seconds, -1)
    errors = np.where(both, np.bitwise_count(x ^ y).reshape(n_seconds, -1), 0).sum(axis=1)
    n_bits = 32 * both.sum(axis=1)
    is_same = (n_bits >= 16 * FRAMES_A_SECOND) & (errors <= _LARGEST_ERROR * n_bits)
    longest = run = 0
    for same in is_same:
        run = run + 1 if same else 0
        longest = max(longest, run)
    return longest


class Duplicates:
    """Collects the fingerprints of songs, then compares each with all others."""

    def __init__(self) -> None:
        self._sounds: list[_Sound] = []

    def add(self, song: CheckedSong) -> None:
        """Keep the fingerprints of a song's stems (128 bytes a second each)."""
        for stem in song.stems:
            audio = stem.audio
            if not audio.size or not np.any(audio) or not np.isfinite(audio).all():
                continue
            digest = hashlib.blake2b(np.ascontiguousarray(audio).data, digest_size=16).digest()
            bits = fingerprint(audio, rate_hz=song.rate_hz)
            self._sounds.append(_Sound(song.name, song.group, stem.role, song.split, digest, bits))

    def findings(self) -> list[Finding]:
        """Return the duplicates: a fault for each validation stem that is also a training stem,
        and a note for each set of equal stems inside a split."""
        links = {pair: float("inf") for pair in self._equal_pairs()}
        for pair in self._candidates():
            seconds = self._matched(*pair)
            if seconds:
                links[pair[:2]] = max(seconds, links.get(pair[:2], 0))
        found: list[Finding] = []
        for members in _clusters(len(self._sounds), links):
            inside = [links[pair] for pair in links if pair[0] in members]
            found += self._described(sorted(members), min(inside))
        return found

    def _equal_pairs(self) -> list[tuple[int, int]]:
        """Return pairs of sounds of different songs that are equal to the last bit."""
        last: dict[bytes, int] = {}
        pairs = []
        for k, sound in enumerate(self._sounds):
            if sound.digest in last and self._sounds[last[sound.digest]].song != sound.song:
                pairs.append((last[sound.digest], k))
            last[sound.digest] = k
        return pairs

    def _candidates(self) -> list[tuple[int, int, int]]:
        """Return pairs of sounds (a, b, offset) that share fingerprint values at one offset."""
        sounds = self._sounds
        if len(sounds) < 2:
            return []
        values = np.concatenate([sound.bits for sound in sounds])
        owner = np.repeat(np.arange(len(sounds)), [len(sound.bits) for sound in sounds])
        time = np.concatenate([np.arange(len(sound.bits)) for sound in sounds])
        names = {name: k for k, name in enumerate(dict.fromkeys(s.song for s in sounds))}
        song = np.array([names[sound.song] for sound in sounds])
        # Held notes repeat a value: keep its first frame only.
        fresh = np.concatenate([[True], values[1:] != values[:-1]]) & (values != SILENT)
        values, owner, time = values[fresh], owner[fresh], time[fresh]
        order = np.argsort(values, kind="stable")
        values, owner, time = values[order], owner[order], time[order]
        votes: list[npt.NDArray[np.int64]] = []
        for step in range(1, _NEIGHBOURS + 1):
            hit = np.flatnonzero(values[step:] == values[:-step])
            hit = hit[song[owner[hit]] != song[owner[hit + step]]]
            offset = time[hit + step] - time[hit]
            votes.append(np.stack([owner[hit], owner[hit + step], offset], axis=1))
        return _elected(np.concatenate(votes))

    def _matched(self, a: int, b: int, offset: int) -> int:
        """Return the seconds that two sounds share near an offset, 0 if too few."""
        x, y = self._sounds[a].bits, self._sounds[b].bits
        best = max(matched_s(x, y, offset=offset + shift) for shift in (-1, 0, 1, 2))
        return best if best >= _SHORTEST_S else 0

    def _described(self, members: list[int], seconds: float) -> list[Finding]:
        sounds = [self._sounds[k] for k in members]
        how = "sample for sample" if seconds == float("inf") else f"{seconds:.0f} s or more"
        train = [sound for sound in sounds if sound.split == "train"]
        found = [
            Finding(
                "fault",
                "duplicate",
                sound.song,
                sound.role,
                f"this {sound.role} is also in the training split ({how}): {_listed(train)}; "
                "leave it out of one of the splits",
            )
            for sound in sounds
            if sound.split == "valid" and train
        ]
        for split in ("train", "valid"):
            same = [sound for sound in sounds if sound.split == split]
            if len({sound.song for sound in same}) > 1:
                found.append(
                    Finding(
                        "note",
                        "duplicate",
                        same[0].group,
                        same[0].role,
                        f"{len(same)} stems share the same sound ({how}): {_listed(same)}; leave "
                        "copies out, or they weigh more than other songs",
                    )
                )
        return found


def _listed(sounds: list[_Sound]) -> str:
    names = list(dict.fromkeys(sound.song for sound in sounds))
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _elected(votes: npt.NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Return the pairs and offsets (in steps of two frames) with enough votes."""
    swap = votes[:, 0] > votes[:, 1]
    votes[swap] = votes[swap][:, [1, 0, 2]] * np.array([1, 1, -1])
    votes[:, 2] -= votes[:, 2] % 2
    chosen, count = np.unique(votes, axis=0, return_counts=True)
    return [(int(a), int(b), int(c)) for a, b, c in chosen[count >= _FEWEST_VOTES]]


def _clusters(n: int, links: dict[tuple[int, int], float]) -> list[set[int]]:
    """Return the sets of sounds that are linked, directly or through others."""
    head = list(range(n))

    def find(k: int) -> int:
        while head[k] != k:
            head[k] = head[head[k]]
            k = head[k]
        return k

    for a, b in links:
        head[find(a)] = find(b)
    members: dict[int, set[int]] = defaultdict(set)
    for pair in links:
        for k in pair:
            members[find(k)].add(k)
    return list(members.values())
