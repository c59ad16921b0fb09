"""One fault, once: a batch that meets it, and the same command again until it ends."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from faults.commands import Batch, Ended
from faults.songs import Archive, Found

__all__ = ["Fault", "Scene", "Trial", "nothing", "try_fault"]

_MOST_RUNS = 5


@dataclass
class Scene:
    """Where a fault happens.

    `moment_s` is when, if the fault is one of random moments: in seconds after the start, or, if
    it `is_at_work`, after the first song was begun. So a busy machine does not shift them.
    `n_begun` are songs that the fault itself has cost, if the first run does not end by it.
    """

    archive: Archive
    out: Path
    random: random.Random
    moment_s: float
    is_at_work: bool
    batches: list[Batch] = field(default_factory=list)
    n_begun: int = 0

    @property
    def batch(self) -> Batch:
        """The batch that the fault is for."""
        return self.batches[0]

    def wait_for_moment(self) -> bool:
        """Wait for the random moment; False if the batch has ended before."""
        began_s = self.batch.began_s
        if self.is_at_work:
            if not self.wait_until(lambda: any(self.out.rglob(".viso-*"))):
                return False
            began_s = time.monotonic()
        return self.wait_until(lambda: time.monotonic() - began_s >= self.moment_s)

    def wait_until(self, is_so: Callable[[], object]) -> bool:
        """Wait until something is so; False if the batch has ended before."""
        while not is_so():
            if self.batch.has_ended:
                return False
            time.sleep(0.001)
        return not self.batch.has_ended


def nothing(_: Scene) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong.

    `act` returns whether it came in time; `prepare` comes before the first run, `mend` before the
    same command runs again, `clear` after all. `settings`, `before` and `prelude` are those of
    `Batch`, for the first run only; `n_batches` are begun together.
    """

    name: str
    act: Callable[[Scene], bool]
    prepare: Callable[[Scene], None] = nothing
    mend: Callable[[Scene], None] = nothing
    clear: Callable[[Scene], None] = nothing
    settings: Callable[[Scene], Mapping[str, str]] = lambda _: {}
    before: Callable[[Scene], Callable[[], None] | None] = lambda _: None
    prelude: str = ""
    n_batches: int = 1
    note: str = ""


@dataclass(frozen=True)
class Trial:
    """What came of a fault, once.

    `half_made` are files under a final name that were not bit for bit those of the reference,
    right after the fault or at the end; `begun_anew` are songs that had been begun, and
    `done_again` songs that were noted as done and were still there, that were separated again.
    """

    in_time: bool
    is_at_work: bool
    moment_s: float
    lost: int
    half_made: int
    begun_anew: int
    done_again: int
    hidden_left: int
    codes: tuple[int | None, ...]
    codes_again: tuple[int | None, ...]
    said: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


def try_fault(fault: Fault, scene: Scene, *, n_jobs: int) -> Trial:
    """Run a batch into a fault, look, run the same command until it ends well, look again."""
    archive, out = scene.archive, scene.out
    shutil.rmtree(out, ignore_errors=True)
    fault.prepare(scene)
    try:
        for number in range(fault.n_batches):
            scene.batches.append(
                Batch(
                    archive.songs,
                    out,
                    log=archive.folder / f"log-{number}",
                    n_jobs=n_jobs,
                    settings=fault.settings(scene),
                    before=fault.before(scene),
                    prelude=fault.prelude,
                )
            )
        in_time = fault.act(scene)
        first = [batch.wait() for batch in scene.batches]
        # Orphans may still be at work: the next batch has to get on with them.
        after, noted = archive.look(out), archive.noted(out)
        fault.mend(scene)
        again: list[Ended] = []
        while not again or (again[-1].code != 0 and len(again) < _MOST_RUNS):
            log = archive.folder / "log-again"
            again.append(Batch(archive.songs, out, log=log, n_jobs=n_jobs).wait())
        for batch in scene.batches:
            batch.wait_for_all()
        return _trial(scene, in_time, first, again, after, archive.look(out), noted)
    finally:
        for batch in scene.batches:
            batch.kill_all()
        fault.clear(scene)
        archive.restore()


def _trial(
    scene: Scene,
    in_time: bool,
    first: list[Ended],
    again: list[Ended],
    after: Found,
    final: Found,
    noted: Mapping[str, str],
) -> Trial:
    later = Counter(song for ended in again for song in ended.separated)
    done = {song for song, state in noted.items() if state == "done" and song in after.whole}
    begun = {song for song, state in noted.items() if song not in done}
    twice = Counter(song for ended in first for song in ended.separated)
    n_twice = sum(number - 1 for number in twice.values())
    folder = str(scene.archive.folder)
    return Trial(
        in_time=in_time,
        is_at_work=scene.is_at_work,
        moment_s=round(scene.moment_s, 3),
        lost=scene.archive.n_songs - len(final.whole),
        half_made=len({*after.wrong, *final.wrong}),
        begun_anew=scene.n_begun + sum(later[song] for song in begun),
        done_again=n_twice + sum(later[song] for song in done),
        hidden_left=len(final.hidden),
        codes=tuple(ended.code for ended in first),
        codes_again=tuple(ended.code for ended in again),
        said=tuple(line.replace(folder + "/", "") for e in first for line in e.errors[-1:]),
    )
