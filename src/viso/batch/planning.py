"""Plan what a batch is going to do, before it does anything."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

from viso.batch.estimate import look_at
from viso.batch.local import n_cores, usual_jobs
from viso.batch.manifest import Entry, Renewed, manifest_if_there
from viso.batch.resume import Finished, FinishedSongs, outputs_of
from viso.batch.settings import SeparationConfig
from viso.batch.songs import Song, Unreadable, find_songs
from viso.errors import ConfigError
from viso.separator import naming
from viso.separator.naming import Names, are_anothers
from viso.stores.address import Address, Location, location_of

__all__ = ["Plan", "Task", "plan", "possible_files", "unique_files"]


@dataclass(frozen=True)
class Task:
    """A song to separate.

    `files` are the stems' paths below the output folder. `spare` are paths that only this song
    can have, in case another batch takes the first ones. `expected_s` is the song's length in
    seconds, exact or estimated. `ended_s` is when the song was last done or failed, by the
    manifest; if it differs when the song is claimed, another batch has ended the song since.
    """

    song: Song
    files: dict[str, Path]
    spare: dict[str, Path]
    expected_s: float
    ended_s: float | None = None


@dataclass(frozen=True)
class Plan:
    """What a batch is going to do; `run` does it.

    Attributes
    ----------
    out : Path or Address
    manifest : Path
        The manifest's folder: `out`, unless that is an address.
    config : SeparationConfig
    facts : str
        See `SeparationConfig.facts`.
    tasks : tuple of Task
        Songs to do, in this order.
    finished : tuple of Finished
        Songs that are done and will be skipped.
    unreadable : tuple of Unreadable
        Folders that could not be read: they count as failed.
    n_again : int
        Songs found more than once; they are separated once.
    n_others : int
        Files in the folders whose names are not those of audio files.
    n_renewed : int
        Songs to do again: their content has changed, or a stem is missing or cut short.
    audio_s : float
        Length of all `tasks` in seconds; an estimate unless `is_exact`.
    is_exact : bool
    stem_bytes : float
        Estimated bytes of the stems of `tasks`.
    free_bytes : int or None
        Free bytes on the disk of `out`; None for a store.
    n_jobs, threads : int
        Songs at a time, and threads of each network.
    speed : float or None
        Times real time that `n_jobs` together reached here before with these settings.
    renewed : tuple of Renewed
        Songs whose time or path has changed but not their content.
    """

    out: Location
    manifest: Path
    config: SeparationConfig
    facts: str
    tasks: tuple[Task, ...]
    finished: tuple[Finished, ...]
    unreadable: tuple[Unreadable, ...]
    n_again: int
    n_others: int
    n_renewed: int
    audio_s: float
    is_exact: bool
    stem_bytes: float
    free_bytes: int | None
    n_jobs: int
    threads: int
    speed: float | None
    renewed: tuple[Renewed, ...] = field(repr=False, default=())

    @property
    def expected_s(self) -> float | None:
        """Seconds that the batch will take; None if no batch has been measured here yet."""
        return None if not self.speed else self.audio_s / self.speed


def plan(
    inputs: Iterable[str | PathLike[str] | Address],
    out: str | PathLike[str] | Address = "separated",
    *,
    manifest: str | PathLike[str] | None = None,
    config: SeparationConfig | None = None,
    recursive: bool = False,
    jobs: int | None = None,
    threads: int | None = None,
) -> Plan:
    """Plan a batch. Nothing is written.

    Parameters
    ----------
    inputs : iterable of paths
        Songs, and folders of songs; also addresses such as ``s3://bucket/archive``.
    out : path
        The output folder or its address. Songs that are done by its manifest are not done again.
    manifest : path, optional
        If `out` is an address: the manifest's folder, on a file system with locks. It is required
        then, and refused otherwise.
    config : SeparationConfig, optional
    recursive : bool
        Also look into folders of folders.
    jobs : int, optional
        Songs at a time; by default one for each core, if memory allows.
    threads : int, optional
        CPU threads of each network; by default the cores are shared among the jobs.

    Raises
    ------
    ModelError, ConfigError
        If the model cannot be loaded, a number is impossible, or two files of one song would
        have the same name.
    DataError
        If the manifest cannot be read or a store cannot be listed.

    Examples
    --------
    >>> work = plan(["archive"], "stems", recursive=True)             # doctest: +SKIP
    >>> print(len(work.tasks), work.audio_s / 3600)                   # doctest: +SKIP
    """
    config, out = config or SeparationConfig(), location_of(out)
    home = _home(out, manifest)
    n_jobs = usual_jobs() if jobs is None else jobs
    threads = max(1, n_cores() // max(1, n_jobs)) if threads is None else threads
    if n_jobs < 1 or threads < 0:
        raise ConfigError(f"{n_jobs} jobs of {threads} threads: need 1 or more, and 0 or more")
    separator = config.separator(threads=1)
    facts = config.facts(model=separator.made_of, sha256=separator.sha256, wiener=separator.wiener)
    with manifest_if_there(home) as noted:
        known = {} if noted is None else noted.entries(facts)
        owned = [] if noted is None else noted.files()
        found = find_songs(
            map(location_of, inputs), recursive=recursive, out=out, is_output=outputs_of(out, owned)
        )
        looked = FinishedSongs(out, config, known, found)
        names = Names(out, (song.key for song in found.songs))
        for song, path in owned:
            names.give(looked.new_paths.get(song, song), [path])
        tasks = [
            (song, *_named(song, known, names, config, separator.name, out)) for song in looked.open
        ]
        sized = [(song.path, _n_bytes(song)) for song in looked.open]
        lengths = look_at(sized, config)
        seconds = [lengths.seconds(*both) for both in sized]
        measured = None if noted is None else noted.bytes_per_s(facts)
        per_s = measured or lengths.stem_bytes_per_s
        return Plan(
            out=out,
            manifest=home,
            config=config,
            facts=facts,
            tasks=tuple(
                Task(*task, s, _ended_s(task[0], known))
                for task, s in zip(tasks, seconds, strict=True)
            ),
            finished=tuple(looked.finished),
            unreadable=found.unreadable,
            n_again=found.n_again,
            n_others=found.n_others,
            n_renewed=looked.n_renewed,
            audio_s=sum(seconds),
            is_exact=len(lengths.exact) == len(tasks),
            stem_bytes=per_s * sum(seconds),
            free_bytes=_free_bytes(out),
            n_jobs=n_jobs,
            threads=threads,
            speed=None if noted is None else noted.speed(facts, n_jobs=n_jobs),
            renewed=tuple(looked.renewed),
        )


def _home(out: Location, manifest: str | PathLike[str] | None) -> Path:
    """Return the manifest's folder."""
    if isinstance(out, Path):
        if manifest is not None:
            raise ConfigError(f"manifest {str(manifest)!r}: that of {out} lies in it; leave it out")
        return out
    if manifest is None or not isinstance(home := location_of(manifest), Path):
        raise ConfigError(f"{out}: has no locks; name a folder on a disk for its manifest")
    return home


