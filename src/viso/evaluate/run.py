"""Score songs one by one or in parallel, and resume an interrupted evaluation."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from viso._version import __version__
from viso.config import parse_json
from viso.errors import ConfigError
from viso.evaluate.scoring import score_song
from viso.evaluate.songs import Figures
from viso.evaluate.systems import System

__all__ = ["SongResult", "evaluate"]

_PACKAGE = Path(__file__).parents[1]
# Packages that no figure depends on.
_ASIDE = ("batch", "cli", "http", "listening", "reports", "studio", "train")


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
    each: bool
    threads: int
    residuals: Path | None

    def key(self, system: System, *, code: str) -> str:
        """Return a key; earlier figures are valid while it stays the same."""
        truth = [(path.name, (i := path.stat()).st_size, i.st_mtime_ns) for path in self.stems]
        how = (self.bss, self.each, str(self.residuals))
        facts = (code, truth, system.kind, system.key_for(self.song), *how)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    def run(self) -> tuple[float, dict[str, Figures]]:
        return score_song(
            self.song,
            self.stems,
            self.systems,
            bss=self.bss,
            each=self.each,
            threads=self.threads,
            residuals=self.residuals,
        )


class _Store:
    """Stored figures: one file per song, which appears only when it is complete."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._code = "" if folder is None else _code()
        self._keys: dict[str, dict[str, str]] = {}
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigError(f"{folder}: cannot be made ({error.strerror})") from error

    def _path(self, song: str) -> Path | None:
        if self._folder is None:
            return None
        # Song names may be too long for a file name, or differ only in case.
        hashed = hashlib.sha256(song.encode("utf-8", "surrogatepass")).hexdigest()
        return self._folder / f"{hashed[:24]}.json"

    def read(self, task: _Task) -> tuple[float, dict[str, Figures]]:
        """Return the song's length and its figures that are still valid, possibly none."""
        path = self._path(task.song)
        if path is None:
            return 0.0, {}
        try:
            # Compute keys before files are read: a file that changes later gets another key.
            keys = {system.name: task.key(system, code=self._code) for system in task.systems}
            self._keys[task.song] = keys
            record = parse_json(path.read_text(encoding="utf-8"))
            known = record.get("systems", {})
            held = {
                name: known[name]["figures"]
                for name, key in keys.items()
                if known.get(name, {}).get("key") == key
            }
            return float(record.get("duration_s", 0.0)), held
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return 0.0, {}

    def write(self, task: _Task, duration_s: float, scores: Mapping[str, Figures]) -> None:
        """Store the figures of the task's systems under the keys that `read` computed."""
        path = self._path(task.song)
        if path is None or task.song not in self._keys:
            return
        systems = {
            name: {"key": key, "figures": scores[name]}
            for name, key in self._keys[task.song].items()
        }
        record = {"song": task.song, "duration_s": duration_s, "systems": systems}
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps(record), encoding="utf-8")
        unfinished.replace(path)


def _code() -> str:
    """Return a hash of the code that computes figures; stored figures are valid only for it."""
    digest = hashlib.sha256(__version__.encode())
    for path in sorted(_PACKAGE.rglob("*.py")):
        if path.relative_to(_PACKAGE).parts[0] not in _ASIDE:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def evaluate(
    systems: Sequence[System],
    songs: Mapping[str, list[Path]],
    *,
    bss: bool = True,
    each: bool = False,
    store: Path | None = None,
    jobs: int = 1,
    residuals: Path | None = None,
) -> Iterator[SongResult]:
    """Score every song with every system; yield each result when it is ready.

    Parameters
    ----------
    systems : sequence of System
        Each has a different name.
    songs : mapping of str to list of Path
        Stem files of each song (see `songs_of`), all of the same length.
    bss : bool
        Whether to compute BSSEval v4 too, which takes most of the time.
    each : bool
        Whether to score every true stem, not only vocals and instrumental.
    store : Path, optional
        A folder for finished figures; a second run reuses those that are still valid.
    jobs : int
        Number of parallel processes. With more than one, songs come in order of completion.
    residuals : Path, optional
        A folder for sound files; see `score_song`.

    Yields
    ------
    SongResult

    Raises
    ------
    ConfigError
        If two systems have the same name, the store cannot be created, no transform of an ideal
        mask exists for a song's rate, or a process dies.
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
        _Task(song, tuple(stems), tuple(systems), bss, each, threads, residuals)
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
    try:
        yield from _side_by_side(tasks, jobs)
    except BrokenProcessPool as error:
        raise ConfigError(
            f"one of {jobs} jobs was ended from outside, perhaps for want of memory; take fewer"
        ) from error


def _side_by_side(
    tasks: list[tuple[_Task, _Task, dict[str, Figures]]], jobs: int
) -> Iterator[tuple[_Task, dict[str, Figures], tuple[float, dict[str, Figures]]]]:
    context = multiprocessing.get_context("spawn")
    left = iter(tasks)
    running: dict[Future[tuple[float, dict[str, Figures]]], tuple[_Task, dict[str, Figures]]] = {}
    failure: BaseException | None = None
    # Ctrl-C ends the workers at once; this process reports it and keeps finished results.
    with ProcessPoolExecutor(
        min(jobs, len(tasks)),
        mp_context=context,
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_DFL),
    ) as pool:
        while True:
            # After a failure no task starts, but the results of running tasks are kept.
            for task, rest, held in islice(left, 0 if failure else jobs - len(running)):
                running[pool.submit(rest.run)] = task, held
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task, held = running.pop(future)
                if error := future.exception():
                    failure = failure or error
                else:
                    yield task, held, future.result()
    if failure:
        raise failure
