"""Whatever goes wrong is one line and an exit code; a traceback comes only if it is asked for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from rich.text import Text
from typer.testing import CliRunner

from helpers.checkout import ROOT
from helpers.small_models import song
from viso.audio import write
from viso.batch.protocol import Failed, Order
from viso.batch.settings import SeparationConfig
from viso.batch.worker import separate_order
from viso.cli import app
from viso.cli.formatting import common_reason
from viso.errors import ConfigError
from viso.stores.address import location_of

VISO = [sys.executable, "-c", "from viso.cli import main; main()"]

# A fault of ours: what a song meets has no `VisoError`.
_FAULTY = """
import viso.separator.stem_files
from viso.cli import main

def faulty(*_, **__):
    raise {error}
viso.separator.stem_files.StemFiles.write = faulty
main()
"""


def viso(
    *words: object, cwd: Path, error: str | None = None, **how: object
) -> subprocess.CompletedProcess[str]:
    start = VISO if error is None else [sys.executable, "-c", _FAULTY.format(error=error)]
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [*start, *map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=200, **how
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.wav", "b.wav"):
        write(tmp_path / name, song(2, 5000), rate_hz=44_100)
    return tmp_path


@pytest.mark.parametrize(
    "error", ["TypeError('no')", "RecursionError('no')", "RuntimeError('no\\nno')", "MemoryError()"]
)
def test_an_error_of_ours_is_one_line_a_song(folder: Path, mask_model: Path, error: str) -> None:
    result = viso("separate", "a.wav", "b.wav", "--model", mask_model, cwd=folder, error=error)
    assert result.returncode == 1
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 3, result.stderr
    for line, name in zip(lines, ("a.wav", "b.wav"), strict=False):
        assert line.startswith(f"error: {name}: viso itself failed ({error.split('(')[0]}")
        assert line.endswith("with --debug")
    assert "all 2 songs failed for one reason" in lines[2]
    assert not list((folder / "separated").rglob("*.wav"))


@pytest.mark.parametrize("how", ["before", "after", "environment"])
def test_a_traceback_comes_if_it_is_asked_for(folder: Path, mask_model: Path, how: str) -> None:
    words = ["separate", "a.wav", "--model", mask_model]
    words = ["--debug", *words] if how == "before" else words
    words = [*words, "--debug"] if how == "after" else words
    env = {**os.environ, **({"VISO_DEBUG": "1"} if how == "environment" else {})}
    result = viso(*words, cwd=folder, error="TypeError('no')", env=env)
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert result.stderr.strip().splitlines()[-1].startswith("error: a.wav: viso itself failed")


def test_an_error_outside_of_songs(folder: Path) -> None:
    script = "import viso.cli.separate as s; from viso.cli import main\n"
    script += "def faulty(*_, **__): raise RuntimeError('no')\ns.Separator = faulty; main()"
    words = [sys.executable, "-c", script, "separate", "a.wav"]
    result = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=200)
    assert result.returncode == 1
    assert result.stderr.startswith("error: viso itself failed (RuntimeError: no)")
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_worker_tells_ours_from_the_songs(folder: Path, mask_model: Path) -> None:
    config = SeparationConfig(model=str(mask_model))

    class Faulty:
        def to_files(self, *_: object, **__: object) -> Iterator[None]:
            raise TypeError("no")

    order = Order(1, folder / "a.wav", {"vocals": folder / "v.wav"})
    *_, last = separate_order(Faulty(), config, order)  # type: ignore[arg-type]
    assert isinstance(last, Failed)
    assert "a.wav: viso itself failed (TypeError: no)" in last.reason
    assert "Traceback" in last.trace


def test_a_batch_says_first_that_no_song_did_it(folder: Path, mask_model: Path) -> None:
    """What may not be written is the folder, not the songs."""
    (folder / "c").write_text("not a song", encoding="utf-8")
    words = ["separate", "a.wav", "b.wav", "--jobs", "1", "--model", mask_model]
    for name in ("a", "b"):
        (folder / "separated" / name).mkdir(parents=True)
        (folder / "separated" / name / "vocals.wav").touch()
    lines = viso(*words, cwd=folder).stderr.strip().splitlines()
    assert len(lines) == 3
    assert "all 2 songs failed for one reason" in lines[0]


def test_what_is_one_reason() -> None:
    a, b = Path("in/a.wav"), Path("in/b.wav")
    same = [(a, f"{a}: no disk for out/a/x.wav"), (b, f"{b}: no disk for out/b/x.wav")]
    assert common_reason(same) is not None
    assert common_reason(same[:1]) is None
    assert common_reason([(a, f"{a}: empty"), (b, f"{b}: cut short")]) is None


# Empty words


@pytest.mark.parametrize(
    "words",
    [
        ["separate", ""],
        ["separate", "a.wav", "-o", ""],
        ["separate", "a.wav", "--out="],
        ["separate", "--", ""],
        ["spectrogram", ""],
        ["evaluate", "viso", "--data", ""],
        ["data", "check", ""],
        ["train", ""],
    ],
)
def test_an_empty_word_is_wrong_usage(folder: Path, words: list[str]) -> None:
    before = sorted(folder.rglob("*"))
    result = viso(*words, cwd=folder)
    assert result.returncode == 2, result.stderr
    assert "empty word" in result.stderr
    assert sorted(folder.rglob("*")) == before


def test_an_empty_path_is_no_folder() -> None:
    with pytest.raises(ConfigError, match="names nothing"):
        location_of("")


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
@pytest.mark.parametrize("batch", [[], ["--jobs", "1"]])
def test_a_link_to_itself(folder: Path, mask_model: Path, batch: list[str]) -> None:
    (folder / "loop.wav").symlink_to("loop.wav")
    result = viso("separate", "loop.wav", "--model", mask_model, *batch, cwd=folder)
    assert result.returncode == 1
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: loop.wav: ")
    assert "viso itself" not in lines[0]


# Brackets, which rich takes for markup


def _commands(command: object, name: str = "viso") -> Iterator[tuple[str, object]]:
    yield name, command
    for word, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, f"{name} {word}")


def test_no_bracket_of_a_help_is_eaten() -> None:
    for name, command in _commands(typer.main.get_command(app)):
        texts = [command.help or ""]  # type: ignore[attr-defined]
        texts += [getattr(param, "help", None) or "" for param in command.params]  # type: ignore[attr-defined]
        for text in texts:
            assert Text.from_markup(text).plain == text.replace("\\[", "["), f"{name}: {text}"


def test_the_help_says_which_extra() -> None:
    result = CliRunner().invoke(app, ["listen", "--help"], env={"COLUMNS": "200"})
    assert "needs the extra [web]." in result.stdout


def test_extras_are_named_in_one_way() -> None:
    files = [*ROOT.glob("src/**/*.py"), *ROOT.glob("docs/**/*.md"), ROOT / "README.md"]
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert "viso-audio[" not in text, path
        for command in re.findall(r"pip install[^\n`]*\.\[[a-z,]+\]", text):
            assert "-c constraints.txt" in command and "'" not in command, f"{path}: {command}"
