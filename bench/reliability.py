"""Faults for batches, again and again: is a song lost, is anything half-made taken for whole?

    python bench/reliability.py [--kills 50] [--times 5] [--seed 0] [--only WORDS] [--page PAGE]

A batch of small songs meets a fault: kills at random moments, a full disk, files and folders that
go away, a clock that jumps, a process that hangs, a second batch. Then the same command is run
again until it ends well, and every file is compared bit for bit with those of a batch without
faults. Writes a table into the page, and every run into JSON (docs/data/reliability.json); the exit
code is 1 if a song was lost or something half-made looked whole. Linux only.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from faults import drives, kills
from faults.commands import Batch
from faults.page import circumstances, json_of, put_block, save, table
from faults.scene import Fault, Scene, Trial, try_fault
from faults.songs import Archive

DOCS = Path(__file__).parents[1] / "docs"


def main() -> None:
    """Try all faults and write what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=50, help="of each kind")
    parser.add_argument("--times", type=int, default=5, help="of every other fault")
    parser.add_argument("--songs", type=int, default=6)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="faults whose names have these words")
    parser.add_argument("--page", type=Path, help="write the table here, and JSON")
    options = parser.parse_args()
    began = time.monotonic()
    skipped = []
    trials: dict[str, list[Trial]] = {}
    with tempfile.TemporaryDirectory(prefix="viso-faults-") as folder:
        archive = Archive(Path(folder), options.songs, seed=options.seed)
        window = reference(archive, options.jobs)
        print(f"a batch takes {window[1]:.1f} s, its first song begins at {window[0]:.1f} s")
        for fault in (*kills.KILLS, *drives.FAULTS, *kills.FAULTS):
            if options.only not in fault.name:
                continue
            if fault.name.startswith("disk full") and not drives.can_mount():
                skipped.append(f"{fault.name}: not tried, this account may not mount")
                continue
            n_times = options.kills if fault in kills.KILLS else options.times
            trials[fault.name] = many(fault, archive, n_times, window, options)
            text = "\n".join([table(trials), *(f"- {line}" for line in skipped)])
            if options.page:  # whoever ends it early has what was tried by then
                write(options, trials, text, time.monotonic() - began)
    print(text)
    all_trials = [trial for some in trials.values() for trial in some]
    sys.exit(any(trial.lost or trial.half_made for trial in all_trials))


def reference(archive: Archive, n_jobs: int) -> tuple[float, float]:
    """Make the reference, twice; return when the first song is begun, and when all is over."""
    out = archive.folder / "reference"
    for number in range(2):
        shutil.rmtree(out, ignore_errors=True)
        batch = Batch(archive.songs, out, log=archive.folder / "log", n_jobs=n_jobs)
        while not (any(out.rglob(".viso-*")) or batch.has_ended):
            time.sleep(0.01)
        first_s = time.monotonic() - batch.began_s
        ended = batch.wait()
        if ended.code != 0:
            raise SystemExit(f"the reference failed: {ended.errors}")
        if number == 0:
            archive.set_reference(out)
        elif len(archive.look(out).whole) < archive.n_songs:
            raise SystemExit("two runs without faults differ")
    return first_s, ended.took_s


def many(
    fault: Fault,
    archive: Archive,
    n_times: int,
    window: tuple[float, float],
    options: argparse.Namespace,
) -> list[Trial]:
    """Try a fault so often in time, at moments that the seed decides."""
    chance = random.Random(f"{options.seed} {fault.name}")
    found: list[Trial] = []
    first_s, last_s = window
    began = time.monotonic()
    # A moment may be missed, by a fast machine and by a busy one, but not every time.
    while sum(trial.in_time for trial in found) < n_times and len(found) < 2 * n_times + 10:
        # A third of the moments lie in the start: plan, manifest, models.
        is_at_work = chance.random() > 1 / 3
        moment_s = chance.uniform(0, last_s - first_s) if is_at_work else chance.uniform(0, first_s)
        scene = Scene(archive, archive.folder / "out", chance, moment_s, is_at_work)
        found.append(trial := try_fault(fault, scene, n_jobs=options.jobs))
        if trial.lost or trial.half_made or trial.done_again or set(trial.codes_again) - {0}:
            print(f"  {fault.name}: {trial}", flush=True)
    n_hits = sum(trial.in_time for trial in found)
    print(f"{fault.name}: {n_hits} in time, {time.monotonic() - began:.0f} s", flush=True)
    return found


def write(
    options: argparse.Namespace, trials: dict[str, list[Trial]], text: str, took_s: float
) -> None:
    """Write the page's block and the JSON."""
    about = circumstances()
    words = (
        f"`python bench/reliability.py --kills {options.kills} --times {options.times} "
        f"--seed {options.seed} --page docs/evidence/reliability.md`"
    )
    where = (
        f"{words}: {options.songs} songs of 2 to 6 s (the first so loud that its stems are written "
        f"twice), {options.jobs} at a time, model `viso`, on {about['machine']}, {about['cores']} "
        f"cores, {about['system']}, Python {about['python']}, viso {about['viso']}, "
        f"{about['date']}; {took_s / 60:.0f} minutes at a load of {about['load']}."
    )
    put_block(options.page, "faults", f"{where}\n\n{text}")
    runs = {name: [trial.as_dict() for trial in some] for name, some in trials.items()}
    values = {**about, "seed": options.seed, "took_s": round(took_s), "runs": runs}
    save(json_of(options.page), "faults", values)


if __name__ == "__main__":
    main()
