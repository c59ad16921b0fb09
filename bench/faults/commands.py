"""`viso separate` as a user starts it, and the processes behind it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Batch", "Ended", "cpu_seconds", "is_running", "tree"]

_LONGEST_S = 300.0
_MAIN = "from viso.cli import main; main()"


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (None: it had to be killed), what it said and when."""

    code: int | None
    records: list[dict[str, Any]]
    errors: list[str]
    took_s: float

    @property
    def separated(self) -> set[str]:
        """The songs that it has separated, by name."""
        return {
            Path(record["song"]).name
            for record in self.records
            if record.get("ok") and record.get("stems") and not record.get("skipped")
        }


class Batch:
    """A running `viso separate SONGS --recursive -o OUT --json`, in a process group of its own.

    Parameters
    ----------
    songs, out : Path
    log : Path
        What its output is called, but for the suffix.
    n_jobs : int
    settings : mapping of str to str
        Environment variables beside our own.
    before : callable, optional
        Called in the new process before it becomes viso.
    prelude : str
        Python that is run first.
    """

    def __init__(
        self,
        songs: Path,
        out: Path,
        *,
        log: Path,
        n_jobs: int,
        settings: Mapping[str, str] | None = None,
        before: Callable[[], None] | None = None,
        prelude: str = "",
    ) -> None:
        self._outputs = log.with_suffix(".out"), log.with_suffix(".err")
        words = ["separate", str(songs), "--recursive", "-o", str(out), "--jobs", str(n_jobs)]
        words += ["--format", "flac", "--bit-depth", "16", "--json"]
        with self._outputs[0].open("wb") as said, self._outputs[1].open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", prelude + _MAIN, *words],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=errors,
                env={**os.environ, **(settings or {})},
                start_new_session=True,
                preexec_fn=before,
            )
        self.pid = self.process.pid
        self.began_s = time.monotonic()

    @property
    def has_ended(self) -> bool:
        """Whether it is over."""
        return self.process.poll() is not None

    def workers(self) -> list[int]:
        """Return its processes that separate."""
        return [pid for pid in tree(self.pid) if b"spawn_main" in _command(pid)]

    def kill_all(self) -> None:
        """Kill its whole process group."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def wait(self) -> Ended:
        """Wait for its end."""
        try:
            code: int | None = self.process.wait(_LONGEST_S)
        except subprocess.TimeoutExpired:
            code = None
            self.kill_all()
            self.process.wait()
        took_s = time.monotonic() - self.began_s
        said, errors = (path.read_text(errors="replace") for path in self._outputs)
        records = []
        for line in said.splitlines():
            with suppress(ValueError):  # a line may be cut off by a kill
                records.append(json.loads(line))
        return Ended(code, records, errors.strip().splitlines(), took_s)

    def wait_for_all(self) -> None:
        """Wait until its orphans have ended, too."""
        until = time.monotonic() + 60
        while time.monotonic() < until and _has_session(self.pid):
            time.sleep(0.02)
        self.kill_all()


def tree(pid: int) -> list[int]:
    """Return a process and all below it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            parents[int(entry.name)] = int(fields[1])
    found = [pid] if pid in parents else []
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def is_running(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    fields = _stat(pid)
    return bool(fields) and fields[0] != "Z"


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process so far."""
    fields = _stat(pid)
    ticks = sum(map(int, fields[11:13])) if fields else 0
    return ticks / os.sysconf("SC_CLK_TCK")


def _has_session(session: int) -> bool:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields and int(fields[3]) == session and fields[0] != "Z":
                return True
    return False


def _stat(pid: int) -> list[str]:
    """Return what the kernel says of a process from its state on; nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
