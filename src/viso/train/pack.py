"""Readers: folders of songs, voices and music become tracks of a corpus."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from viso.audio import Resampler, open_audio
from viso.errors import DataError
from viso.train.corpus import CorpusWriter, Track

__all__ = ["Item", "music_in", "music_listed", "pack", "songs_in", "voices_in"]

_SUFFIXES = {".wav", ".flac", ".ogg", ".mp3", ".opus", ".m4a"}
_SILENT_DB = -75.0

Split = Literal["train", "valid"]


@dataclass(frozen=True)
class Item:
    """One track to be packed: the sum of `paths`, with what is known about it."""

    paths: tuple[Path, ...]
    song: str
    role: Literal["vocals", "instrumental"]
    group: str
    split: Split
    singer: str | None = None
    licence: str = "unknown"
    release_level: bool = False
    longest_s: float | None = None


def _audio_in(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES)


def _audio_below(folder: Path) -> list[Path]:
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES)
    if not files:
        raise DataError(f"{folder}: no sound file in it ({' '.join(sorted(_SUFFIXES))})")
    return files


def songs_in(folder: Path, *, group: str, split: Split, licence: str = "unknown") -> Iterator[Item]:
    """Yield the vocals and the instrumental of every song folder below `folder`.

    A song folder holds `vocals.*` and either `instrumental.*` or any other stems, which are
    summed. Songs with several stems are taken to have the levels of the finished record.

    Raises
    ------
    DataError
        If no song is found.
    """
    found = False
    for song in sorted(p for p in folder.glob("*") if p.is_dir()):
        stems = {p.stem: p for p in _audio_in(song) if p.stem != "mixture"}
        vocals = stems.pop("vocals", None)
        if vocals is None or not stems:
            continue
        found = True
        several = "instrumental" not in stems
        music = tuple(stems.values()) if several else (stems["instrumental"],)
        singer = song.name.split("-")[0].strip()
        shared = (f"{group}/{song.name}",)
        yield Item((vocals,), *shared, "vocals", group, split, singer, licence, several)
        yield Item(music, *shared, "instrumental", group, split, singer, licence, several)
    if not found:
        raise DataError(f"{folder}: no song folder with vocals and another stem in it")


def voices_in(folder: Path, *, group: str, licence: str = "unknown") -> Iterator[Item]:
    """Yield every file below `folder` as solo singing.

    Raises
    ------
    DataError
        If there is none.
    """
    for path in _audio_below(folder):
        name = str(path.relative_to(folder).with_suffix(""))
        yield Item((path,), f"{group}/{name}", "vocals", group, "train", path.stem, licence)


def music_in(folder: Path, *, group: str, licence: str = "unknown") -> Iterator[Item]:
    """Yield every file below `folder` as music without singing.

    Raises
    ------
    DataError
        If there is none.
    """
    for path in _audio_below(folder):
        name = str(path.relative_to(folder).with_suffix(""))
        yield Item((path,), f"{group}/{name}", "instrumental", group, "train", None, licence)


def music_listed(
    table: Path, *, root: Path, group: str, longest_s: float | None = None
) -> Iterator[Item]:
    """Yield the tracks of a tab-separated `table` (columns: package, path, split).

    Only the rows of the training split that exist below `root` are taken; `longest_s` keeps
    the middle of a longer track.

    Raises
    ------
    DataError
        If the table cannot be read, lacks a column, or none of its tracks is there.
    """
    found = False
    try:
        with table.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines, delimiter="\t"))
        wanted = [row for row in rows if row["split"] == "train"]
        listed = [(row["package"], root / row["path"]) for row in wanted]
    except OSError as error:
        raise DataError(f"{table}: cannot be read ({error.strerror})") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{table}: needs columns package, path and split ({error!r})") from error
    for package, path in listed:
        if path.is_file():
            found = True
            # Several tracks of a package may share a file name, in folders of their own.
            name = f"{group}/{package}/{path.relative_to(root).with_suffix('')}"
            licence = f"package {package}"
            yield Item(
                (path,), name, "instrumental", group, "train", None, licence, False, longest_s
            )
    if not found:
        raise DataError(f"{table}: none of its training tracks is below {root}; fetch them first")


def _decode(path: Path, rate_hz: int, longest_s: float | None) -> npt.NDArray[np.float32]:
    """Return at most two channels of `path` at `rate_hz` [shape=(channels, n)]."""
    with open_audio(path) as song:
        start_s = 0.0
        if longest_s is not None and song.duration_s is not None and song.duration_s > longest_s:
            start_s = (song.duration_s - longest_s) / 2
        resampler = Resampler(song.n_channels, from_hz=song.rate_hz, to_hz=rate_hz)
        blocks = song.blocks(start_s=start_s, duration_s=longest_s)
        parts = [resampler.process(block) for block in blocks]
        parts.append(resampler.process(np.zeros((song.n_channels, 0), np.float32), last=True))
    return np.concatenate(parts, axis=1)[:2]


def bandwidth_hz(audio: npt.NDArray[np.float32], rate_hz: int) -> float:
    """Return the highest frequency at which `audio` still has sound above -75 dB of its peak.

    Parameters
    ----------
    audio : array [shape=(channels, n)]
    rate_hz : int

    Returns
    -------
    float
        Hertz; the Nyquist frequency for silence.
    """
    n = 4096
    frames = audio[:, : audio.shape[1] // n * n].reshape(audio.shape[0], -1, n)
    if not frames.size:
        return rate_hz / 2
    frames = frames[:, :: max(1, frames.shape[1] // 400)]
    # Channel by channel: what is in opposite phase would vanish from their sum.
    power = (np.abs(np.fft.rfft(frames * np.hanning(n), axis=2)) ** 2).mean(axis=(0, 1))
    if power.max() <= 0:
        return rate_hz / 2
    loud = np.nonzero(10 * np.log10(power / power.max() + 1e-30) > _SILENT_DB)[0]
    return float(min((loud[-1] + 1) * rate_hz / n, rate_hz / 2))


def pack(items: Iterator[Item], folder: Path, *, rate_hz: int = 44_100) -> Iterator[Track]:
    """Decode, sum, resample and append every item; yield each track as it is written.

    Parameters
    ----------
    items : iterator of Item
    folder : Path
        The corpus to make.
    rate_hz : int
        Everything is resampled to this rate.

    Raises
    ------
    AudioError
        If a file cannot be decoded.
    DataError
        If there is no item, a song has two tracks of one role, or the stems of a song differ
        in length by more than 0.1 s.
    """
    lengths: dict[tuple[str, str], int] = {}
    with CorpusWriter(folder, rate_hz=rate_hz) as writer:
        for item in items:
            if (item.song, item.role) in lengths:
                raise DataError(f"{item.song}: two {item.role} tracks of this name; rename one")
            audio = _summed(item, rate_hz)
            lengths[item.song, item.role] = audio.shape[1]
            both = [n for (song, _), n in lengths.items() if song == item.song]
            _check_lengths(item.song, both, rate_hz)
            track = Track(
                song=item.song,
                role=item.role,
                group=item.group,
                split=item.split,
                singer=item.singer,
                licence=item.licence,
                bandwidth_hz=bandwidth_hz(audio, rate_hz),
                release_level=item.release_level,
                n_channels=audio.shape[0],
            )
            yield writer.add(track, [audio])
        if not lengths:
            raise DataError(f"{folder}: nothing to pack; name a folder of songs, voices or music")


def _summed(item: Item, rate_hz: int) -> npt.NDArray[np.float32]:
    """Return the sum of an item's files, mono ones on both sides [shape=(channels, n)]."""
    stems = [_decode(path, rate_hz, item.longest_s) for path in item.paths]
    lengths = [stem.shape[1] for stem in stems]
    _check_lengths(item.song, lengths, rate_hz)
    channels = max(stem.shape[0] for stem in stems)
    audio = np.zeros((channels, min(lengths)), np.float32)
    for stem in stems:
        audio += stem[:, : min(lengths)]
    return audio


def _check_lengths(song: str, lengths: list[int], rate_hz: int) -> None:
    # A coder may add a frame or two; more means that the stems are not of one recording.
    if max(lengths) - min(lengths) > rate_hz // 10:
        raise DataError(f"{song}: its stems have {lengths} samples, not one length")
