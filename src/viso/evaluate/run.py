"""Scores songs one after the other or side by side, and goes on where it was interrupted."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

from viso.errors import ConfigError
from viso.evaluate.scoring import score_song
from viso.evaluate.songs import Figures
from viso.evaluate.systems import System

__all__ = ["SongResult", "evaluate"]


@dataclass(frozen=True)
class SongResult:
    """Figures of one song: its length, and values by system, stem and metric (decibels)."""

    song: str
    duration_s: float
    scores: dict[str, Figures]


@dataclass(frozen=True)
class _Task:
    song: str
    stems: tuple[Path, ...]
    systems: tuple[System, ...]
    bss: bool
    threads: int
    residuals: Path | None

    def key(self, system: System) -> str:
        """Return what must be the same for earlier figures to hold."""
        truth = [(path.name, (i := path.stat()).st_size, i.st_mtime_ns) for path in self.stems]
        facts = (truth, system.kind, system.key_for(self.song), self.bss, str(self.residuals))
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    def run(self) -> tuple[float, dict[str, Figures]]:
        return score_song(
            self.song,
            self.stems,
            self.systems,
            bss=self.bss,
            threads=self.threads,
            residuals=self.residuals,
        )


class _Store:
    """What is known of a song, in a file of its own that appears only when it is whole."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigError(f"{folder}: cannot be made ({error.strerror})") from error

    def _path(self, song: str) -> Path | None:
        if self._folder is None:
            return None
        # Names of songs may be too long, or differ in case only.
        return self._folder / f"{hashlib.sha256(song.encode()).hexdigest()[:24]}.json"

    def read(self, task: _Task) -> tuple[float, dict[str, Figures]]:
        """Return the length and the figures that still hold; none if nothing does."""
        path = self._path(task.song)
        try:
            record = {} if path is None else json.loads(path.read_text(encoding="utf-8"))
            known = record.get("systems", {})
            held = {
                system.name: known[system.name]["figures"]
                for system in task.systems
                if known.get(system.name, {}).get("key") == task.key(system)
            }
            return float(record.get("duration_s", 0.0)), held
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return 0.0, {}

    def write(self, task: _Task, duration_s: float, scores: Mapping[str, Figures]) -> None:
        """Keep the figures of the task's systems."""
        path = self._path(task.song)
        if path is None:
            return
        systems = {
            system.name: {"key": task.key(system), "figures": scores[system.name]}
            for system in task.systems
        }
        record = {"song": task.song, "duration_s": duration_s, "systems": systems}
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps(record), encoding="utf-8")
        unfinished.replace(path)


def evaluate(
    systems: Sequence[System],
    songs: Mapping[str, list[Path]],
    *,
    bss: bool = True,
    store: Path | None = None,
    jobs: int = 1,
    residuals: Path | None = None,
) -> Iterator[SongResult]:
    """Score every song with every system, yielding each as it is done.

    Parameters
    ----------
    systems : sequence of System
        With names of their own.
    songs : mapping of str to list of Path
        Stem files of each song (see `songs_of`), as long as one another.
    bss : bool
        BSSEval v4, too, which takes most of the time.
    store : Path, optional
        A folder for what is done; a second run takes from it what still holds.
    jobs : int
        Processes side by side. The order of the songs is then that of their completion.
    residuals : Path, optional
        A folder for sound, see `score_song`.

    Yields
    ------
    SongResult

    Raises
    ------
    ConfigError
        If two systems have one name, or the store cannot be made.
    DataError, AudioError
        If a song or its estimates cannot be read or do not fit each other.
    """
    names = [system.name for system in systems]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"two systems are called {twice[0]}; rename a folder or a card")
    threads = 0 if jobs == 1 else max(1, (os.cpu_count() or 1) // jobs)
    kept = _Store(store)
    tasks = [
        _Task(song, tuple(stems), tuple(systems), bss, threads, residuals)
        for song, stems in songs.items()
    ]
    open_tasks: list[tuple[_Task, _Task, dict[str, Figures]]] = []
    for task in tasks:
        duration_s, held = kept.read(task)
        if len(held) == len(systems):
            yield SongResult(task.song, duration_s, {name: held[name] for name in names})
        else:
            left = tuple(system for system in systems if system.name not in held)
            rest = replace(task, systems=left)
            open_tasks.append((task, rest, held))
    for task, held, (duration_s, found) in _results(open_tasks, jobs):
        scores = {**held, **found}
        kept.write(task, duration_s, scores)
        yield SongResult(task.song, duration_s, {name: scores[name] for name in names})


def _results(
    tasks: list[tuple[_Task, _Task, dict[str, Figures]]], jobs: int
) -> Iterator[tuple[_Task, dict[str, Figures], tuple[float, dict[str, Figures]]]]:
    if jobs == 1 or len(tasks) < 2:
        for task, rest, held in tasks:
            yield task, held, rest.run()
        return
    context = multiprocessing.get_context("spawn")
    # A Ctrl-C ends the processes at once; this one tells of it and keeps what is done.
    with ProcessPoolExecutor(
        min(jobs, len(tasks)),
        mp_context=context,
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_DFL),
    ) as pool:
        begun: dict[Future[tuple[float, dict[str, Figures]]], tuple[_Task, dict[str, Figures]]] = {}
        try:
            for task, rest, held in tasks:
                begun[pool.submit(rest.run)] = task, held
            for future in as_completed(begun):
                task, held = begun[future]
                yield task, held, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
