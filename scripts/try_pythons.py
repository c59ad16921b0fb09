"""Try every Python that the package names and this machine has.

    .venv/bin/python scripts/try_pythons.py

The classifiers of pyproject.toml name them; they are looked for in PATH and among pyenv's. Each
runs the README's first command in a copy of the checkout, and the quick tests in an environment
of its own, `.venv-3.12` and so on, which is kept. The environment has neither torch, Ray nor a
browser: what needs them is skipped there, and runs under the Python that runs this, whose tests
are `scripts/check`'s. At last the newest Python separates the demo with the newest releases that
the dependencies' bounds allow, without constraints.txt. A newer Python than those that are named
is tried, too, but breaks nothing.

Prints a line for each at the end; the exit code is 1 if one that is named fails.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OWN = sys.version_info[:2]
NEWER = 3  # minor versions beyond the last that is named
FACTS = "import ensurepip, sys, venv; print(*sys.version_info[:2])"
Version = tuple[int, int]


class FailedError(Exception):
    """A step did not do what it should; says which."""


@dataclass(frozen=True)
class Outcome:
    """What became of one Python, or of the newest dependencies."""

    what: str
    reported: str
    is_bad: bool = False


def named_versions(pyproject: Path) -> list[Version]:
    """Return the Pythons that the classifiers of a package name, oldest first."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    wanted = re.compile(r"Programming Language :: Python :: (\d+)\.(\d+)")
    found = [wanted.fullmatch(one) for one in project["classifiers"]]
    return sorted((int(one[1]), int(one[2])) for one in found if one)


def candidates(version: Version) -> Iterator[Path]:
    """Yield where an interpreter may lie, whether it is there or not."""
    name = f"python{dotted(version)}"
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        yield Path(folder) / name
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for installed in sorted((pyenv / "versions").glob(f"{dotted(version)}.*")):
        yield installed / "bin" / name


