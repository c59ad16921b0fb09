"""Songs of our own making, what a run without faults makes of them, and what is there instead."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from viso.audio import read, write
from viso.batch.database import FILE

__all__ = ["Archive", "Found", "make_songs"]

_RATE_HZ = 44_100
_SUFFIXES = ("flac", "wav", "mp3")


def make_songs(folder: Path, n_songs: int, *, seed: int) -> None:
    """Write songs of 2 to 6 s: a gliding voice of many partials over a chord and soft noise."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    for number in range(n_songs):
        t = np.arange(round(random.uniform(2, 6) * _RATE_HZ)) / _RATE_HZ
        pitch_hz = 180 + 60 * np.sin(2 * np.pi * random.uniform(0.3, 0.8) * t)
        phase = 2 * np.pi * np.cumsum(pitch_hz) / _RATE_HZ
        voice = sum(np.sin(k * phase) / k for k in range(1, 20))
        notes_hz = 110 * 2 ** (random.choice(12, 3, replace=False) / 12)
        chord = sum(np.sin(2 * np.pi * f * t + random.uniform(0, 6)) for f in notes_hz)
        sound = 0.5 * voice + 0.3 * chord + 0.05 * random.standard_normal((2, len(t)))
        # The first is so loud that its stems get one gain, and are written a second time.
        level = 0.999 if number == 0 else 0.3
        sound *= level / np.abs(sound).max()
        path = folder / f"{number:02d}.{_SUFFIXES[number % len(_SUFFIXES)]}"
        write(path, sound.astype(np.float32), rate_hz=_RATE_HZ, **_coding(path))


def _coding(path: Path) -> dict[str, str]:
    return {} if path.suffix == ".mp3" else {"bit_depth": "16"}


@dataclass(frozen=True)
class Found:
    """What an output folder holds.

    `whole` are songs with all of their stems, bit for bit those of the reference; `wrong` are
    files under a final name that are not in the reference, or differ from it; `hidden` are files
    that were never finished.
    """

    whole: frozenset[str]
    wrong: tuple[str, ...]
    hidden: tuple[str, ...]


class Archive:
    """Songs, a second copy of them, and the hash of every file that they become.

    Parameters
    ----------
    folder : Path
        Where all of it lies.
    n_songs : int
    seed : int
    """

    def __init__(self, folder: Path, n_songs: int, *, seed: int) -> None:
        self.folder, self.songs, self._copy = folder, folder / "songs", folder / "copy"
        make_songs(self.songs, n_songs, seed=seed)
        shutil.copytree(self.songs, self._copy)
        self.n_songs = n_songs
        self.n_bytes = 0
        self._hashes: dict[str, str] = {}

    def set_reference(self, out: Path) -> None:
        """Take what a run without faults has made for right, after a check that its sums are."""
        for path in _visible(out):
            self._hashes[path.relative_to(out).as_posix()] = _hash(path)
            self.n_bytes += path.stat().st_size
        if len(self._hashes) != 2 * self.n_songs:
            raise SystemExit(f"the reference has {len(self._hashes)} stems: {sorted(self._hashes)}")
        for song in sorted(self.songs.iterdir())[1:]:  # the first is lowered, so that none clips
            stems = [
                read(out / song.stem / f"{stem}.flac")[0] for stem in ("vocals", "instrumental")
            ]
            if np.abs(stems[0] + stems[1] - read(song)[0]).max() > 2**-15:
                raise SystemExit(f"the reference's stems of {song.name} do not add up to it")

    def look(self, out: Path) -> Found:
        """Read every file of an output folder."""
        found = {p.relative_to(out).as_posix(): _hash_if_there(p) for p in _visible(out)}
        right = {name for name, value in found.items() if self._hashes.get(name) == value}
        whole = {
            song.name
            for song in self._copy.iterdir()
            if {f"{song.stem}/{stem}.flac" for stem in ("vocals", "instrumental")} <= right
        }
        # What is removed while it is looked at is not there.
        wrong = sorted(name for name, value in found.items() if value and name not in right)
        hidden = sorted(path.name for path in _files(out) if path.name[0] == ".")
        return Found(frozenset(whole), tuple(wrong), tuple(hidden))

    def restore(self) -> None:
        """Put all songs back as they were, their times included."""
        for path in self._copy.iterdir():
            shutil.copy2(path, self.songs / path.name)
            (self.songs / path.name).chmod(0o644)

    def noted(self, out: Path) -> dict[str, str]:
        """Return the state of every song in the manifest, by name; it is read from a copy."""
        place = self.folder / "manifest"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for path in out.glob(f"{FILE}*"):
            shutil.copy(path, place)
        if not (place / FILE).exists():
            return {}
        database = sqlite3.connect(place / FILE)
        try:
            rows = database.execute("SELECT song, state FROM entries").fetchall()
        except sqlite3.OperationalError:  # its tables were never made
            return {}
        finally:
            database.close()
        return {Path(song).name: state for song, state in rows}


def _files(out: Path) -> list[Path]:
    # Not `rglob`, which fails if a folder is removed meanwhile.
    return [Path(folder) / name for folder, _, names in os.walk(out) for name in names]


def _visible(out: Path) -> list[Path]:
    return [p for p in _files(out) if p.name[0] != "." and not p.name.startswith(FILE)]


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _hash_if_there(path: Path) -> str:
    try:
        return _hash(path)
    except FileNotFoundError:
        return ""
