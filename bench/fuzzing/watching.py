"""The parent of `fuzzing.child`: keeps its time and its memory, and starts it anew when it dies."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["LONGEST_S", "MOST_MB", "Findings", "fuzz"]

LONGEST_S = 10.0
"""Processor time that an input may take; on the clock, sixty times as much."""
MOST_MB = 1024.0
"""Memory that the child may take."""

_A_CHILD = 2000  # inputs, before it is started anew: nothing leaks for ever
_BENCH = Path(__file__).parents[1]


@dataclass
class Findings:
    """What came of the inputs.

    Attributes
    ----------
    counts : Counter
        Of (kind of file, outcome).
    bad : list of dict
        What must not be: "crash", "hang", "memory" and "other".
    slowest, largest : dict
        The input that took most time, and the one that took most memory.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    bad: list[dict[str, Any]] = field(default_factory=list)
    slowest: dict[str, Any] = field(default_factory=lambda: {"busy_s": 0.0})
    largest: dict[str, Any] = field(default_factory=lambda: {"peak_mb": 0.0})

    def add(self, found: dict[str, Any]) -> None:
        """Count one input."""
        if found["peak_mb"] > MOST_MB:
            found["outcome"] = "memory"
        elif found["busy_s"] > LONGEST_S:
            found["outcome"] = "hang"
        self.counts[found["name"].split("-")[0], found["outcome"]] += 1
        if found["outcome"] in ("crash", "hang", "memory", "other"):
            self.bad.append(found)
        self.slowest = max(self.slowest, found, key=lambda one: one["busy_s"])
        self.largest = max(self.largest, found, key=lambda one: one["peak_mb"])

    def table(self) -> str:
        """Return a line for each kind of file and a column for each outcome."""
        outcomes = sorted({outcome for _, outcome in self.counts})
        lines = [["", *outcomes]]
        for kind in [*sorted({kind for kind, _ in self.counts}), "all"]:
            kinds = {k for k, _ in self.counts} if kind == "all" else {kind}
            sums = [sum(self.counts[k, outcome] for k in kinds) for outcome in outcomes]
            lines.append([kind, *map(str, sums)])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True))
            for line in lines
        )


class _Child:
    """A process that examines inputs, and a thread that waits for its answers."""

    def __init__(
        self, folder: Path, seed: int, *, module: str, longest_s: float, most_mb: float
    ) -> None:
        words = [sys.executable, "-m", module, str(folder), str(seed)]
        self._longest_s, self._most_mb = longest_s, most_mb
        self.log = (folder / "stderr").open("w+b")
        paths = os.pathsep.join([str(_BENCH), *filter(None, sys.path)])
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env={**os.environ, "PYTHONPATH": paths},
        )
        self.answers: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        if self.answers.get() != "ready\n":
            raise RuntimeError(self._last_words())

    def _listen(self) -> None:
        for line in self.process.stdout or ():
            self.answers.put(line)
        self.answers.put(None)

    def ask(self, index: int) -> dict[str, Any]:
        """Return what the child says of an input, or what became of the child."""
        stdin = self.process.stdin
        began, before = time.monotonic(), self._busy_s()
        try:
            print(index, file=stdin, flush=True)
        except OSError:
            return self._lost("crash")
        while True:
            try:
                answer = self.answers.get(timeout=0.1)
            except queue.Empty:
                if self._memory_mb() > self._most_mb:
                    return self._lost("memory")
                is_busy = self._busy_s() - before > self._longest_s
                if is_busy or time.monotonic() - began > 60 * self._longest_s:
                    return self._lost("hang")
                continue
            return self._lost("crash") if answer is None else json.loads(answer)

    def _lost(self, outcome: str) -> dict[str, Any]:
        if outcome == "hang":  # faulthandler tells where
            self.process.send_signal(signal.SIGABRT)
            time.sleep(0.5)
        self.process.kill()
        code = self.process.wait()
        return {
            "outcome": outcome,
            "detail": f"exit code {code}: {self._last_words()}",
            "busy_s": self._longest_s if outcome == "hang" else 0.0,
            "peak_mb": self._most_mb if outcome == "memory" else 0.0,
        }

    def _last_words(self) -> str:
        self.log.seek(0)
        return self.log.read()[-3000:].decode(errors="replace")

    def _memory_mb(self) -> float:
        try:
            pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        except OSError:
            return 0.0
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def _busy_s(self) -> float:
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        self.log.close()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


def fuzz(
    inputs: Iterable[int],
    *,
    seed: int = 0,
    module: str = "fuzzing.child",
    longest_s: float = LONGEST_S,
    most_mb: float = MOST_MB,
) -> Iterator[dict[str, Any]]:
    """Have a child read inputs, by their numbers, and yield what came of each.

    Parameters
    ----------
    inputs : iterable of int
    seed : int
    module : str
        The child's.
    longest_s, most_mb : float
        What an input may take.

    Yields
    ------
    dict
        As `fuzzing.child` says, or `outcome` "crash", "hang" or "memory".
    """
    from fuzzing.mutations import make_input
    from fuzzing.seeds import make_seeds

    with tempfile.TemporaryDirectory(prefix="viso-fuzz-") as folder:
        child: _Child | None = None
        seeds, n_asked = make_seeds(), 0
        try:
            for index in inputs:
                child = child or _Child(
                    Path(folder), seed, module=module, longest_s=longest_s, most_mb=most_mb
                )
                found = child.ask(index)
                n_asked += 1
                if "index" not in found:
                    found |= {"index": index, "name": make_input(seeds, index, seed=seed)[0]}
                if found["outcome"] in ("crash", "hang", "memory") or n_asked % _A_CHILD == 0:
                    child.close()
                    child = None
                yield found
        finally:
            if child is not None:
                child.close()
