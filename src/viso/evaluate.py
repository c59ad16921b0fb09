"""A folder of songs with their stems -> how well a model takes them apart, beside what bounds it.

Rows of the table: the mixture itself as the estimate, the model, a baseline measured
elsewhere (a JSON file), and the two-source oracle masks at the model's own transform. Every
song's mixture is the sum of its stems.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from viso.audio import read
from viso.errors import DataError
from viso.masking import binary_mask, ratio_mask
from viso.metrics import oracle, usdr
from viso.separator import STEMS, Separator

__all__ = [
    "Row",
    "SongScores",
    "by_genre",
    "evaluate",
    "read_baseline",
    "read_genres",
    "songs_of",
    "summary",
    "truth_of",
]

Floats = npt.NDArray[np.float32]
SongScores = dict[str, dict[str, float]]
"""uSDR in decibels by system, then by stem."""

_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".m4a")
_RESAMPLES = 10_000


@dataclass(frozen=True)
class Row:
    """One system's figures for one stem, in decibels.

    `low` and `high` bound the bootstrap 95 % interval of the median over songs.
    """

    system: str
    stem: str
    median: float
    low: float
    high: float
    mean: float
    n_songs: int


def songs_of(folder: Path) -> dict[str, list[Path]]:
    """Return the stem files of every song folder directly below `folder`.

    Raises
    ------
    DataError
        If there is no folder with ``vocals.*`` and at least one other stem.
    """
    songs = {}
    try:
        for song in sorted(path for path in folder.iterdir() if path.is_dir()):
            files = [p for p in sorted(song.iterdir()) if p.suffix.lower() in _SUFFIXES]
            stems = [p for p in files if p.stem != "mixture" and not p.name.startswith(".")]
            names = [path.stem for path in stems]
            if len(set(names)) < len(names) or ("instrumental" in names and len(names) > 2):
                raise DataError(f"{song}: stems that count twice among {', '.join(sorted(names))}")
            if len(stems) > 1 and "vocals" in names:
                songs[song.name] = stems
    except OSError as error:
        raise DataError(
            f"{error.filename}: {error.strerror}; name a folder that holds a folder for each song"
        ) from error
    if not songs:
        raise DataError(f"{folder}: no song folder with vocals and another stem in it")
    return songs


def truth_of(stems: list[Path]) -> tuple[dict[str, Floats], int]:
    """Read a song's stems as vocals and instrumental (the sum of all others).

    Parameters
    ----------
    stems : list of Path
        One of them called ``vocals.*``.

    Returns
    -------
    truth : dict of str to float32 array [shape=(channels, n)]
    rate_hz : int

    Raises
    ------
    DataError
        If the stems differ in rate or shape.
    AudioError
        If one cannot be decoded.
    """
    truth: dict[str, Floats] = {}
    rates = set()
    for path in stems:
        audio, rate_hz = read(path)
        rates.add(rate_hz)
        name = "vocals" if path.stem == "vocals" else "instrumental"
        if name in truth and truth[name].shape != audio.shape:
            raise DataError(f"{path}: has shape {audio.shape}, not {truth[name].shape}; align it")
        truth[name] = truth[name] + audio if name in truth else audio
    if len(rates) > 1:
        raise DataError(f"{stems[0].parent}: stems at {sorted(rates)} Hz; resample them to one")
    shapes = {stem.shape for stem in truth.values()}
    if len(shapes) > 1:
        raise DataError(f"{stems[0].parent}: stems of shapes {sorted(shapes)}; align them")
    return truth, rates.pop()


def evaluate(
    separator: Separator, songs: Mapping[str, list[Path]], *, oracles: bool = True
) -> Iterator[tuple[str, SongScores]]:
    """Separate and score every song, yielding each as it is done.

    Parameters
    ----------
    separator : Separator
    songs : mapping of str to list of Path
        Stem files of each song (see `songs_of`), as long as one another.
    oracles : bool
        Also score the ideal binary and ratio mask at the model's own transform.

    Yields
    ------
    name : str
    scores : dict
        uSDR in decibels by system and stem.

    Raises
    ------
    DataError
        If a song's stems do not fit each other.
    AudioError
        If a stem cannot be decoded.
    """
    for name, stems in songs.items():
        truth, rate_hz = truth_of(stems)
        mixture = truth["vocals"] + truth["instrumental"]
        found = separator.separate(mixture, rate_hz=rate_hz)
        estimates = {
            "mixture": {"vocals": mixture, "instrumental": mixture},
            separator.card.name: {"vocals": found.vocals, "instrumental": found.instrumental},
        }
        if oracles:
            config = separator.card.spectral
            for label, mask_of in (
                ("ideal binary mask", binary_mask),
                ("ideal ratio mask", ratio_mask),
            ):
                vocals = oracle(
                    truth["vocals"], truth["instrumental"], config=config, mask_of=mask_of
                )
                estimates[label] = {"vocals": vocals, "instrumental": mixture - vocals}
        yield (
            name,
            {
                system: {stem: usdr(truth[stem], pair[stem]) for stem in STEMS}
                for system, pair in estimates.items()
            },
        )


def read_baseline(path: Path, *, label: str) -> dict[str, SongScores]:
    """Read another system's per-song scores.

    Parameters
    ----------
    path : Path
        JSON that maps song paths to objects with ``vocals_usdr`` and ``instrumental_usdr``.
    label : str
        What to call the system.

    Returns
    -------
    dict
        By the last part of the song's path.

    Raises
    ------
    DataError
        If the file cannot be read or is something else.
    """
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
        scores = {
            Path(song).name: {label: {stem: float(values[f"{stem}_usdr"]) for stem in STEMS}}
            for song, values in records.items()
            if "vocals_usdr" in values
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: no baseline scores ({error!r:.80})") from error
    if not scores:
        raise DataError(f"{path}: no song with vocals_usdr in it")
    return scores


def read_genres(path: Path) -> dict[str, str]:
    """Read which song has which genre.

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
        If the file cannot be read or is something else.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            genres = {row["Track Name"]: row["Genre"] for row in csv.DictReader(file)}
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise DataError(f"{path}: no table of genres ({error!r:.80})") from error
    if not genres:
        raise DataError(f"{path}: no table of genres (it is empty)")
    return genres


