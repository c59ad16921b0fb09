"""Reads the songs to check, one at a time, from a packed corpus or from a folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from viso.audio import open_audio
from viso.errors import VisoError
from viso.train.data.corpus import Corpus, Track
from viso.train.data.lint.findings import Check, Finding
from viso.train.data.lint.sound import CheckedSong, Part, Stem
from viso.train.data.readers import Item, Source, load

__all__ = ["songs_of_corpus", "songs_of_items"]


def songs_of_corpus(corpus: Corpus) -> tuple[int, Iterator[CheckedSong]]:
    """Return the number of songs in a corpus, and an iterator over them.

    A corpus does not hold the mixtures of the data set, so sums and alignment are not checked.
    """
    songs: dict[str, list[Track]] = {}
    for track in corpus.tracks:
        songs.setdefault(track.song, []).append(track)
    return len(songs), (_of_tracks(corpus, tracks) for tracks in songs.values())


def _of_tracks(corpus: Corpus, tracks: list[Track]) -> CheckedSong:
    rate_hz, first = corpus.rate_hz, tracks[0]
    stems = [Stem(t.role, (Part(t.role, corpus.read(t), rate_hz),)) for t in tracks]
    singers = [track.singer for track in tracks if track.singer]
    return CheckedSong(
        name=first.song,
        group=first.group,
        split=first.split,
        rate_hz=rate_hz,
        stems=tuple(stems),
        singer=next(iter(singers), None),
    )


def songs_of_items(items: list[Item]) -> tuple[int, Iterator[CheckedSong]]:
    """Return the number of songs in the items of readers, and an iterator over them.

    A song has the rate of its first file, so that clipping is visible. A file that cannot be
    decoded becomes a finding of its song.
    """
    songs: dict[str, list[Item]] = {}
    for item in items:
        songs.setdefault(item.song, []).append(item)
    return len(songs), (_of_items(group) for group in songs.values())


def _of_items(items: list[Item]) -> CheckedSong:
    reader = _Reader(items[0].song)
    stems = []
    for item in items:
        parts = [reader.part(item, source) for source in item.sources]
        whole = tuple(part for part in parts if part is not None)
        # If a file of a stem is missing, leave the stem out: its level and sum would be wrong.
        if whole and len(whole) == len(parts):
            stems.append(Stem(item.role, whole))
    mixtures = [item for item in items if item.mixture is not None]
    mixture = None
    if mixtures and mixtures[0].mixture is not None:
        mixture = reader.part(mixtures[0], mixtures[0].mixture)
    return CheckedSong(
        name=items[0].song,
        group=items[0].group,
        split=items[0].split,
        rate_hz=reader.rate_hz or 44_100,
        stems=tuple(stems),
        singer=next((item.singer for item in items if item.singer), None),
        mixture=mixture,
        findings=reader.findings,
    )


class _Reader:
    """Decodes each file of one song once."""

    def __init__(self, song: str) -> None:
        self.song = song
        self.rate_hz: int | None = None
        self.findings: list[Finding] = []
        self._parts: dict[tuple[Path, int], Part | None] = {}

    def part(self, item: Item, source: Source) -> Part | None:
        """Return one source at the rate of the song's first file, or None if it is broken."""
        key = (source.path, source.track)
        if key not in self._parts:
            self._parts[key] = self._decoded(item, source)
        part = self._parts[key]
        return None if part is None else replace(part, sign=source.sign)

    def _decoded(self, item: Item, source: Source) -> Part | None:
        try:
            with open_audio(source.path, track=source.track) as file:
                file_rate_hz = file.rate_hz
            self.rate_hz = self.rate_hz or file_rate_hz
            alone = replace(item, sources=(replace(source, sign=1.0),), mixture=None)
            audio = load(alone, rate_hz=self.rate_hz)
        except VisoError as error:
            # Decoders refuse such samples; a test keeps these words of their message.
            check: Check = "not-finite" if "NaN or infinity" in str(error) else "decode"
            name = source.path.name
            self.findings.append(Finding("fault", check, self.song, name, str(error)))
            return None
        name = f"{source.path}#{source.track}" if source.track else str(source.path)
        return Part(name, audio, file_rate_hz)
