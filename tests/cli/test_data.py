"""`viso data pack` as a person meets it: what it prints, what it leaves, exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from helpers.small_models import song
from viso.audio import write
from viso.train.data.corpus import Corpus

VISO = [sys.executable, "-c", "from viso.cli import main; main()"]


def viso(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*VISO, *map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=120
    )


def put(path: Path, seed: int, n_samples: int = 20_000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, song(2, n_samples, seed=seed), rate_hz=44_100)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for n, name in enumerate(("train/Anna - One", "train/Ben - Two", "test/Cleo - Three")):
        for m, stem in enumerate(("vocals", "drums")):
            put(tmp_path / "songs" / name / f"{stem}.wav", 2 * n + m)
    put(tmp_path / "voices" / "dora-1.wav", 8)
    put(tmp_path / "music" / "tune.wav", 9)
    return tmp_path


def test_parts_of_the_music_become_groups_of_their_own(folder: Path) -> None:
    put(folder / "songs/train/Anna - One/bass.wav", 10)
    result = viso("data", "pack", "songs", "--parts", "-o", "corpus", cwd=folder)
    assert result.returncode == 0, result.stderr
    parts = [t for t in Corpus(folder / "corpus").tracks if t.group != "songs"]
    assert [(t.song, t.role, t.group) for t in parts] == [
        ("songs/Anna - One/bass", "instrumental", "songs-bass"),
        ("songs/Anna - One/drums", "instrumental", "songs-drums"),
    ]


def test_folders_and_options_make_one_corpus(folder: Path) -> None:
    result = viso(
        "data", "pack", "songs", "--voices", "voices", "--music", "music", "-o", "corpus",
        "--licence", "CC0", cwd=folder,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    corpus = Corpus(folder / "corpus")
    assert {(t.song, t.role, t.licence) for t in corpus.tracks} == {
        ("songs/Anna - One", "vocals", "CC0"),
        ("songs/Anna - One", "instrumental", "CC0"),
        ("songs/Ben - Two", "vocals", "CC0"),
        ("songs/Ben - Two", "instrumental", "CC0"),
        ("voices/dora-1", "vocals", "CC0"),
        ("music/tune", "instrumental", "CC0"),
    }
    held_out, left_out, *groups, total = result.stdout.splitlines()
    assert "held out for validation: songs/Ben - Two" in held_out, "one of two songs"
    assert "test: left out" in left_out
    assert [line.split()[:3] for line in groups] == [
        ["songs", "train", "vocals"],
        ["songs", "train", "instrumental"],
        ["songs", "valid", "vocals"],
        ["songs", "valid", "instrumental"],
        ["voices", "train", "vocals"],
        ["music", "train", "instrumental"],
    ]
    assert "1 track, 1 singer" in groups[0]
    assert "corpus: 6 tracks" in total
    assert corpus.hash[:16] in total


def test_validation_songs_and_a_table(folder: Path) -> None:
    rows = "package\tpath\tsplit\nthe-game\tmusic/tune.wav\ttrain\n"
    (folder / "table.tsv").write_text(rows, encoding="utf-8")
    result = viso(
        "data", "pack", "--songs", "songs/train", "--music-table", "table.tsv", "--longest", "1",
        "-o", "corpus", cwd=folder,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert {(t.group, t.split) for t in Corpus(folder / "corpus").tracks} == {
        ("songs", "train"), ("songs", "valid"), ("table", "train"),
    }  # fmt: skip
    result = viso("data", "pack", "--valid", "songs/train", "-o", "corpus", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert {(t.group, t.split) for t in Corpus(folder / "corpus").tracks} == {("songs", "valid")}


def test_the_same_command_goes_on_after_an_error(folder: Path) -> None:
    command = ("data", "pack", "--voices", "voices", "--music", "music", "-o")
    assert viso(*command, "unbroken", cwd=folder).returncode == 0
    path = folder / "music" / "tune.wav"
    whole = path.read_bytes()
    path.write_bytes(whole[:9000])
    result = viso(*command, "corpus", cwd=folder)
    assert result.returncode == 1
    assert "tune.wav" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "1 of 2 tracks are packed" in result.stdout
    path.write_bytes(whole)
    result = viso(*command, "corpus", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "1 of 2 tracks kept" in result.stdout
    for file in (folder / "unbroken").iterdir():
        assert (folder / "corpus" / file.name).read_bytes() == file.read_bytes()
    result = viso(*command, "corpus", cwd=folder)
    assert "kept" not in result.stdout


@pytest.mark.parametrize(("words", "reason"), [
    (["voices"], "--voices"),
    (["nowhere"], "nowhere"),
    (["songs/test"], "never packed"),
    ([], "nothing to pack"),
])  # fmt: skip
def test_what_cannot_be_packed(folder: Path, words: list[str], reason: str) -> None:
    result = viso("data", "pack", *words, "-o", "corpus", cwd=folder)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert reason in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (folder / "corpus" / "index.json").exists()