def by_genre(songs: Mapping[str, SongScores], genres: Mapping[str, str]) -> dict[str, list[Row]]:
    """Return the `summary` of every genre, the largest first; ``other`` has no genre given.

    Parameters
    ----------
    songs : mapping of str to SongScores
    genres : mapping of str to str
        By the songs' names.
    """
    parts: dict[str, dict[str, SongScores]] = {}
    for name, scores in songs.items():
        parts.setdefault(genres.get(name, "other"), {})[name] = scores
    order = sorted(parts, key=lambda genre: (-len(parts[genre]), genre))
    return {genre: summary(parts[genre]) for genre in order}


def summary(songs: Mapping[str, SongScores], *, seed: int = 0) -> list[Row]:
    """Return a row for every system and stem: median, its interval, and mean over songs.

    Parameters
    ----------
    songs : mapping of str to SongScores
    seed : int
        Of the bootstrap (10,000 resamples of the songs).

    Returns
    -------
    list of Row
        Songs without a finite score (a silent stem) are left out of a row and its count.
    """
    systems = list(dict.fromkeys(system for scores in songs.values() for system in scores))
    rows = []
    for stem in STEMS:
        for system in systems:
            given = [scores[system][stem] for scores in songs.values() if system in scores]
            values = np.array([value for value in given if np.isfinite(value)])
            if not values.size:
                continue
            random = np.random.default_rng(seed)
            drawn = random.choice(values, (_RESAMPLES, values.size))
            low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
            rows.append(
                Row(
                    system,
                    stem,
                    float(np.median(values)),
                    float(low),
                    float(high),
                    float(values.mean()),
                    values.size,
                )
            )
    return rows
