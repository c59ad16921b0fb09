"""viso beside other separators, measured in one run on this machine.

    python bench/peers [--songs FOLDER_OF_VALID_SONGS] [--work FOLDER] [--minutes 4]
                       [--repeats 3] [--only NAMES] [--markdown] [-o peers.json]
    python bench/peers --table peers.json [--markdown]     # the table of an earlier run

For every system: speed from a FLAC file to two sound files, peak memory, time for a second of
song, size of what pip installs, size of the weights, and where they are trained ones uSDR over
songs with known stems. Peers whose weights cannot be had run with random ones, which is the same
work. It needs Linux or macOS, an interpreter that has viso, pip's package index for the first
run, and about 6 GB in --work, which is kept for the next.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import soundfile

# A folder that is run is no package: its modules are found as peers.*, and bench/memory.py too.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from memory import make_song
from peers.environments import (
    ENVIRONMENTS,
    Location,
    make_ready,
    packages_in,
    site_packages,
    size_of,
    source_sha256,
)
from peers.machine import limits, load, machine
from peers.measuring import CommandError, Run, measure, output_of, round_robin
from peers.scores import score, write_mixtures
from peers.systems import BASE, SYSTEMS, System
from peers.tables import Record, as_markdown, as_text, complete, read_json, write_json
from viso.errors import VisoError

_CHECKOUT = Path(__file__).resolve().parents[2]
_SECOND = "second"
_SONG = "song"


def say(text: str) -> None:
    """Tell the progress, apart from the table."""
    print(text, file=sys.stderr, flush=True)


def attempt(record: Record, place: Location, what: str, step: Callable[[], object]) -> None:
    """Do a step of a system; if one fails, its row says so and the others carry on."""
    if record["error"]:
        return
    try:
        step()
    except (CommandError, VisoError, OSError, ValueError, KeyError) as error:
        record["error"] = place.without_folders(f"{what}: {error or type(error).__name__}")
        say(f"{record['name']}: {record['error']}")


def prepare(system: System, record: Record, place: Location) -> None:
    """Make the system's environment and its weights, and note their sizes."""
    for name in (system.environment, *system.makers):
        say(f"{system.name}: environment {name}")
        make_ready(ENVIRONMENTS[name], place)
    for words in system.makes:
        output_of(place.fill(words))
    folder = site_packages(place, system.environment)
    packages = packages_in(folder)
    record["packages"], record["n_packages"] = packages, len(packages)
    record["installed_bytes"] = size_of(folder)
    facts = json.loads(output_of(place.fill(system.facts)))
    record["weights_bytes"], record["parameters"] = facts["bytes"], facts["parameters"]


def run_once(system: System, place: Location, song: Path) -> Run:
    """Separate a song in a fresh folder, and see that two whole stems came out."""
    out = place.work / "out" / system.name
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    run = measure(place.fill(system.separate, song=str(song), out=str(out)))
    n_samples = soundfile.info(song).frames
    stems = [path for path in out.rglob("*") if path.suffix in (".flac", ".wav")]
    lengths = [soundfile.info(path).frames for path in stems]
    if lengths != [n_samples] * 2:
        raise CommandError(f"left {len(stems)} stems of {lengths} samples, not 2 of {n_samples}")
    return run


def time_all(
    systems: Sequence[System], records: dict[str, Record], place: Location, report: Record
) -> None:
    """Run every system on both songs, in turn, after a second of song that does not count."""
    songs = {_SECOND: place.work / "second.flac", _SONG: place.work / "song.flac"}
    make_song(songs[_SECOND], 1 / 60)
    make_song(songs[_SONG], report["song_s"] / 60)
    by_name = {system.name: system for system in systems}
    for name, system in by_name.items():
        warm_up = partial(run_once, system, place, songs[_SECOND])
        attempt(records[name], place, "first run", warm_up)

    def once(name: str, length: str) -> None:
        before = load()
        run = run_once(by_name[name], place, songs[length])
        told = {**run.as_dict(), "load_before": before}
        records[name]["runs"].setdefault(length, []).append(told)
        say(f"{name}, {length}: {run.seconds:.2f} s, {run.peak_bytes / 1e6:.0f} MB")

    for _, name in round_robin(list(by_name), report["repeats"]):
        for length in songs:
            attempt(records[name], place, length, partial(once, name, length))


def score_all(
    systems: Sequence[System], records: dict[str, Record], place: Location, songs: Path
) -> None:
    """Score the systems with trained weights, each in one process for all songs."""
    mixtures = write_mixtures(songs, place.work / "mixtures")

    def once(system: System) -> None:
        out = place.work / "estimates" / system.name
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        say(f"{system.name}: {len(mixtures)} songs")
        output_of([*place.fill(system.many, out=str(out)), *map(str, mixtures)])
        records[system.name]["scores"] = score(songs, out)

    for system in systems:
        if system.many:
            attempt(records[system.name], place, "scores", partial(once, system))


def compare(options: argparse.Namespace) -> Record:
    """Measure everything and return the report; it is written as it grows."""
    place = Location(options.work.resolve(), _CHECKOUT)
    place.work.mkdir(parents=True, exist_ok=True)
    wanted = {BASE, *options.only.split(",")} if options.only else {s.name for s in SYSTEMS}
    systems = [system for system in SYSTEMS if system.name in wanted]
    records: dict[str, Record] = {}
    for system in systems:
        note = ENVIRONMENTS[system.environment].note
        notes = [*system.notes, *([note] if note else [])]
        told = {"name": system.name, "label": system.label, "notes": notes, "error": None}
        records[system.name] = {**told, "runs": {}}
    report: Record = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "viso_source_sha256": source_sha256(_CHECKOUT),
        "song_s": round(options.minutes * 60 * 44_100) / 44_100,
        "repeats": options.repeats,
        "systems": list(records.values()),
    }
    for system in systems:
        record = records[system.name]
        attempt(record, place, "install", partial(prepare, system, record, place))
    time_all(systems, records, place, report)
    write_json(complete(report), options.output)
    if options.songs:
        score_all(systems, records, place, options.songs)
        write_json(complete(report), options.output)
    return report


def main() -> None:
    """Measure, or read what was measured, and print the table."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser = argparse.ArgumentParser(
        prog="bench/peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--songs", type=Path, help="songs with known stems, for the scores")
    parser.add_argument("--work", type=Path, default=cache / "viso-peers", help="kept folder")
    parser.add_argument("--minutes", type=float, default=4.0, help="length of the made song")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--only", help="these alone, and viso: " + ",".join(s.name for s in SYSTEMS)
    )
    parser.add_argument("--limited", action="store_true", help="even if threads are limited")
    parser.add_argument("--markdown", action="store_true", help="the table as GitHub reads it")
    parser.add_argument("--table", type=Path, help="print an earlier run's, measure nothing")
    parser.add_argument("-o", "--output", type=Path, default=Path("peers.json"))
    options = parser.parse_args()
    unknown = set((options.only or BASE).split(",")) - {system.name for system in SYSTEMS}
    if unknown:
        parser.error(f"--only {','.join(sorted(unknown))}: no such system")
    if limits() and not options.limited and not options.table:
        parser.error(
            f"{', '.join(limits())} is set: it would hold back some systems and not the others; "
            "unset it, or say --limited, and the table says so too"
        )
    report = read_json(options.table) if options.table else compare(options)
    print(as_markdown(report) if options.markdown else as_text(report))


if __name__ == "__main__":
    main()
