"""What ``viso separate`` reports about a song and a batch, to people and to programs."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from viso.cli.console import shown
from viso.separator import Report
from viso.separator.confidence import Second
from viso.stores.address import Location

if TYPE_CHECKING:
    from viso.batch import BatchProgress, Plan

__all__ = [
    "as_record",
    "common_reason",
    "described",
    "failure_record",
    "forecast",
    "format_batch",
    "format_plan",
]


def as_record(
    song: Location,
    report: Report,
    table: Location | None,
    took_s: float,
) -> dict[str, object]:
    """Return the JSON object that ``--json`` prints for a song that is done."""
    return {
        "song": str(song),
        "ok": True,
        "stems": {stem: str(path) for stem, path in report.outputs.items()},
        "confidence": None if table is None else str(table),
        "duration_s": report.duration_s,
        "n_samples": report.n_samples,
        "n_channels": report.n_channels,
        "rate_hz": report.rate_hz,
        "written_rate_hz": report.written_rate_hz,
        "gain_db": report.gain_db,
        "largest_error": report.largest_error,
        "is_lossless": report.is_lossless,
        "model": report.model,
        "model_sha256": report.model_sha256,
        "wiener": report.wiener,
        "device": report.device,
        "took_s": round(took_s, 3),
    }


def failure_record(song: Location, kind: str, reason: str) -> dict[str, object]:
    """Return the JSON object that ``--json`` prints for a song that failed."""
    return {"song": str(song), "ok": False, "error": kind, "reason": reason}


def common_reason(failures: Sequence[tuple[Location, str]]) -> str | None:
    """Return a line if several songs failed, all for one reason; None otherwise.

    Then the songs are hardly the cause.

    Parameters
    ----------
    failures : sequence of (Path or Address, str)
        Each song and why it failed.
    """

    def without_names(song: Location, reason: str) -> str:
        for name in (str(song), song.name):
            reason = reason.replace(name, "")
        # The names of its stems contain the song's.
        return re.sub(rf"/{re.escape(song.stem)}(?!\w)", "/", reason)

    if len(failures) < 2 or len({without_names(*failure) for failure in failures}) > 1:
        return None
    return (
        f"all {len(failures)} songs failed for one reason: unless every one of them is bad, it "
        "does not lie in them"
    )


def described(report: Report, table: Location | None, took_s: float) -> str:
    """Return the lines that a person reads when a song is done."""
    paths = shown(", ".join(str(path) for path in report.outputs.values()))
    speed = report.duration_s / max(1e-9, took_s)
    behind = f" and a Wiener filter ({report.wiener}x)" if report.wiener else ""
    lines = [
        f"{shown(report.song.name)} -> {paths}",
        f"  {report.duration_s:.1f} s in {took_s:.1f} s ({speed:.1f}x real time) "
        f"with {shown(report.model)}{behind} on {report.device}",
    ]
    if report.gain_db:
        lines.append(f"  all stems lowered by {-report.gain_db:.2f} dB, so that none clips")
    elif report.is_lossless and set(report.parts) <= set(report.outputs):
        error = report.largest_error
        how = "exactly" if error == 0 else f"within {20 * math.log10(error):.0f} dB of full scale"
        lines.append(f"  {' + '.join(report.parts)} = mixture, {how}")
    if report.written_rate_hz != report.rate_hz:
        lines.append(f"  written at {report.written_rate_hz} Hz, the format's nearest rate")
    if table is not None:
        lines.append(f"  {_typical(report.confidence)}, second by second in {shown(str(table))}")
    return "\n".join(lines)


def _typical(seconds: Sequence[Second]) -> str:
    """Return a text with the median over all seconds of each stem's estimated SDR."""
    columns = {"vocals": [s.vocals_sdr_db for s in seconds]}
    columns["instrumental"] = [s.instrumental_sdr_db for s in seconds]
    figures = {
        stem: statistics.median(known)
        for stem, column in columns.items()
        if (known := [value for value in column if not math.isnan(value)])
    }
    text = ", ".join(f"{stem} {value:.1f} dB" for stem, value in figures.items())
    return f"estimated SDR: {text or 'nothing to hear'}"


def forecast(done_s: float, total_s: float, took_s: float, peak_bytes: float | None) -> str:
    """Return how long a separation still takes, as a text for its beginning.

    Parameters
    ----------
    done_s, total_s : float
        Seconds of sound.
    took_s : float
        Seconds that they took.
    peak_bytes : float or None
        Most memory in use so far.
    """
    speed = done_s / max(1e-9, took_s)
    text = f"about {_span((total_s - done_s) / max(1e-9, speed))} to go at {speed:.2g}x real time"
    return text if peak_bytes is None else f"{text}, in {_bytes(peak_bytes)} of memory"


def format_plan(plan: Plan) -> str:
    """Return the lines that a person reads before a batch begins."""
    about = "" if plan.is_exact else "about "
    todo = f"{_songs(len(plan.tasks))} to do, {about}{_span(plan.audio_s)} of sound"
    asides = [
        (len(plan.finished), "done already"),
        (plan.n_renewed, "to do again: another content, or a stem is gone or cut short"),
        (plan.n_again, "met more than once"),
        (plan.n_others, "files that are no sound by their name"),
        (len(plan.unreadable), "folders that cannot be read"),
    ]
    text = "".join(f"\n  {number:,} {what}" for number, what in asides if number)
    lines = [f"{shown(str(plan.out))}: {todo}{text}"]
    if plan.manifest != plan.out:
        lines.append(f"  manifest in {shown(str(plan.manifest))}")
    if plan.tasks:
        lines.append(f"  {_room(plan.stem_bytes, plan.free_bytes)}")
        how = f"  {plan.n_jobs} at a time"
        if plan.expected_s is None:
            lines.append(f"{how}; the time is not known yet, it is told as it runs")
        else:
            speed = f"{plan.speed:.0f}x real time, as measured here before"
            lines.append(f"{how}, about {_span(plan.expected_s)} ({speed})")
    return "\n".join(lines)


def format_batch(plan: Plan, last: BatchProgress | None, *, took_s: float) -> str:
    """Return the line that a person reads when a batch has ended."""
    n_done, n_failed = (0, 0) if last is None else (last.n_done, last.n_failed)
    text = f"{_songs(n_done)} done, {n_failed:,} failed"
    left = len(plan.tasks) + len(plan.unreadable) - n_done - n_failed
    text += f", {left:,} left" if left > 0 else ""
    text += f", {len(plan.finished):,} done before" if plan.finished else ""
    if last is None or not last.done_s:
        return text
    pace = f"{last.speed:.1f}x real time, {last.songs_per_hour:,.0f} songs an hour"
    return f"{text}; {_span(last.done_s)} of sound in {_span(took_s)} ({pace})"


def _room(size: float, free: int | None) -> str:
    """Return a text with the size of the stems and the free space."""
    text = [f"about {_bytes(size)} of stems"] if size else []
    if free is not None:
        text.append(f"{_bytes(free)} are free" + (": TOO LITTLE" if size > free else ""))
    return "; ".join(text) or "how large the stems will be is not known yet"


def _songs(number: int) -> str:
    return "1 song" if number == 1 else f"{number:,} songs"


def _span(seconds: float) -> str:
    """Return a time in a unit that is easy to read."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:,.1f} h"


def _bytes(number: float) -> str:
    units = ("kB", "MB", "GB", "TB")
    power = min(len(units), max(1, int(math.log10(max(1.0, number)) // 3)))
    return f"{number / 1000**power:.3g} {units[power - 1]}"
