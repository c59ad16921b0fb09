"""Hours of sound in one file, and hundreds of songs in one batch: does anything grow?

    python bench/soak.py [--hours 3] [--songs 300] [--page docs/evidence/reliability.md]

While `viso separate` runs, all of its processes are looked at every second: proportional set size
(each page that is shared counts once), open files, and what lies in the folders for temporary
files. Memory that grows shows as a slope of the line through the samples behind the warm-up.
Writes its figures into docs/evidence/reliability.md and docs/data/reliability.json. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from faults.commands import tree
from faults.page import circumstances, json_of, put_block, save
from memory import make_song

_EVERY_S = 1.0
_WARM_UP = 0.1  # of the run
_SHORT_S = (2.0, 6.0)


@dataclass(frozen=True)
class Sample:
    """What all processes have at a moment, in seconds after the start."""

    at_s: float
    memory_mb: float
    n_files: int
    n_processes: int


@dataclass(frozen=True)
class Soak:
    """What a long run showed; memory in MB, `slope_mb_h` in MB an hour behind the warm-up."""

    name: str
    audio_s: float
    took_s: float
    warm_mb: float
    most_mb: float
    end_mb: float
    slope_mb_h: float
    files_warm: int
    files_most: int
    files_end: int
    left_over: list[str]
    samples: list[Sample]

    def row(self) -> str:
        """Return its line of the table."""
        return (
            f"| {self.name} | {self.took_s:.0f} s, {self.audio_s / self.took_s:.0f}x"
            f" | {self.warm_mb:.0f} | {self.most_mb:.0f} | {self.end_mb:.0f}"
            f" | {self.slope_mb_h:+.1f} | {self.files_warm}, {self.files_most}, {self.files_end}"
            f" | {len(self.left_over)} |"
        )


def main() -> None:
    """Run both, and write what was seen."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--songs", type=int, default=300)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--page", type=Path, help="write the figures here, and JSON")
    options = parser.parse_args()
    soaks: list[Soak] = []
    for run in (many, long):
        with tempfile.TemporaryDirectory(prefix="viso-soak-") as folder:
            soaks.append(run(Path(folder), options))
        if options.page:  # whoever ends it early has the first
            write(options, soaks)


def many(folder: Path, options: argparse.Namespace) -> Soak:
    """Watch a batch of short songs."""
    songs = folder / "songs"
    songs.mkdir()
    lengths_s = np.random.default_rng(0).uniform(*_SHORT_S, options.songs)
    for number, length_s in enumerate(lengths_s):
        make_song(songs / f"{number:03d}.flac", length_s / 60)
    name = (
        f"{options.songs} songs of {_SHORT_S[0]:g} to {_SHORT_S[1]:g} s, {options.jobs} at a time"
    )
    words = [str(songs), "--jobs", str(options.jobs)]
    return soak(name, words, folder, float(lengths_s.sum()))


def long(folder: Path, options: argparse.Namespace) -> Soak:
    """Watch one long song."""
    song = folder / "song.flac"
    make_song(song, 60 * options.hours)
    return soak(f"one song of {options.hours:g} h", [str(song)], folder, 3600 * options.hours)


def soak(name: str, words: list[str], folder: Path, audio_s: float) -> Soak:
    """Run `viso separate` and watch it."""
    out, temporary = folder / "out", folder / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-c", "from viso.cli import main; main()", "separate", *words]
    command += ["-o", str(out), "--format", "flac", "--bit-depth", "16", "--quiet"]
    began = time.monotonic()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
    samples = []
    while process.poll() is None:
        if (found := sample(process.pid, began)) is not None:
            samples.append(found)
        time.sleep(_EVERY_S)
    took_s = time.monotonic() - began
    if process.returncode:
        raise SystemExit(f"{name}: ended with {process.returncode}")
    left_over = [p.name for p in (*out.rglob(".*"), *temporary.rglob("*")) if p.is_file()]
    # Not those at the end, when processes are leaving.
    usual = statistics.mode(s.n_processes for s in samples)
    warm = [s for s in samples if s.at_s > _WARM_UP * took_s and s.n_processes == usual]
    slope, _ = np.polyfit([s.at_s / 3600 for s in warm], [s.memory_mb for s in warm], 1)
    result = Soak(
        name=name,
        audio_s=audio_s,
        took_s=took_s,
        warm_mb=warm[0].memory_mb,
        most_mb=max(s.memory_mb for s in samples),
        end_mb=warm[-1].memory_mb,
        slope_mb_h=float(slope),
        files_warm=warm[0].n_files,
        files_most=max(s.n_files for s in samples),
        files_end=warm[-1].n_files,
        left_over=left_over,
        samples=samples,
    )
    print(result.row(), flush=True)
    return result


def sample(pid: int, began: float) -> Sample | None:
    """FinishedSongs at a process and all below it; None if they go meanwhile."""
    memory_kb = n_files = n_processes = 0
    with suppress(OSError, LookupError, ValueError):
        for one in tree(pid):
            memory = Path(f"/proc/{one}/smaps_rollup").read_text()
            memory_kb += int(memory.split("Pss:")[1].split()[0])
            n_files += sum(1 for _ in Path(f"/proc/{one}/fd").iterdir())
            n_processes += 1
        return Sample(time.monotonic() - began, 1.024e-3 * memory_kb, n_files, n_processes)
    return None


def table(soaks: list[Soak]) -> str:
    """Return the table in Markdown, and what the memory was in tenths of each run."""
    lines = [
        "| | took, times real time | MB after warm-up | most | at the end | MB an hour"
        " | open files: warm, most, end | files left over |",
        "|---|---|---:|---:|---:|---:|---|---:|",
        *(one.row() for one in soaks),
        "",
        "MB in the middle (median) of each tenth of the run:",
        "",
        "| | " + " | ".join(map(str, range(1, 11))) + " |",
        "|---" + "|---:" * 10 + "|",
    ]
    for one in soaks:
        tenths = np.array_split([s.memory_mb for s in one.samples], 10)
        lines.append(f"| {one.name} | " + " | ".join(f"{np.median(t):.0f}" for t in tenths) + " |")
    return "\n".join(lines)


def write(options: argparse.Namespace, soaks: list[Soak]) -> None:
    """Write the page's block and the JSON."""
    about = circumstances()
    where = (
        f"`python bench/soak.py --hours {options.hours:g} --songs {options.songs} --page "
        "docs/evidence/reliability.md`, FLAC to two FLACs, 16 bit, model `viso`, "
        f"on {about['machine']}, {about['cores']} cores, {about['system']}, Python "
        f"{about['python']}, viso {about['viso']}, {about['date']}, load {about['load']} at its "
        "end. Memory is the proportional set size of all processes together, looked at every "
        f"{_EVERY_S:g} s; the warm-up is the first tenth."
    )
    put_block(options.page, "soak", f"{where}\n\n{table(soaks)}")
    runs = []
    for one in soaks:
        values = asdict(one)
        # A minute's resolution is enough to draw it again.
        values["samples"] = [
            list(asdict(s).values()) for s in one.samples[:: max(1, len(one.samples) // 60)]
        ]
        runs.append(json.loads(json.dumps(values), parse_float=lambda text: round(float(text), 2)))
    save(json_of(options.page), "soak", {**about, "runs": runs})


if __name__ == "__main__":
    main()
