"""Time and memory of a command, and the order in which several systems are measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

_LAUNCHER = Path(__file__).with_name("launch.py")
_TAIL_CHARS = 300
# What a user of the shell has set up for other programs.
_NOT_FOR_CHILDREN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")


class CommandError(Exception):
    """A command ended with an error; says which, and the end of what it printed."""


@dataclass(frozen=True)
class Run:
    """What one run of a command took.

    `seconds` is wall time from the start of the process to its end, `busy_s` its processor time
    on all cores, `peak_bytes` the largest resident set of any of its processes.
    """

    seconds: float
    busy_s: float
    peak_bytes: int

    def as_dict(self) -> dict[str, float]:
        """Return the fields by name, for JSON."""
        return asdict(self)


def environment_of_children() -> dict[str, str]:
    """Return our environment without what would mix one system's packages into another's."""
    return {key: value for key, value in os.environ.items() if key not in _NOT_FOR_CHILDREN}


def measure(words: Sequence[str]) -> Run:
    """Run a command to its end.

    Parameters
    ----------
    words : sequence of str
        The first is the path of a program.

    Raises
    ------
    CommandError
        If it ends with another code than 0.
    """
    with tempfile.TemporaryDirectory() as folder:
        report, log = Path(folder) / "report.json", Path(folder) / "log.txt"
        launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), str(report)]
        with log.open("wb") as file:
            # Of a program that does not exist the launcher says so in the log.
            subprocess.run(
                [*launcher, *words],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment_of_children(),
                check=False,
            )
        said = _end_of(log.read_text(errors="replace"))
        if not report.exists():
            raise CommandError(f"{Path(words[0]).name} did not start: {said}")
        figures = json.loads(report.read_text())
        if figures["exit_code"] != 0:
            raise CommandError(f"{Path(words[0]).name} ended with {figures['exit_code']}: {said}")
    return Run(figures["seconds"], figures["busy_s"], figures["peak_bytes"])


def output_of(words: Sequence[str]) -> str:
    """Run a command that is not measured, and return what it prints on standard output.

    Raises
    ------
    CommandError
        If it ends with another code than 0.
    """
    result = subprocess.run(
        list(words),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment_of_children(),
        check=False,
    )
    if result.returncode != 0:
        said = _end_of(result.stderr or result.stdout)
        raise CommandError(f"{Path(words[0]).name} ended with {result.returncode}: {said}")
    return result.stdout


def round_robin(names: Sequence[str], n_repeats: int) -> Iterator[tuple[int, str]]:
    """Yield every name once, then every name again: a slow stretch of the machine hits all."""
    for repeat in range(n_repeats):
        for name in names:
            yield repeat, name


def _end_of(text: str) -> str:
    """Return the last words of what a program printed, in one line."""
    return " ".join(text.split())[-_TAIL_CHARS:]