def _named(
    song: Song,
    known: Mapping[str, Entry],
    names: Names,
    config: SeparationConfig,
    model: str,
    out: Location,
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return the files of a song, preferably those it had before, and spare ones."""
    spare = unique_files(song, config, model=model)
    entry = known.get(song.key)
    had = [entry.files] if entry is not None and set(entry.files) == set(spare) else []
    for files in (*had, *possible_files(song, config, model=model)):
        if not names.are_free(song.key, files.values()):
            continue
        # Files in a store are checked when they are claimed.
        is_had = files in had
        if is_had or isinstance(out, Address) or not are_anothers(out, files, song.path.name):
            names.give(song.key, files.values())
            return files, spare
    raise ConfigError(
        f"{song.path}: template {config.template!r} leaves it no name of its own; "
        "use {name} as it is"
    )


def _ended_s(song: Song, known: Mapping[str, Entry]) -> float | None:
    entry = known.get(song.key)
    return None if entry is None else entry.ended_s


def _n_bytes(song: Song) -> int:
    try:
        return song.stamp().n_bytes
    except OSError:
        return 0


def _free_bytes(out: Location) -> int | None:
    if isinstance(out, Address):
        return None
    folder = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    return shutil.disk_usage(folder).free


def possible_files(
    song: Song, config: SeparationConfig, *, model: str
) -> Iterator[dict[str, Path]]:
    """Yield possible files for a song's stems, the best names first.

    Returns
    -------
    iterator of dict of str to Path
        Paths below the output folder, by stem. The last names contain part of a hash.
    """
    options = naming.possible_files(song.path, song.key, lambda n: config.files(n, model=model))
    yield from (_below(song, files) for files in options)


def unique_files(song: Song, config: SeparationConfig, *, model: str) -> dict[str, Path]:
    """Return files for a song under a name that no other song has, shortened if necessary."""
    files = naming.unique_files(song.path, song.key, lambda n: config.files(n, model=model))
    return _below(song, files)


def _below(song: Song, files: dict[str, Path]) -> dict[str, Path]:
    return {stem: Path(song.folder, path) for stem, path in files.items()}
