"""The script that tries every Python: what it looks for, what it finds, what it tells."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from helpers.checkout import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _load() -> ModuleType:
    path = ROOT / "scripts" / "try_pythons.py"
    spec = importlib.util.spec_from_file_location("try_pythons", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclass looks for its annotations
    spec.loader.exec_module(module)
    return module


script = _load()


def interpreter(path: Path, does: str) -> Path:
    """Make a program in the place of a Python."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any Python: an empty PATH, an empty folder of pyenv's."""
    monkeypatch.setenv("PATH", os.pathsep.join(str(tmp_path / name) for name in ("a", "b")))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    return tmp_path


def test_the_package_names_what_is_tried() -> None:
    named = script.named_versions(ROOT / "pyproject.toml")
    assert PROJECT["requires-python"] == ">=" + script.dotted(named[0])
    assert named == [(3, minor) for minor in range(named[0][1], named[-1][1] + 1)]


def test_a_new_major_version_of_a_dependency_waits() -> None:
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"]]
    for name in extras.keys() - {"dev", "test"}:  # those are for whoever has constraints.txt
        wanted += extras[name]
    dated = ("fsspec", "s3fs")
    assert [one for one in wanted if "," not in one and not one.startswith(dated)] == []


def test_no_python_at_all(machine: Path) -> None:
    assert script.find_python((3, 12)) is None


@pytest.mark.skipif(os.name == "nt", reason="interpreters are shell scripts here")
def test_the_first_that_starts_is_taken(machine: Path) -> None:
    interpreter(machine / "a/python3.12", "echo 'pyenv: python3.12: command not found'; exit 127")
    interpreter(machine / "b/python3.12", "echo 3 11")
    (machine / "pyenv/versions/3.12.0/bin").mkdir(parents=True)
    (machine / "pyenv/versions/3.12.0/bin/python3.12").write_text("not a program")
    good = interpreter(machine / "pyenv/versions/3.12.1/bin/python3.12", "echo 3 12")
    interpreter(machine / "pyenv/versions/3.12.2/bin/python3.12", "echo 3 12")
    assert script.find_python((3, 12)) == good
    in_path = interpreter(machine / "b/python3.12", "echo 3 12")
    assert script.find_python((3, 12)) == in_path
    assert script.find_python((3, 13)) is None


def test_a_python_that_runs_is_found(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = sys.version_info[:2]
    real = Path(sys.base_prefix) / "bin" / f"python{script.dotted(version)}"
    if not real.exists():
        pytest.skip("this Python lies elsewhere")
    monkeypatch.setenv("PATH", str(real.parent))
    assert script.find_python(version) == real


@pytest.mark.parametrize(
    ("last", "counts"),
    [
        ("12 passed in 3.45s", "12 passed"),
        ("12 passed, 3 skipped, 2 deselected in 3.45s", "12 passed, 3 skipped, 2 deselected"),
        ("=== 12 passed, 1 warning in 75.02s (0:01:15) ===", "12 passed, 1 warning"),
    ],
)
def test_counts_are_those_of_the_last_line(last: str, counts: str) -> None:
    assert script.counts_of(f"... [100%]\nSKIPPED [1] 1 passed in a\n{last}\n") == counts


@pytest.mark.parametrize("last", ["", "3 skipped in 0.01s", "no tests ran in 0.01s"])
def test_no_test_is_a_failure(last: str) -> None:
    with pytest.raises(script.FailedError, match="no test passed"):
        script.counts_of(last)


def test_versions_beside_the_constraints() -> None:
    constraints = "av==18.1.0 ; python_version < '3.12'\nav==19.0.2\nmarkdown-it-py==4.3.0\nx==1"
    frozen = "av==18.1.0\nMarkdown_It.py==4.4.0\nviso-audio @ file:///x\nnew==2\nx==1\n"
    assert script.newer_than(constraints, frozen) == ["Markdown_It.py 4.4.0"]


def test_the_commands_of_the_readme() -> None:
    command = script.command_of(ROOT / "README.md", "use")
    assert re.match(
        r"python3 -m venv .* -c constraints.txt .* separate examples/demo.mp3$", command
    )
    with pytest.raises(script.FailedError, match="'nothing'"):
        script.command_of(ROOT / "README.md", "nothing")


def test_a_command_that_fails_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(script.FailedError, match="ended with 3"):
        script.run([sys.executable, "-c", "print('why'); raise SystemExit(3)"])
    assert "why" in capfd.readouterr().out
    assert script.run([sys.executable, "-c", "print('ä')"]).strip()


@pytest.mark.parametrize(
    ("bad", "code"), [(None, 0), ("3.11", 1), ("3.12", 1), ("3.14", 0), ("newest", 1)]
)
def test_each_has_its_line(
    bad: str | None, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = {(3, 11), (3, 12), (3, 14)}

    def find(version: Any) -> Path | None:
        return Path(f"/py{version[1]}") if version in there else None

    def attempt(python: Path, version: Any, command: str) -> str:
        if script.dotted(version) == bad:
            raise script.FailedError("broken")
        return "fine"

    def newest(python: Path, command: str) -> str:
        assert python == Path("/py12")  # the last that is named
        if bad == "newest":
            raise script.FailedError("broken")
        return "fine"

    monkeypatch.setattr(script, "named_versions", lambda _: [(3, 11), (3, 12), (3, 13)])
    monkeypatch.setattr(script, "find_python", find)
    monkeypatch.setattr(script, "try_python", attempt)
    monkeypatch.setattr(script, "try_newest", newest)
    assert script.main() == code
    lines = capsys.readouterr().out.strip().splitlines()[-5:]
    expected = {"3.11": "(/py11): ", "3.12": "(/py12): ", "3.13": ": not on this machine"}
    for version, told in {**expected, "3.14": "(/py14): "}.items():
        (line,) = (one for one in lines if one.startswith(f"Python {version}"))
        assert told in line
        assert ("FAILED: broken" in line) == (version == bad)
    assert lines[-1].startswith("the newest dependencies (/py12): ")
