"""Text of strangers on the terminal and in spreadsheets: it is shown, and does nothing."""

from __future__ import annotations

import ast
import csv
import io
import json
import os
import re
import sys
import unicodedata
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from rich.table import Table
from typer.testing import CliRunner

import viso.cli
from helpers.small_models import mask_card, song
from viso.audio import write
from viso.cli import app
from viso.cli.console import bar, error_line, note_line, out, print_json, shown
from viso.errors import VisoError
from viso.reports.html import as_csv

EVIL = "\x1b]0;pwned\x07\x1b[2J\x9b31m\u202egpj.\u2066\x7f\r[bold red]x[/]"
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
# Of what a file's name may hold, everywhere but on Windows.
FOLDER = EVIL.replace("/", "")
NAME = f"{FOLDER}\nerror: a line of a stranger's"
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")


def check(told: str) -> None:
    """Refuse what commands a terminal, and lines that a stranger made."""
    found = UNSAFE.search(told)
    assert found is None, repr(told)
    assert not any(line.startswith("error: a line") for line in told.splitlines()), told


def run(*words: object, code: int = 0) -> str:
    """Run a command; return all that it printed, after a check."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    told = result.stdout + result.stderr
    if isinstance(result.exception, VisoError):  # `main` makes this line of it
        told += shown(" ".join(str(result.exception).split()))
    elif result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, told
    check(told)
    return told


@pytest.fixture
def evil_model(mask_model: Path, tmp_path: Path) -> Path:
    card = mask_card(
        description=EVIL,
        version=EVIL,
        licence=EVIL,
        origin=EVIL,
        teacher=EVIL,
        trained_on=(EVIL, EVIL),
        limits=(EVIL,),
        scores={EVIL: 1.0},
    )
    graph = onnx.load(mask_model)
    helper.set_model_props(graph, {"viso.card": card.model_dump_json()})
    path = tmp_path / "models" / "tiny.onnx"
    path.parent.mkdir()
    onnx.save(graph, path)
    return path


# One place that everything passes


@given(st.text())
def test_shown_text_commands_nothing(text: str) -> None:
    told = shown(text)
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in told)
    assert not any(unicodedata.bidirectional(c)[1:] in ("RO", "LO", "RE", "LE", "DF") for c in told)
    assert shown(told) == told
    told.encode()


@pytest.mark.parametrize("text", ["Beyoncé – 日本 👩‍🎤", "a\\b", "100 %", "[x] :smile:", "שלום"])
def test_other_text_is_left_as_it_is(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(text) == text
    out().print(text)
    assert capsys.readouterr().out == f"{text}\n"


def test_the_console_shows_whatever_it_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(title=EVIL)
    table.add_column(EVIL, footer=EVIL)
    table.add_row(EVIL)
    out().print(EVIL)
    out().print(table, soft_wrap=False)
    error_line(NAME)
    note_line(NAME)
    print_json({EVIL: NAME})
    told = capsys.readouterr()
    check(told.out + told.err)
    assert "[bold red]" in told.out
    assert told.err.count("\n") == 2
    assert json.loads(told.out.splitlines()[-1]) == {EVIL: NAME}


def test_the_bar_shows_names() -> None:
    with bar(quiet=True) as progress:
        progress.add_task(NAME, speed=EVIL)
        (task,) = progress.tasks
        for column in progress.columns:
            assert "\n" not in str(column(task))
            check(str(column(task)))


def test_letters_that_the_output_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="cp1252", write_through=True))
    out().print("Beyoncé 日本")
    assert raw.getvalue().split(b"\n")[0].rstrip() == "Beyoncé \\u65e5\\u672c".encode("cp1252")


def test_nothing_is_printed_past_the_console() -> None:
    """Whoever prints by other means forgets to escape."""
    for path in Path(viso.cli.__file__).parent.glob("*.py"):
        if path.name == "console.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                printing = ("print", "typer.echo", "typer.secho", "Console", "json.dumps")
                assert called not in printing, f"{path.name}:{node.lineno}"
                assert not called.startswith(("sys.stdout.", "sys.stderr.")), path.name


# Commands


def test_models(evil_model: Path, tmp_path: Path) -> None:
    assert r"\x1b]0;pwned\x07" in run("models", "list", evil_model)
    record = json.loads(run("models", "list", evil_model, "--json"))
    assert record["description"] == EVIL
    blend = evil_model.with_name("both.toml")
    texts = {"description": EVIL, "origin": EVIL}
    lines = [f"{key} = {json.dumps(text)}" for key, text in texts.items()]
    lines += ['name = "both"', 'models = "tiny+tiny"', f"limits = [{json.dumps(EVIL)}]"]
    blend.write_text("\n".join(lines).replace("\x7f", "\\u007f"), encoding="utf-8")
    assert r"\x1b]0;pwned\x07" in run("models", "list", blend)


@POSIX
def test_models_whose_file_has_such_a_name(evil_model: Path) -> None:
    path = evil_model.with_name(f"{NAME}.onnx")
    path.write_bytes(b"no model")
    told = run("models", "list", "--folder", evil_model.parent, code=1)
    assert told.count("error: ") == 2  # one of them in the name
    path.unlink()
    evil_model.rename(path)
    assert r"\x1b" in run("models", "list", "--folder", evil_model.parent)


@POSIX
@pytest.mark.parametrize("batch", [False, True])
def test_separation(mask_model: Path, tmp_path: Path, batch: bool) -> None:
    songs = tmp_path / "songs"
    songs.mkdir()
    write(songs / f"{NAME}.wav", song(2, 20_000), rate_hz=44_100)
    (songs / f"broken {NAME}.wav").write_bytes(b"no sound")
    words = [songs, "--jobs", 1] if batch else sorted(songs.iterdir())
    words = ["separate", *words, "--model", mask_model, "-o", tmp_path / NAME, "--confidence"]
    told = run(*words, code=1)
    assert r"\x1b]0;pwned\x07" in told
    if not batch:
        assert r"\nerror: a line" in told
    for line in run(*words, "--overwrite", "--json", code=1).splitlines():
        assert line.startswith("error: ") or json.loads(line)


@POSIX
def test_usage(tmp_path: Path) -> None:
    assert r"\x1b" in run("separate", f"--{EVIL}", code=2)
    assert r"\x1b" in run(EVIL, code=2)


@POSIX
def test_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    names = ["=HYPERLINK(1)", NAME]
    for name in names:
        for first, folder in enumerate(("songs", f"-{FOLDER}")):
            (tmp_path / folder / name).mkdir(parents=True)
            for seed, stem in enumerate(("vocals", "bass"), first):
                path = tmp_path / folder / name / f"{stem}.wav"
                write(path, song(2, 20_000, seed=seed), rate_hz=44_100)
    report = tmp_path / "report"
    words = ["evaluate", tmp_path / f"-{FOLDER}", "--data", tmp_path / "songs", "-o", report]
    assert r"\x1b]0;pwned\x07" in run(*words, "--no-bss", "--no-oracles")
    with (report / "songs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["song"] for row in rows} >= {"'=HYPERLINK(1)"}
    assert {row["system"] for row in rows} == {"mixture", f"'-{FOLDER}"}
    assert any(float(row["usdr"]) < 0 for row in rows)


@POSIX
def test_data(tmp_path: Path) -> None:
    songs = tmp_path / f"songs {FOLDER}"
    for name in ("a", NAME):
        (songs / name).mkdir(parents=True)
        for seed, stem in enumerate(("vocals", "bass")):
            write(songs / name / f"{stem}.wav", song(2, 60_000, seed=seed), rate_hz=44_100)
    for words in (["check", songs], ["pack", songs, "-o", tmp_path / f"corpus {FOLDER}"]):
        assert r"\x1b" in run("data", *words, code=0)


# Spreadsheets


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-1+2", "@SUM(A1)", "\t=1", "＝1"])
def test_text_begins_no_formula(text: str) -> None:
    assert list(csv.reader(io.StringIO(as_csv([[text, "a"]])))) == [[f"'{text}", "a"]]


@pytest.mark.parametrize(
    "value", ["-1.25", "+3", "-inf", -1.5, 7, True, "a=b", "", "'", 'a,\n"b', "a\r=1"]
)
def test_other_cells_stay_as_they_are(value: Any) -> None:
    assert list(csv.reader(io.StringIO(as_csv([[value, "a"]])))) == [[str(value), "a"]]


def test_names_of_files_that_are_no_text_can_be_shown() -> None:
    assert shown(os.fsdecode(b"Beyonc\xe9")) in ("Beyonc\\udce9", "Beyoncé")
