"""What ``viso separate`` says of a song, to people and to programs."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from viso.confidence import Second
from viso.errors import VisoError
from viso.separator import STEMS, Report

__all__ = ["as_json_line", "described"]


def as_json_line(
    song: Path,
    report: Report | None,
    table: Path | None,
    error: VisoError | None,
    took_s: float,
) -> str:
    """Return the JSON object that ``--json`` prints for a song, done or failed."""
    if report is None:
        kind = type(error).__name__
        return json.dumps({"song": str(song), "ok": False, "error": kind, "reason": str(error)})
    return json.dumps(
        {
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
    )


def described(report: Report, table: Path | None, took_s: float) -> str:
    """Return the lines that a person reads when a song is done."""
    paths = ", ".join(str(path) for path in report.outputs.values())
    speed = report.duration_s / max(1e-9, took_s)
    behind = f" and a Wiener filter ({report.wiener}x)" if report.wiener else ""
    lines = [
        f"{report.song.name} -> {paths}",
        f"  {report.duration_s:.1f} s in {took_s:.1f} s ({speed:.1f}x real time) "
        f"with {report.model}{behind} on {report.device}",
    ]
    if report.gain_db:
        lines.append(f"  both stems lowered by {-report.gain_db:.2f} dB, so that neither clips")
    elif report.is_lossless and set(report.outputs) == set(STEMS):
        error = report.largest_error
        how = "exactly" if error == 0 else f"within {20 * math.log10(error):.0f} dB of full scale"
        lines.append(f"  vocals + instrumental = mixture, {how}")
    if report.written_rate_hz != report.rate_hz:
        lines.append(f"  written at {report.written_rate_hz} Hz, the format's nearest rate")
    if table is not None:
        lines.append(f"  {_typical(report.confidence)}, second by second in {table}")
    return "\n".join(lines)


def _typical(seconds: Sequence[Second]) -> str:
    """Say how sure the separation is in the middle of all seconds."""
    columns = {"vocals": [s.vocals_sdr_db for s in seconds]}
    columns["instrumental"] = [s.instrumental_sdr_db for s in seconds]
    figures = {
        stem: statistics.median(known)
        for stem, column in columns.items()
        if (known := [value for value in column if not math.isnan(value)])
    }
    told = ", ".join(f"{stem} {value:.1f} dB" for stem, value in figures.items())
    return f"estimated SDR: {told or 'nothing to hear'}"
