"""Carry out a plan: claim songs, submit them to an engine, record them when they are done."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from viso.batch.claims import Claim, ClaimRefusal, Claims, remove_hidden
from viso.batch.database import FILE, DiskFullError, connected
from viso.batch.engine import Engine
from viso.batch.local import LocalEngine
from viso.batch.manifest import Manifest
from viso.batch.output_lease import OutputLease
from viso.batch.owners import Owner
from viso.batch.planning import Plan, Task
from viso.batch.progress import BatchProgress, Result
from viso.batch.protocol import Died, Done, Event, Failed, Order, Step
from viso.errors import VisoError
from viso.stores.address import Address, Location

__all__ = ["run"]

_LOOK_S = 0.25  # between two looks at the engine
_AGAIN_S = 1.0  # between two looks at a song that another batch works on
_TRIES = 2  # for a song whose process dies


def run(
    plan: Plan, *, overwrite: bool = False, engine: Engine | None = None
) -> Iterator[BatchProgress]:
    """Carry out a plan and yield the progress several times a second.

    Every result is in the manifest before it is yielded. If the iterator is closed early, running
    songs are given up and leave no file; all others stay done. A script must call this below
    ``if __name__ == "__main__":``, because each worker imports the script anew.

    Parameters
    ----------
    plan : Plan
    overwrite : bool
        Replace existing files that no batch made, or that have grown since.
    engine : Engine, optional
        Processes of this machine by default. It is stopped at the end.

    Yields
    ------
    Progress

    Raises
    ------
    DiskFullError
        If the disk is full; finished songs are kept, and the same plan can be resumed.
    DataError
        If the manifest cannot be written. For an output in a store: if the store does not answer
        or another manifest keeps the output.
    ModelError, ConfigError
        If no process can load the model.

    Examples
    --------
    >>> for progress in run(plan(["archive"], "stems")):              # doctest: +SKIP
    ...     if progress.result is not None:
    ...         print(progress.result.song, progress.result.reason or "done")
    """
    with ExitStack() as stack:
        owner = stack.enter_context(Owner(plan.manifest))
        database = stack.enter_context(connected(plan.manifest, is_new=True))
        keeper = None
        if isinstance(plan.out, Address):
            keeper = OutputLease(plan.out, plan.manifest, database)
        Manifest(database).renew(plan.renewed, plan.facts)
        claims = Claims(database, plan.out, owner=owner, facts=plan.facts)
        stack.callback(_release, claims)
        if engine is None:
            engine = LocalEngine(
                plan.config, n_jobs=min(plan.n_jobs, max(1, len(plan.tasks))), threads=plan.threads
            )
        batch = _Batch(plan, claims, engine, keeper, overwrite=overwrite)
        stack.callback(batch.remove_unrecorded_outputs)
        stack.callback(engine.stop)
        for folder in plan.unreadable:
            yield batch.ended(Result(folder.path, kind="DataError", reason=folder.reason))
        yield from batch.steps()


def _release(claims: Claims) -> None:
    # If the disk is full or gone, the claims expire when the signs of life stop.
    with suppress(VisoError):
        claims.release()


@dataclass
class _Running:
    task: Task
    claim: Claim
    order: Order
    began_s: float
    before: dict[Path, tuple[int, int] | None]
    done_s: float = 0.0
    tries: int = 1


class _Batch:
    """The waiting, running and finished songs of a batch."""

    def __init__(
        self,
        plan: Plan,
        claims: Claims,
        engine: Engine,
        keeper: OutputLease | None,
        *,
        overwrite: bool,
    ) -> None:
        self._plan, self._claims, self._engine, self._keeper = plan, claims, engine, keeper
        self._overwrite = overwrite
        self._waiting = deque(plan.tasks)
        self._busy: deque[Task] = deque()
        self._running: dict[int, _Running] = {}
        self._pids: list[int] = []
        self._n_done = self._n_failed = self._number = 0
        self._done_s = 0.0
        self._left_s = plan.audio_s
        self._began_s = time.monotonic()
        self._looked_s = self._began_s
        self._full: DiskFullError | None = None

    def steps(self) -> Iterator[BatchProgress]:
        """Work until nothing is left."""
        while True:
            if self._keeper is not None:
                self._keeper.check_if_time()
            yield from map(self.ended, self._begin())
            if not self._running and (self._full or not (self._waiting or self._busy)):
                break
            for event in self._engine.events(timeout_s=_LOOK_S):
                if (result := self._taken(event)) is not None:
                    yield self.ended(result)
            yield self._progress()
        if self._full:
            raise self._full

    def ended(self, result: Result) -> BatchProgress:
        """Count a result."""
        self._n_done += result.is_done
        self._n_failed += not result.is_done
        return self._progress(result)

    def _progress(self, result: Result | None = None) -> BatchProgress:
        running = tuple(self._running.values())
        begun_s = sum(one.done_s for one in running)
        return BatchProgress(
            n_songs=len(self._plan.tasks),
            n_done=self._n_done,
            n_failed=self._n_failed,
            done_s=self._done_s + begun_s,
            left_audio_s=max(0.0, self._left_s - begun_s),
            elapsed_s=time.monotonic() - self._began_s,
            running=tuple(one.task.song.path for one in running),
            result=result,
        )

    def _begin(self) -> Iterator[Result]:
        """Submit songs while the engine takes more; yield results of songs that cannot begin."""
        if self._busy and time.monotonic() - self._looked_s > _AGAIN_S:
            self._waiting.extend(self._busy)
            self._busy.clear()
            self._looked_s = time.monotonic()
        while self._waiting and not self._full and len(self._running) < self._engine.n_jobs:
            task = self._waiting.popleft()
            try:
                claim = self._claimed(task)
            except DiskFullError as error:
                self._full = self._to_go_on(error)
                return
            if isinstance(claim, Claim):
                self._start(task, claim)
            elif claim.why == "busy":
                self._busy.append(task)
            else:
                self._left_s -= task.expected_s
                yield self._not_begun(task, claim)

    def _claimed(self, task: Task) -> Claim | ClaimRefusal:
        def claimed(files: dict[str, Path]) -> Claim | ClaimRefusal:
            return self._claims.claim(
                task.song.key, files, overwrite=self._overwrite, ended_s=task.ended_s
            )

        claim = claimed(task.files)
        if isinstance(claim, ClaimRefusal) and claim.why == "taken":
            claim = claimed(task.spare)
        return claim

    def _start(self, task: Task, claim: Claim) -> None:
        self._number += 1
        targets: dict[str, Location] = {s: self._plan.out / path for s, path in claim.files.items()}
        table = targets.pop("confidence", None)
        order = Order(self._number, task.song.path, targets, table)
        before = {path: _identity(self._plan.out / path) for path in claim.files.values()}
        self._running[self._number] = _Running(task, claim, order, time.monotonic(), before)
        self._submit(order)

    def _submit(self, order: Order) -> None:
        self._engine.submit(order)
        if (pids := list(self._engine.pids)) != self._pids:
            self._pids = pids
            self._claims.note_workers(pids)

    def _not_begun(self, task: Task, refusal: ClaimRefusal) -> Result:
        song, path = task.song.path, self._plan.out / refusal.path
        if refusal.why == "done":
            return Result(song, is_elsewhere=True)
        if refusal.why == "failed":
            return Result(song, kind=refusal.kind, reason=refusal.reason, is_elsewhere=True)
        if refusal.why == "taken":
            reason = f"{song}: {path} is another song's; rename one"
        else:
            reason = (
                f"{path}: is already there and was not made by a batch, or was changed since; "
                f"add --overwrite to replace it with that of {song}"
            )
        return Result(song, kind="AudioError", reason=reason)

    def _taken(self, event: Event) -> Result | None:
        """Record an event; return the result if a song has ended."""
        running = self._running[event.number]
        if isinstance(event, Step):
            running.done_s = event.done_s
            return None
        if isinstance(event, Died):
            if event.pid is not None:
                files = running.claim.files.values()
                remove_hidden([self._plan.out / path for path in files], event.pid)
            if running.tries < _TRIES and not event.reason:
                running.tries, running.done_s = running.tries + 1, 0.0
                self._submit(running.order)
                return None
            reason = event.reason or self._why_it_died(running, event)
            event = Failed(event.number, "AudioError", reason)
        try:
            result = (
                self._done(running, event)
                if isinstance(event, Done)
                else self._failed(running, event)
            )
        except DiskFullError as error:
            self._full, result = self._to_go_on(error), None
        del self._running[event.number]
        self._left_s -= running.task.expected_s
        return result

    def remove_unrecorded_outputs(self) -> None:
        """Remove stems that cannot be recorded, because the output folder was removed meanwhile.

        A worker may have made the folder again, without a manifest. Then the next batch would
        take the stems for somebody else's files and refuse to replace them.
        """
        out = self._plan.out
        if isinstance(out, Address) or (out / FILE).exists():
            return
        for running in self._running.values():
            for path in running.claim.files.values():
                with suppress(OSError):
                    # A file from before the song began is not ours to remove.
                    if _identity(out / path) != running.before.get(path):
                        (out / path).unlink()

    def _why_it_died(self, running: _Running, event: Died) -> str:
        return (
            f"{running.task.song.path}: the process that separated it was ended {_TRIES} times "
            f"({event.how}), perhaps for want of memory; try it with --jobs 1"
        )

    def _done(self, running: _Running, event: Done) -> Result | None:
        song = running.task.song.path
        try:
            is_ours = self._claims.finish(
                running.claim,
                stamp=event.stamp,
                sha256=event.sha256,
                duration_s=event.report.duration_s,
                took_s=event.took_s,
                n_jobs=self._plan.n_jobs,
                sizes=event.sizes,
            )
        except OSError as error:
            reason = f"{error.filename or song}: is gone ({error.strerror}); run the batch again"
            return self._failed(running, Failed(event.number, "AudioError", reason))
        self._done_s += event.report.duration_s
        table = running.order.table
        return Result(song, event.report, table, took_s=event.took_s, is_elsewhere=not is_ours)

    def _failed(self, running: _Running, event: Failed) -> Result | None:
        if event.is_full:
            self._full = self._to_go_on(VisoError(event.reason))
            return None
        self._claims.fail(running.claim, kind=event.kind, reason=event.reason)
        took_s = time.monotonic() - running.began_s
        return Result(
            running.task.song.path,
            kind=event.kind,
            reason=event.reason,
            took_s=took_s,
            trace=event.trace,
        )

    def _to_go_on(self, error: VisoError) -> DiskFullError:
        return DiskFullError(
            f"{self._plan.out}: the disk is full, the batch has stopped ({error}); free some space "
            "and start it again: it goes on where it stopped"
        )


def _identity(place: Location) -> tuple[int, int] | None:
    """Return what identifies a file on a disk, even if another takes its name; None without one."""
    if isinstance(place, Address):
        return None
    try:
        facts = place.lstat()
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns
