"""Read songs with their stems, estimates of them, and tables of other figures."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from viso.audio import read
from viso.config import parse_json
from viso.errors import DataError
from viso.separator import STEMS

__all__ = [
    "estimate_files",
    "estimates_of",
    "read_baseline",
    "read_genres",
    "singer_of",
    "songs_of",
    "truth_of",
]

Floats = npt.NDArray[np.float32]
Figures = dict[str, dict[str, float]]
"""Values by stem, then by metric."""

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".m4a")
_MIXTURES = ("mixture", "mix", "linear_mixture")
_INSTRUMENTALS = ("instrumental", "accompaniment", "no_vocals")


def songs_of(folder: Path) -> dict[str, list[Path]]:
    """Return the stem files of every song folder directly below `folder`.

    Raises
    ------
    DataError
        If no folder holds ``vocals.*`` and at least one other stem, or a folder holds a stem twice.
    """
    songs = {}
    try:
        for song in sorted(path for path in folder.iterdir() if path.is_dir()):
            files = [p for p in sorted(song.iterdir()) if p.suffix.lower() in SUFFIXES]
            stems = [p for p in files if p.stem not in _MIXTURES and not p.name.startswith(".")]
            names = [path.stem for path in stems]
            if len(stems) < 2 or "vocals" not in names:
                continue
            if len(set(names)) < len(names) or (set(names) & {*_INSTRUMENTALS} and len(names) > 2):
                raise DataError(f"{song}: stems that count twice among {', '.join(sorted(names))}")
            songs[song.name] = stems
    except OSError as error:
        raise DataError(
            f"{error.filename}: {error.strerror}; name a folder that holds a folder for each song"
        ) from error
    if not songs:
        raise DataError(f"{folder}: no song folder with vocals and another stem in it")
    return songs


def truth_of(stems: list[Path], *, each: bool = False) -> tuple[dict[str, Floats], int]:
    """Read a song's stems as vocals and instrumental (the sum of all others).

    Parameters
    ----------
    stems : list of Path
        One of them is ``vocals.*``.
    each : bool
        Whether to return every other stem by itself, too.

    Returns
    -------
    truth : dict of str to float32 array [shape=(channels, n)]
    rate_hz : int

    Raises
    ------
    DataError
        If the stems differ in rate or shape.
    AudioError
        If a stem cannot be decoded.
    """
    truth: dict[str, Floats] = {}
    others: dict[str, Floats] = {}
    first: tuple[Path, tuple[int, ...], int] | None = None
    for path in stems:
        audio, rate_hz = read(path)
        if first is None:
            first = path, audio.shape, rate_hz
        _same(path, audio, rate_hz, like=first)
        name = "vocals" if path.stem == "vocals" else "instrumental"
        truth[name] = truth[name] + audio if name in truth else audio
        if each and name != path.stem:
            others[path.stem] = audio
    if first is None or len(truth) < 2:
        raise DataError(f"{stems}: need vocals and at least one other stem")
    return {**{name: truth[name] for name in STEMS}, **others}, first[2]


def _same(
    path: Path, audio: Floats, rate_hz: int, *, like: tuple[Path, tuple[int, ...], int]
) -> None:
    """Raise if two files cannot be compared; the message tells what to do."""
    other, (channels, n_samples), other_hz = like
    if rate_hz != other_hz:
        raise DataError(f"{path}: {rate_hz} Hz, but {other} has {other_hz}; resample one of them")
    if audio.shape[0] != channels:
        raise DataError(
            f"{path}: {audio.shape[0]} channels, but {other} has {channels}; convert one of them"
        )
    if audio.shape[1] != n_samples:
        raise DataError(
            f"{path}: {audio.shape[1]} samples, but {other} has {n_samples}; align and cut them"
        )


def estimate_files(folder: Path, song: str) -> dict[str, Path]:
    """Return a separator's stem files of a song by name, always with ``vocals``.

    Parameters
    ----------
    folder : Path
        Holds a folder of the song's name with ``vocals.*``, and perhaps ``instrumental.*``
        (or ``accompaniment.*``, ``no_vocals.*``).
    song : str

    Raises
    ------
    DataError
        If there are no vocals, or there are two files of a stem.
    """
    found: dict[str, Path] = {}
    place = folder / song
    if place.is_dir():
        for path in sorted(place.iterdir()):
            if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
                name = "instrumental" if path.stem in _INSTRUMENTALS else path.stem
                if name in found and name in STEMS:
                    raise DataError(f"{path}: the same stem as {found[name]}; take one away")
                found[name] = path
    if "vocals" not in found:
        raise DataError(f"{place}: no vocals.wav (or flac, ...) in it; one is needed for each song")
    return found


def estimates_of(
    folder: Path,
    song: str,
    mixture: Floats,
    rate_hz: int,
    *,
    names: Sequence[str] = STEMS,
) -> dict[str, Floats]:
    """Read a separator's stems of a song.

    Parameters
    ----------
    folder : Path
        Holds a folder of the song's name with ``vocals.*``, and perhaps ``instrumental.*`` (or
        ``accompaniment.*``, ``no_vocals.*``). A missing instrumental is the mixture minus the
        vocals.
    song : str
    mixture : float32 array [shape=(channels, n)]
    rate_hz : int
    names : sequence of str
        The stems; vocals and instrumental are among them.

    Raises
    ------
    DataError
        If a stem other than the instrumental is missing, or the rate or shape differs from the
        mixture's.
    """
    found = estimate_files(folder, song)
    stems: dict[str, Floats] = {}
    for name in names:
        if name in found:
            audio, own_hz = read(found[name])
            _same(found[name], audio, own_hz, like=(Path("the song"), mixture.shape, rate_hz))
            stems[name] = audio
        elif name == "instrumental":
            stems[name] = mixture - stems["vocals"]
        else:
            raise DataError(f"{folder / song}: no {name}.wav (or flac, ...) in it")
    return stems


def read_baseline(path: Path, *, label: str) -> dict[str, dict[str, Figures]]:
    """Read another system's per-song figures.

    Parameters
    ----------
    path : Path
        JSON that maps song paths to objects with ``vocals_usdr`` and ``instrumental_usdr``, and
        other figures that begin with a stem's name, such as ``vocals_csdr``.
    label : str
        Name of the system.

    Returns
    -------
    dict
        By the last component of the song's path, then by `label`: values by stem and metric.

    Raises
    ------
    DataError
        If the file cannot be read, has another format, or holds two songs of the same name.
    """
    try:
        records = parse_json(path.read_text(encoding="utf-8"))
        paths = [song for song, values in records.items() if "vocals_usdr" in values]
        figures = {Path(song).name: {label: _by_stem(records[song])} for song in paths}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: no baseline scores ({error!r:.80})") from error
    if not figures:
        raise DataError(f"{path}: no song with vocals_usdr in it")
    if len(figures) < len(paths):
        names = [Path(song).name for song in paths]
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path}: two songs are called {twice}; leave one out")
    return figures


def _by_stem(values: dict[str, float]) -> Figures:
    figures: Figures = {stem: {"usdr": float(values[f"{stem}_usdr"])} for stem in STEMS}
    for name, value in values.items():
        stem, _, metric = name.partition("_")
        if stem in STEMS:
            figures[stem][metric] = float(value)
    return figures


def read_genres(path: Path) -> dict[str, str]:
    """Read the genre of each song.

    Parameters
    ----------
    path : Path
        CSV with the columns ``Track Name`` and ``Genre``, as MUSDB18's ``tracklist.csv``.

    Returns
    -------
    dict of str to str

    Raises
    ------
    DataError
        If the file cannot be read or has another format.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            genres = {row["Track Name"]: row["Genre"] for row in csv.DictReader(file)}
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise DataError(f"{path}: no table of genres ({error!r:.80})") from error
    if not genres:
        raise DataError(f"{path}: no table of genres (it is empty)")
    return genres


def singer_of(song: str) -> str | None:
    """Return the artist in a name such as ``Artist - Title``, or None if there is none."""
    artist, dash, _ = song.partition(" - ")
    return artist.strip() if dash and artist.strip() else None
