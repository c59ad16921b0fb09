"""Estimate the length of songs and the size of their stems from a sample of the songs."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from viso.audio import AudioInfo, inspect_isolated
from viso.batch.settings import SeparationConfig
from viso.batch.staging import brought
from viso.errors import AudioError, VisoError
from viso.separator.separation import region_s
from viso.stores.address import Location

__all__ = ["Lengths", "look_at"]

_SAMPLE = 200  # songs that are opened for a plan
_LONGEST_LOOK_S = 10.0
_BROUGHT = 5  # of these, how many at most are downloaded from a store

_BYTES = {"16": 2, "24": 3, "float": 4}
_FLAC = 0.6  # size relative to PCM, roughly
# The encoders' default rates in bits per second; 128,000 is for each channel.
_BPS = {"mp3": 320_000, "ogg": 320_000, "opus": 128_000, "m4a": 128_000}


@dataclass(frozen=True)
class _Inspected:
    suffix: str
    n_bytes: int
    duration_s: float
    rate_hz: int
    n_channels: int


@dataclass(frozen=True)
class Lengths:
    """What a sample of songs says about all of them.

    `exact` holds the lengths of the opened songs in seconds, by path. `s_per_byte` holds the
    seconds per byte of a file, by suffix; "" is for all suffixes together. `stem_bytes_per_s` is
    how many bytes of stems a second of song gives.
    """

    exact: dict[Location, float]
    s_per_byte: dict[str, float]
    stem_bytes_per_s: float

    def seconds(self, path: Location, n_bytes: int) -> float:
        """Return the length of a song in seconds, exact or estimated."""
        rate = self.s_per_byte.get(path.suffix.lower(), self.s_per_byte.get("", 0.0))
        return self.exact.get(path, rate * n_bytes)


def look_at(songs: Sequence[tuple[Location, int]], config: SeparationConfig) -> Lengths:
    """Open a sample of the songs, or all if there are few, and measure their lengths.

    Another process opens them, so a file that crashes its decoder does not end the batch.

    Parameters
    ----------
    songs : sequence of (Path or Address, int)
        With their sizes in bytes.
    config : SeparationConfig
    """
    until = time.monotonic() + _LONGEST_LOOK_S
    sample = random.Random(0).sample(songs, min(len(songs), _SAMPLE))  # noqa: S311
    looks: dict[Location, _Inspected] = {}
    with ExitStack() as stack:
        here = _brought(sample, stack, until)
        opened = inspect_isolated(list(here.values()), patience_s=_LONGEST_LOOK_S)
        stack.callback(opened.close)  # type: ignore[attr-defined]
        for (place, n_bytes), facts in zip(here, opened, strict=True):
            if (look := _look(place, n_bytes, facts, config)) is not None:
                looks[place] = look
            if time.monotonic() > until:
                break
    rates = {}
    for suffix in ("", *{look.suffix for look in looks.values()}):
        some = [look for look in looks.values() if suffix in ("", look.suffix)]
        total = sum(look.n_bytes for look in some)
        rates[suffix] = sum(look.duration_s for look in some) / total if total else 0.0
    total_s = sum(look.duration_s for look in looks.values())
    stems = sum(_stem_bytes_per_s(look, config) * look.duration_s for look in looks.values())
    exact = {path: look.duration_s for path, look in looks.items()}
    return Lengths(exact, rates, stems / total_s if total_s else 0.0)


def _brought(
    sample: Sequence[tuple[Location, int]], stack: ExitStack, until: float
) -> dict[tuple[Location, int], Path]:
    """Return the local files of songs, by song and size; only a few come from stores."""
    here: dict[tuple[Location, int], Path] = {}
    n_brought = 0
    for song in sample:
        place = song[0]
        if isinstance(place, Path):
            here[song] = place
        elif n_brought < _BROUGHT and time.monotonic() < until:
            n_brought += 1
            with suppress(VisoError):  # the batch itself reports it
                here[song] = stack.enter_context(brought(place))[0]
    return here


def _look(
    path: Location, n_bytes: int, facts: AudioInfo | AudioError, config: SeparationConfig
) -> _Inspected | None:
    if isinstance(facts, AudioError):  # the batch itself reports it
        return None
    duration_s = region_s(facts.duration_s, config.start_s, config.duration_s)
    if duration_s is None:
        return None
    return _Inspected(path.suffix.lower(), n_bytes, duration_s, facts.rate_hz, facts.n_channels)


def _stem_bytes_per_s(look: _Inspected, config: SeparationConfig) -> float:
    n_stems = len(config.stems)
    if config.format in ("wav", "flac"):
        share = _FLAC if config.format == "flac" else 1.0
        return n_stems * look.rate_hz * look.n_channels * _BYTES[config.bit_depth] * share
    if config.bitrate is not None:
        return n_stems * int(config.bitrate[:-1]) * 1000 / 8
    channels = 1 if _BPS[config.format] == 320_000 else look.n_channels
    return n_stems * _BPS[config.format] * channels / 8