def find_python(version: Version) -> Path | None:
    """Return an interpreter that starts, is of this version and can make environments."""
    for path in candidates(version):
        if not os.access(path, os.X_OK):
            continue
        try:
            done = subprocess.run(
                [path, "-c", FACTS], capture_output=True, text=True, timeout=60, cwd="/"
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        # A shim of pyenv is there for versions that are not in use, and fails.
        if done.returncode == 0 and done.stdout.split() == [str(n) for n in version]:
            return path
    return None


def command_of(readme: Path, mark: str) -> str:
    """Return the command between ``<!-- mark -->`` and ``<!-- end -->``."""
    text = readme.read_text(encoding="utf-8")
    found = re.search(rf"<!-- {mark} -->\n```\n(.*?)\n```\n<!-- end -->", text, re.DOTALL)
    if found is None:
        raise FailedError(f"{readme}: has no command marked {mark!r}")
    return found[1]


def run(command: list[str | Path], *, where: Path = ROOT) -> str:
    """Run a command, showing what it prints; return that."""
    print("+", *command, flush=True)
    lines = []
    with subprocess.Popen(
        command, cwd=where, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        encoding="utf-8", errors="replace", stdin=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        raise FailedError(f"{' '.join(map(str, command))!r} ended with {process.returncode}")
    return "".join(lines)


def copy_checkout(folder: Path) -> None:
    """Copy what a fresh clone has and the package is built from, with uncommitted changes."""
    for name in ("README.md", "LICENSE", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", folder / "src", ignore=ignored)
    (folder / "examples").mkdir()
    shutil.copy(ROOT / "examples" / "demo.mp3", folder / "examples")


def separate_demo(python: Path, command: str) -> str:
    """Run a command for a fresh clone, its `python3` being this Python; return the versions."""
    with tempfile.TemporaryDirectory(prefix="viso-python-") as made:
        folder = Path(made)
        copy_checkout(folder)
        # As a function, so that nothing but the name differs from what a person types.
        function = f"python3() {{ '{python}' \"$@\"; }}\n"
        run(["bash", "-euo", "pipefail", "-c", function + command], where=folder)
        found = sorted(path.name for path in folder.glob("separated/demo/*.wav"))
        if found != ["instrumental.wav", "vocals.wav"]:
            raise FailedError(f"the demo's stems are {found}")
        return run([folder / ".venv/bin/python", "-m", "pip", "freeze"], where=folder)


def environment(python: Path, version: Version) -> Path:
    """Return the interpreter of `.venv-VERSION`, made or brought up to date."""
    folder = ROOT / f".venv-{dotted(version)}"
    inside = folder / "bin" / "python"
    try:
        is_whole = subprocess.run([inside, "-m", "pip", "--version"], capture_output=True)
        is_there = is_whole.returncode == 0
    except OSError:
        is_there = False
    if not is_there:
        run([python, "-m", "venv", "--clear", folder])
    run([inside, "-m", "pip", "install", "-q", "-c", "constraints.txt", "-e", ".[test]"])
    return inside


def counts_of(output: str) -> str:
    """Return how many tests passed and were skipped, as pytest's last line says."""
    found = re.findall(r"^=*\s*((?:\d+ \w+(?:, )?)+) in [\d.]+s", output, re.MULTILINE)
    if not found or "passed" not in found[-1]:
        raise FailedError("no test passed")
    return str(found[-1])


def quick_tests(python: Path, version: Version) -> str:
    """Run the quick tests; return how many there were."""
    inside = environment(python, version)
    return counts_of(run([inside, "-m", "pytest", "-m", "not slow", "-rs"]))


def newer_than(constraints: str, frozen: str) -> list[str]:
    """Return which packages have other versions than the constraints say."""
    pin = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)

    def plain(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    known: dict[str, set[str]] = {}
    for name, version in pin.findall(constraints):
        known.setdefault(plain(name), set()).add(version)
    return [
        f"{name} {version}"
        for name, version in pin.findall(frozen)
        if version not in known.get(plain(name), {version})
    ]


def timed(do: Callable[[], str]) -> str:
    """Return what was done, with its seconds."""
    began = time.monotonic()
    reported = do()
    return f"{reported} in {time.monotonic() - began:.0f} s"


def try_python(python: Path, version: Version, command: str) -> str:
    """Try one Python; return a line on it."""

    def demo() -> str:
        separate_demo(python, command)
        return "the README's first command separated the demo"

    reported = [timed(demo)]
    if version == OWN:
        reported.append("the whole suite is scripts/check's")
    else:
        reported.append(timed(lambda: f"quick tests: {quick_tests(python, version)}"))
    return "; ".join(reported)


def try_newest(python: Path, command: str) -> str:
    """Separate the demo with the newest releases; return a line on them."""
    free = command.replace(" -c constraints.txt", "")
    if free == command:
        raise FailedError("the README's first command has no constraints to leave out")

    def demo() -> str:
        frozen = separate_demo(python, free)
        constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
        others = newer_than(constraints, frozen)
        return f"separated the demo (not as in constraints.txt: {', '.join(others) or 'none'})"

    return timed(demo)


def outcome(what: str, do: Callable[[], str], *, is_named: bool = True) -> Outcome:
    """Try something; return what became of it."""
    print(f"\n== {what}", flush=True)
    try:
        return Outcome(what, do())
    except FailedError as error:
        note = "" if is_named else " (the package does not name it, so this breaks nothing)"
        return Outcome(what, f"FAILED: {error}{note}", is_bad=is_named)


def dotted(version: Version) -> str:
    return f"{version[0]}.{version[1]}"


def main() -> int:
    """Try them all; return the exit code."""
    named = named_versions(ROOT / "pyproject.toml")
    newer = [(named[-1][0], named[-1][1] + n) for n in range(1, NEWER + 1)]
    command = command_of(ROOT / "README.md", "use")
    outcomes, newest = [], Path(sys.executable)
    for version in [*named, *newer]:
        what, is_named, python = f"Python {dotted(version)}", version in named, find_python(version)
        if python is None:
            if is_named:
                outcomes.append(Outcome(what, "not on this machine, not tried"))
            continue
        if is_named:
            newest = python
        outcomes.append(
            outcome(
                f"{what} ({python})",
                lambda python=python, version=version: try_python(python, version, command),  # type: ignore[misc]
                is_named=is_named,
            )
        )
    what = f"the newest dependencies ({newest})"
    outcomes.append(outcome(what, lambda: try_newest(newest, command)))
    print()
    for one in outcomes:
        print(f"{one.what}: {one.reported}")
    return int(any(one.is_bad for one in outcomes))


if __name__ == "__main__":
    sys.exit(main())
