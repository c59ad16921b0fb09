"""``viso separate`` on many songs: the plan, one progress bar, and the failures at the end."""

from __future__ import annotations

import hashlib
import re
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from viso import batch
from viso.cli.console import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    bar,
    error_line,
    out,
    own_stdout,
    print_json,
    trace,
)
from viso.cli.formatting import as_record, common_reason, failure_record, format_batch, format_plan
from viso.errors import ConfigError, DataError, ModelError, VisoError
from viso.models import registry
from viso.stores.address import Location

if TYPE_CHECKING:
    from viso.batch.cluster import Cluster

__all__ = ["BatchRequest", "run_batch"]


@dataclass(frozen=True)
class BatchRequest:
    """The options of the command line, except the settings of every song.

    `address` is that of a Ray cluster; if None, the songs are separated on this machine.
    """

    inputs: tuple[Location, ...]
    out: Location
    recursive: bool
    jobs: int | None
    overwrite: bool
    is_dry: bool
    as_json: bool
    quiet: bool
    address: str | None = None
    manifest: Path | None = None

    def home(self) -> Path | None:
        """Return the manifest's folder for an output in a store, None for any other output."""
        if isinstance(self.out, Path):
            return None
        if self.manifest is not None:
            return self.manifest
        text = str(self.out)
        mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        name = re.sub(r"[^a-z0-9]+", "-", text.lower())[:60].strip("-")
        try:
            return registry.user_folder().parent / "manifests" / f"{name}-{mark}"
        except ModelError as error:
            raise ConfigError(f"{text}: no home folder for its manifest; say --manifest") from error


@dataclass
class _Tally:
    """The results of a batch so far."""

    last: batch.BatchProgress | None = None
    failures: list[batch.Result] = field(default_factory=list)
    began_s: float = field(default_factory=time.monotonic)


def run_batch(request: BatchRequest, config: batch.SeparationConfig) -> int:
    """Plan the batch, print the plan, carry it out; return the exit code."""
    if request.address is None:
        return _run_on(None, request, config)
    # Imported here, because batches on one machine do not need it.
    from viso.batch.cluster import Cluster

    with own_stdout(), Cluster(request.address) as cluster:
        return _run_on(cluster, request, config)


def _run_on(cluster: Cluster | None, request: BatchRequest, config: batch.SeparationConfig) -> int:
    try:
        plan = batch.plan(
            request.inputs,
            request.out,
            manifest=request.home(),
            config=config,
            recursive=request.recursive,
            jobs=request.jobs or (cluster.n_slots(config) if cluster else None),
            threads=1 if cluster else None,
        )
    except KeyboardInterrupt:
        error_line("interrupted; nothing was begun")
        return EXIT_INTERRUPTED
    if not (plan.tasks or plan.finished or plan.unreadable):
        below = "" if request.recursive else "; add --recursive for those in folders below"
        raise DataError(f"{', '.join(map(str, request.inputs))}: no song is in there{below}")
    _show_plan(plan, request)
    if request.is_dry:
        for folder in plan.unreadable:
            error_line(folder.reason)
        return EXIT_FAILED if plan.unreadable else 0
    tally, stopped, is_interrupted = _Tally(), "", False
    try:
        _work(plan, request, tally, None if cluster is None else cluster.engine(plan))
    except KeyboardInterrupt:
        is_interrupted = True
    except VisoError as error:
        stopped = str(error)
    _tell_end(plan, request, tally, stopped=stopped, is_interrupted=is_interrupted)
    if is_interrupted:
        return EXIT_INTERRUPTED
    return EXIT_FAILED if stopped or tally.failures else 0


def _work(
    plan: batch.Plan, request: BatchRequest, tally: _Tally, engine: batch.Engine | None
) -> None:
    steps = batch.run(plan, overwrite=request.overwrite, engine=engine)
    with closing(steps), bar(quiet=request.quiet or request.as_json) as progress:  # type: ignore[type-var]
        task = progress.add_task("", total=None, speed="")
        for step in steps:
            tally.last = step
            failed = f", {step.n_failed} failed" if step.n_failed else ""
            n_ended = step.n_done + step.n_failed
            progress.update(
                task,
                description=f"{n_ended} of {step.n_songs} songs{failed}",
                completed=step.done_s,
                total=step.done_s + step.left_audio_s or None,
                speed=f"{step.speed:.0f}x, {step.songs_per_hour:.0f} songs an hour",
            )
            if step.result is not None:
                _take_result(step.result, request, tally)


def _take_result(result: batch.Result, request: BatchRequest, tally: _Tally) -> None:
    if not result.is_done:
        tally.failures.append(result)
    if not request.as_json:
        return
    if not result.is_done:
        print_json(failure_record(result.song, result.kind, result.reason))
    elif result.report is None:
        print_json({"song": str(result.song), "ok": True, "elsewhere": True})
    else:
        print_json(as_record(result.song, result.report, result.table, result.took_s))


def _show_plan(plan: batch.Plan, request: BatchRequest) -> None:
    if not request.as_json:
        if not request.quiet or request.is_dry:
            out().print(format_plan(plan))
        return
    print_json(
        {
            "plan": {
                "out": str(plan.out),
                "manifest": str(plan.manifest),
                "songs": len(plan.tasks),
                "done_before": len(plan.finished),
                "again": plan.n_renewed,
                "duration_s": round(plan.audio_s, 3),
                "is_exact": plan.is_exact,
                "expected_s": plan.expected_s,
                "stem_bytes": round(plan.stem_bytes),
                "free_bytes": plan.free_bytes,
                "jobs": plan.n_jobs,
                "threads": plan.threads,
                "unreadable": [folder.reason for folder in plan.unreadable],
            }
        }
    )
    for done in plan.finished:
        stems = {stem: str(plan.out / path) for stem, path in done.files.items()}
        record = {"song": str(done.song), "ok": True, "skipped": True, "stems": stems}
        print_json(record)
    for task in plan.tasks if request.is_dry else ():
        stems = {stem: str(plan.out / path) for stem, path in task.files.items()}
        print_json({"song": str(task.song.path), "planned": True, "stems": stems})


def _tell_end(
    plan: batch.Plan, request: BatchRequest, tally: _Tally, *, stopped: str, is_interrupted: bool
) -> None:
    failed = [(failure.song, failure.reason) for failure in tally.failures]
    if not (tally.last and tally.last.n_done) and (common := common_reason(failed)):
        error_line(common)
    for failure in tally.failures:
        trace(failure.trace)
        error_line(failure.reason)
    if stopped:
        error_line(stopped)
    took_s = time.monotonic() - tally.began_s
    last = tally.last
    if request.as_json:
        record = {
            "done": 0 if last is None else last.n_done,
            "failed": len(tally.failures),
            "done_before": len(plan.finished),
            "took_s": round(took_s, 3),
            "speed": None if last is None else round(last.speed, 2),
            "interrupted": is_interrupted,
            "stopped": stopped or None,
            "failures": [
                {"song": str(f.song), "error": f.kind, "reason": f.reason} for f in tally.failures
            ],
        }
        print_json({"batch": record})
    elif not request.quiet:
        out().print(format_batch(plan, last, took_s=took_s))
    if is_interrupted:
        error_line("interrupted; the same command goes on where it stopped")
