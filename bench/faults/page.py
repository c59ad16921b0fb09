"""What was measured, as JSON and as a block of a page."""

from __future__ import annotations

import datetime
import json
import os
import platform
import signal
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from faults.scene import Trial
from viso import __version__

__all__ = ["circumstances", "json_of", "put_block", "save", "table"]

_COLUMNS = (
    "fault",
    "runs",
    "songs lost",
    "half-made, looks whole",
    "begun anew",
    "done, done again",
    "left over",
    "exit codes",
    "and again",
)


def circumstances() -> dict[str, Any]:
    """Return machine, version and date."""
    with_name = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "machine": with_name[0] if with_name else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "viso": __version__,
        "date": datetime.date.today().isoformat(),
        "load": round(os.getloadavg()[0], 1),
    }


def table(trials: Mapping[str, Sequence[Trial]]) -> str:
    """Return a line for each fault, then what was said of it, in Markdown."""
    lines = ["| " + " | ".join(_COLUMNS) + " |", "|---" + "|---:" * 6 + "|---" * 2 + "|"]
    said = []
    for name, all_trials in trials.items():
        some = [trial for trial in all_trials if trial.in_time]
        sums = [
            sum(getattr(trial, column) for trial in some)
            for column in ("lost", "half_made", "begun_anew", "done_again", "hidden_left")
        ]
        codes = _codes(trial.codes for trial in some)
        again = _codes(trial.codes_again for trial in some)
        cells = [name, len(some), *sums, codes, again]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
        # The longest is the one that says most.
        words = Counter(line for trial in some for line in trial.said)
        if words:
            said.append(f"- {name}: `{max(words, key=len)}`")
    return "\n".join([*lines, "", "What was read (the last line, one of them):", "", *said])


def _codes(all_codes: Iterable[Sequence[int | None]]) -> str:
    counts = Counter(code for codes in all_codes for code in codes)
    return ", ".join(
        f"{_code(code)} ({number}x)" for code, number in sorted(counts.items(), key=lambda c: -c[1])
    )


def _code(code: int | None) -> str:
    if code is None:
        return "no end"
    return signal.Signals(-code).name if code < 0 else str(code)


def put_block(page: Path, name: str, text: str) -> None:
    """Replace what stands between `<!-- NAME -->` and `<!-- end -->`."""
    first = f"<!-- {name} -->\n"
    before, found, rest = page.read_text(encoding="utf-8").partition(first)
    if not found:
        raise SystemExit(f"{page}: has no line {first.strip()}")
    after = rest[rest.index("<!-- end -->") :]
    page.write_text(f"{before}{first}\n{text.strip()}\n\n{after}", encoding="utf-8")


def json_of(page: Path) -> Path:
    """Return where a page's figures lie as JSON: in `docs/data`, else beside the page."""
    data = page.parent.parent / "data"
    return (data / page.name if data.is_dir() else page).with_suffix(".json")


def save(path: Path, name: str, values: Mapping[str, Any]) -> None:
    """Put values into a JSON file under a name, beside what it has."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    found[name] = values
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
