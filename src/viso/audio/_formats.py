"""The rates, channels and bit rates that each output format can carry."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from viso.errors import AudioError

__all__ = ["BIT_DEPTHS", "Format", "check_bitrate", "format_of", "parse_bitrate"]

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
        If `rates` is empty: higher rates are resampled to this one.
    """

    name: str
    max_channels: int
    rates: tuple[int, ...] = ()
    is_lossless: bool = False
    highest_hz: int | None = None

    def check(self, path: Path, *, rate_hz: int, n_channels: int) -> None:
        """Raise AudioError if the format cannot carry the channels, or the rate even resampled."""
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

        That is the next higher rate. Above the highest rate, it is the largest rate of at least
        44.1 kHz that divides `rate_hz` (176.4 kHz becomes 88.2 or 44.1 kHz), else the highest.
        Opus is resampled to 48 kHz.
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
        # libsndfile 1.2.2 crashes the process when libvorbis refuses a rate (above 200 kHz)
        Format("ogg", 8, highest_hz=192_000),
        Format("opus", 8, (8000, 12000, 16000, 24000, 48000)),
        Format("m4a", 8, _AAC_RATES),
    )
}

# Nominal kbit/s per channel of Vorbis at quality -1, 0, ... 10 for 44.1 kHz stereo.
_VORBIS_KBPS = (22.5, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 250)
_LOWEST_BPS = 8000
_MP3_KBPS_1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MP3_KBPS_2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_LOWEST_AAC_BPS = 16_000  # FFmpeg's encoder makes at least 15,600 of one channel at 44.1 kHz
_OPUS_BPS = (6_000, 256_000)  # per channel: libsndfile's compression levels 1 and 0


def format_of(path: Path) -> Format:
    """Return the format that the suffix of `path` names."""
    try:
        return _FORMATS[path.suffix.lower().lstrip(".")]
    except KeyError:
        known = ", ".join(_FORMATS)
        raise AudioError(f"{path}: no output format {path.suffix!r}; use one of {known}") from None


def parse_bitrate(text: str) -> int:
    """Return "320k" or "320000" as bits per second."""
    match = re.fullmatch(r"(\d{1,7})\s*([kK]?)", text.strip())
    bps = int(match[1]) * (1000 if match[2] else 1) if match else 0
    if not _LOWEST_BPS <= bps <= 4_000_000:
        raise AudioError(f"bitrate {text!r}: write something like 192k or 320k")
    return bps


def bitrate_range(name: str, *, rate_hz: int, n_channels: int) -> tuple[int, int]:
    """Return the lowest and the highest bit rate of a lossy format for all channels together.

    Parameters
    ----------
    name : {"mp3", "ogg", "opus", "m4a"}
    rate_hz : int
        A rate that the format carries.
    n_channels : int
    """
    if name == "mp3":
        table = _mp3_kbps(rate_hz)
        return table[0] * 1000, table[-1] * 1000
    if name == "ogg":
        return int(_VORBIS_KBPS[1] * 1000) * n_channels, int(_VORBIS_KBPS[-1] * 1000) * n_channels
    if name == "opus":
        return _OPUS_BPS[0] * n_channels, _OPUS_BPS[1] * n_channels
    # AAC allows no more than 6144 bits per frame of 1024 samples and channel.
    return _LOWEST_AAC_BPS * n_channels, 6 * rate_hz * n_channels


def check_bitrate(path: Path, text: str, name: str, *, rate_hz: int, n_channels: int) -> int:
    """Return a text such as "320k" as bits per second; raise if the format lacks that bit rate.

    Parameters
    ----------
    path : Path
        For the message.
    text : str
    name : {"mp3", "ogg", "opus", "m4a"}
    rate_hz : int
        A rate that the format carries.
    n_channels : int

    Raises
    ------
    AudioError
    """
    bps = parse_bitrate(text)
    lowest, highest = bitrate_range(name, rate_hz=rate_hz, n_channels=n_channels)
    if not lowest <= bps <= highest:
        channels = "1 channel" if n_channels == 1 else f"{n_channels} channels"
        raise AudioError(
            f"{path}: bitrate {text!r}: {name} with {channels} at {rate_hz} Hz takes "
            f"{-(-lowest // 1000)}k to {highest // 1000}k; choose one of these"
        )
    return bps


def _mp3_kbps(rate_hz: int) -> tuple[int, ...]:
    table: tuple[int, ...] = _MP3_KBPS_1 if rate_hz >= 32000 else _MP3_KBPS_2
    return table if rate_hz >= 16000 else tuple(k for k in table if k <= 64)


def mp3_bps(rate_hz: int, bps: int | None) -> int:
    """Return the legal bit rate nearest to `bps`, or the highest one for None."""
    legal = [1000 * kbps for kbps in _mp3_kbps(rate_hz)]
    return legal[-1] if bps is None else min(legal, key=lambda one: abs(one - bps))


def aac_bps(rate_hz: int, n_channels: int, bps: int | None) -> int:
    """Return `bps`; for None, 128 kbit/s per channel or the highest legal bit rate if lower."""
    highest = bitrate_range("m4a", rate_hz=rate_hz, n_channels=n_channels)[1]
    return min(128_000 * n_channels, highest) if bps is None else bps


def vorbis_level(n_channels: int, bps: int | None) -> float:
    """Return libsndfile's compression level for a nominal bit rate, or quality 9 for None."""
    if bps is None:
        return 0.1
    quality = np.interp(bps / 1000 / n_channels, _VORBIS_KBPS, np.arange(-1, 11))
    return float(np.clip(1 - quality / 10, 0, 1))


def opus_level(n_channels: int, bps: int | None) -> float:
    """Return libsndfile's compression level for a bit rate; None is 128 kbit/s per channel."""
    per_channel = 128_000 if bps is None else bps / n_channels
    lowest, highest = _OPUS_BPS
    return float(np.clip(1 - (per_channel - lowest) / (highest - lowest), 0, 1))
