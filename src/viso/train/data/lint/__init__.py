"""The data linter: finds what is wrong with recordings before a network trains on them.

`levels` checks one sound, `agreement` compares stems with their mixture, `bleed` compares stems
with each other, `fingerprint` and `duplicates` compare all songs. `checks` has the thresholds and
messages, `sources` reads the songs. One song is in memory at a time, with the fingerprints of the
others.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from viso.dsp.bandwidth import bandwidth_hz
from viso.train.data.lint.checks import check_song
from viso.train.data.lint.duplicates import Duplicates
from viso.train.data.lint.findings import CHECKS, Finding
from viso.train.data.lint.sound import CheckedSong, Part, Stem
from viso.train.data.lint.sources import songs_of_corpus, songs_of_items

__all__ = [
    "CHECKS",
    "Checked",
    "CheckedSong",
    "Finding",
    "Part",
    "Stem",
    "lint",
    "songs_of_corpus",
    "songs_of_items",
]

_NARROW = 0.6
"""Sound that ends below this share of the Nyquist frequency had a lower sampling rate once. MP3 at
its lowest usual rates still reaches 16 of 22 kHz."""


@dataclass(frozen=True)
class Checked:
    """The findings about one song; the last one of a run is about all songs together."""

    song: str
    duration_s: float
    findings: list[Finding]


def lint(songs: Iterable[CheckedSong], *, rate_hz: int | None = None) -> Iterator[Checked]:
    """Check each song, then compare all songs.

    Parameters
    ----------
    songs : iterable of CheckedSong
        Best a lazy one: each song is released before the next is read.
    rate_hz : int, optional
        Sampling rate that the files should have.

    Yields
    ------
    Checked
        One for each song, and one more, named "", for the whole.
    """
    whole = _Whole()
    for song in songs:
        findings = check_song(song, rate_hz=rate_hz)
        if not any(finding.check == "not-finite" for finding in findings):
            whole.add(song)
        yield Checked(song.name, song.duration_s, findings)
        del song
    yield Checked("", 0.0, whole.findings())


class _Whole:
    """Keeps the facts about every song that are compared between songs."""

    def __init__(self) -> None:
        self._duplicates = Duplicates()
        self._singers: dict[str, Counter[str]] = defaultdict(Counter)
        self._rates: dict[str, Counter[int]] = defaultdict(Counter)
        self._narrow: dict[str, list[float]] = defaultdict(list)
        self._n_stems: Counter[str] = Counter()

    def add(self, song: CheckedSong) -> None:
        self._duplicates.add(song)
        if song.singer:
            self._singers[song.singer][song.split] += 1
        for stem in song.stems:
            self._n_stems[song.group] += 1
            self._rates[song.group].update(part.file_rate_hz for part in stem.parts)
            top = bandwidth_hz(stem.audio, rate_hz=song.rate_hz)
            if top < _NARROW * song.rate_hz / 2:
                self._narrow[song.group].append(top)

    def findings(self) -> list[Finding]:
        return [
            *self._narrow_groups(),
            *self._mixed_rates(),
            *self._duplicates.findings(),
            *self._shared_singers(),
        ]

    def _narrow_groups(self) -> Iterator[Finding]:
        for group, tops in self._narrow.items():
            low, high = min(tops) / 1000, max(tops) / 1000
            message = (
                f"{len(tops)} of {self._n_stems[group]} stems have nothing above {low:.1f} to "
                f"{high:.1f} kHz, far below half their rate; upsampled, or dark by nature: mask "
                "the loss above"
            )
            yield Finding("note", "bandwidth", group, "", message)

    def _mixed_rates(self) -> Iterator[Finding]:
        for group, rates in self._rates.items():
            if len(rates) > 1:
                listed = ", ".join(f"{n} at {rate} Hz" for rate, n in rates.most_common())
                message = f"files of several sampling rates ({listed}); packing resamples them"
                yield Finding("note", "rate", group, "", message)

    def _shared_singers(self) -> Iterator[Finding]:
        for singer, splits in self._singers.items():
            if len(splits) > 1:
                message = (
                    f"{singer} sings in both splits (train {splits['train']}, valid "
                    f"{splits['valid']} songs); a network that knows the voice scores too well"
                )
                yield Finding("note", "singer", singer, "vocals", message)
