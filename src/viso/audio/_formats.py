"""What each output format can carry: rates, channels, bit rates."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from viso.errors import AudioError

__all__ = ["BIT_DEPTHS", "Format", "format_of", "parse_bitrate"]

BIT_DEPTHS = ("16", "24", "float")


@dataclass(frozen=True)
class Format:
    """One output format.

    Attributes
    ----------
    name : str
        Also the suffix, without its dot.
    max_channels : int
    rates : tuple of int
        The sampling rates it can carry in hertz, ascending; empty means any.
    is_lossless : bool
    highest_hz : int or None
        With `rates` empty: what lies above is resampled to this.
    """

    name: str
    max_channels: int
    rates: tuple[int, ...] = ()
    is_lossless: bool = False
    highest_hz: int | None = None

    def check(self, path: Path, *, rate_hz: int, n_channels: int) -> None:
        """Raise if the format cannot carry so many channels, or the rate in no way."""
        if not 1 <= n_channels <= self.max_channels:
            able = [f.name for f in _FORMATS.values() if f.max_channels >= n_channels > 0]
            raise AudioError(
                f"{path}: {self.name} carries 1 to {self.max_channels} channels, not {n_channels}; "
                f"use {', '.join(able) or 'another number of channels'}"
            )
        if rate_hz < 1:
            raise AudioError(f"{path}: {rate_hz} Hz is no sampling rate; use 44100 or so")
        is_subset = rate_hz <= 65535 or (rate_hz <= 655_350 and rate_hz % 10 == 0)
        if self.name == "flac" and not is_subset:
            raise AudioError(f"{path}: FLAC cannot state a rate of {rate_hz} Hz; use wav")

    def nearest_rate(self, rate_hz: int) -> int:
        """Return `rate_hz` if the format carries it, else the rate to resample to.

        The next higher one. Above the highest, the largest of at least 44.1 kHz that divides
        `rate_hz` (176.4 kHz becomes 88.2 or 44.1 kHz), else the highest. Opus is always 48 kHz.
        """
        if not self.rates:
            return min(rate_hz, self.highest_hz or rate_hz)
        if rate_hz in self.rates:
            return rate_hz
        if self.name == "opus":
            return 48000
        if rate_hz < self.rates[-1]:
            return self.rates[bisect_left(self.rates, rate_hz)]
        whole = [rate for rate in self.rates if rate >= 44100 and rate_hz % rate == 0]
        return max(whole, default=self.rates[-1])


_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_AAC_RATES = (7350, *_MP3_RATES, 64000, 88200, 96000)
_FORMATS = {
    f.name: f
    for f in (
        Format("wav", 1024, is_lossless=True),
        Format("flac", 8, is_lossless=True),
        Format("mp3", 2, _MP3_RATES),
        # libsndfile 1.2.2 crashes the process when libvorbis refuses a rate, above 200 kHz
        Format("ogg", 8, highest_hz=192_000),
        Format("opus", 8, (8000, 12000, 16000, 24000, 48000)),
        Format("m4a", 8, _AAC_RATES),
    )
}

# Nominal kbit/s per channel of Vorbis at quality -1, 0, ... 10, for 44.1 kHz stereo.
_VORBIS_KBPS = (22.5, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 250)
_MP3_KBPS_1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MP3_KBPS_2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MP3_SMALLEST_FRAME = 208  # bytes; LAME's header with delay and padding fits into no less


def format_of(path: Path) -> Format:
    """Return the format that the suffix of `path` names."""
    try:
        return _FORMATS[path.suffix.lower().lstrip(".")]
    except KeyError:
        known = ", ".join(_FORMATS)
        raise AudioError(f"{path}: no output format {path.suffix!r}; use one of {known}") from None


def parse_bitrate(text: str) -> int:
    """Turn "320k" or "320000" into bits per second."""
    match = re.fullmatch(r"(\d{1,7})\s*([kK]?)", text.strip())
    bps = int(match[1]) * (1000 if match[2] else 1) if match else 0
    if not 8000 <= bps <= 4_000_000:
        raise AudioError(f"bitrate {text!r}: write something like 192k or 320k")
    return bps


def mp3_level(rate_hz: int, bps: int | None) -> float:
    """Return libsndfile's compression level for the legal bit rate nearest to `bps`.

    The highest one (320, 160 or 64 kbit/s, as the rate allows) if `bps` is None.
    """
    table: tuple[int, ...] = _MP3_KBPS_1 if rate_hz >= 32000 else _MP3_KBPS_2
    if rate_hz < 16000:
        table = tuple(k for k in table if k <= 64)
    per_frame = (144 if rate_hz >= 32000 else 72) * 1000 / rate_hz
    legal = [k for k in table if k * per_frame >= _MP3_SMALLEST_FRAME]
    kbps = legal[-1] if bps is None else min(legal, key=lambda k: abs(k - bps / 1000))
    return (table[-1] - kbps) / (table[-1] - table[0])


def vorbis_level(n_channels: int, bps: int | None) -> float:
    """Return libsndfile's compression level for a nominal bit rate; quality 9 if None."""
    if bps is None:
        return 0.1
    quality = np.interp(bps / 1000 / n_channels, _VORBIS_KBPS, np.arange(-1, 11))
    return float(np.clip(1 - quality / 10, 0, 1))


def opus_level(n_channels: int, bps: int | None) -> float:
    """Return libsndfile's compression level; 128 kbit/s per channel if None."""
    per_channel = 128_000 if bps is None else bps / n_channels
    return float(np.clip(1 - (per_channel - 6000) / 250_000, 0, 1))
