"""``viso train`` and ``viso export`` as a person meets them."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from helpers.training_clock import move_by_work
from viso.cli import app, train
from viso.cli.train import figures_of, seconds_of
from viso.errors import ConfigError, DataError
from viso.models.onnx import OnnxModel
from viso.train.recipe import Recipe
from viso.train.run.trainer import Trainer


@pytest.fixture
def clock(monkeypatch):
    return move_by_work(monkeypatch.setattr)


@pytest.fixture
def viso(tmp_path, monkeypatch):
    """Run a command in an empty folder; return its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        result = CliRunner().invoke(app, [str(word) for word in words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, " ".join(result.output.split())

    return call


def written(settings, path):
    path.write_text(settings.to_toml(), encoding="utf-8")
    return path


@pytest.mark.parametrize(("text", "seconds"), [
    ("90s", 90), ("10m", 600), ("1h30m", 5400), ("2d", 172_800), ("1.5h", 5400), ("1m30s", 90),
])  # fmt: skip
def test_durations(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "m", "1h 30m", "-5m", "1y", "0s", "1h30", "1..5m"])
def test_what_is_no_duration(text):
    with pytest.raises(ConfigError, match="time"):
        seconds_of(text)


def test_a_run_says_what_matters_and_can_be_exported(viso, tmp_path, recipe, clock):
    path = written(recipe(validations=2, log_every=2), tmp_path / "r.toml")
    known = {f"test/song {n}": {"vocals_usdr": 4.5, "instrumental_usdr": 1.0} for n in (6, 7)}
    (tmp_path / "known.json").write_text(json.dumps(known), encoding="utf-8")
    code, said = viso(
        "train", path, "--device", "cpu", "--baseline", "known.json", "--baseline-name", "theirs"
    )  # fmt: skip
    assert code == 0
    assert "toy learns from" in said
    assert re.search(r"vocals . songs . 0\.01 . 100", said)
    assert re.search(r"instrumental . songs . 0\.01 . 100", said)
    assert re.search(r"0\.0\d M parameters; held out: 0\.00 h of songs, 2 of them score it", said)
    assert "a step takes 1.00 s" in said
    assert "a validation 3 s; step 4 is the last, about 20" in said
    score = r"validation uSDR -?\d+\.\d\d dB \(mixture -?\d+\.\d\d, theirs 4\.50, "
    ideals = r"ideal binary mask \d+\.\d\d, ideal ratio mask \d+\.\d\d\)"
    assert len(re.findall(score + ideals, said)) == 2
    assert len(re.findall(r"step \d+ loss \d", said)) == 2
    assert re.search(r"runs/toy: 4 steps done, best validation uSDR -?\d+\.\d\d dB$", said)

    code, said = viso("train", path, "--device", "cpu")
    assert code == 0
    assert "a step takes" not in said
    assert "runs/toy: 4 steps done, best validation uSDR" in said

    (tmp_path / "scores.json").write_text('{"valid_usdr_db": 3.5}', encoding="utf-8")
    code, said = viso("export", "runs/toy", "-o", "toy.onnx", "--scores", "scores.json")
    assert code == 0
    assert re.fullmatch(r"toy\.onnx: 0\.\d MB, parity \d\.\de-\d\d", said)
    assert OnnxModel(tmp_path / "toy.onnx", device="cpu").card.scores == {"valid_usdr_db": 3.5}


def test_time_and_corpus_from_the_command_line(viso, tmp_path, recipe, toy_corpus, clock):
    path = written(recipe(corpus="nowhere", steps=5000, validations=1), tmp_path / "r.toml")
    with pytest.raises(DataError, match="nowhere: no corpus"):
        viso("train", path)
    folder = toy_corpus.folder
    code, said = viso("train", path, "--corpus", folder, "--time", "9s", "--folder", "timed")
    assert code == 0
    assert "timed: 6 steps done" in said
    kept = Recipe.from_toml(tmp_path / "timed/recipe.toml")
    assert (kept.schedule.time_s, kept.schedule.steps) == (9.0, None)
    assert kept.corpus == str(folder)
    both = ("--corpus", folder, "--time", "9s", "--steps", "2", "--folder", "both")
    assert "both: 2 steps done" in viso("train", path, *both)[1]


def test_trouble_is_told_at_every_validation(viso, tmp_path, recipe, monkeypatch):
    path = written(recipe(steps=6, validations=3, log_every=1), tmp_path / "r.toml")
    # Nothing is as good as this mixture.
    monkeypatch.setattr(Trainer, "references", lambda _: {"mixture": 99.0})
    _, said = viso("train", path, "--device", "cpu")
    assert said.count("NOT LEARNING") == 0, "nothing is expected before the warmup is over"
    path = written(recipe(steps=6, validations=3, log_every=1, warmup_steps=0), path)
    _, said = viso("train", path, "--device", "cpu", "--folder", "other")
    assert said.count("NOT LEARNING: the best of 3 validations") == 1
    assert said.index("NOT LEARNING") > said.index("step 6 loss")


def test_without_songs_to_judge_by_it_says_so(viso, tmp_path, recipe, packed, toy_corpus):
    tracks = [
        (t.model_dump(exclude={"n_channels"}), toy_corpus.read(t))
        for t in toy_corpus.tracks
        if t.split == "train"
    ]
    corpus = packed(tmp_path / "corpus", tracks)
    path = written(recipe(corpus=str(corpus.folder), steps=1), tmp_path / "r.toml")
    code, said = viso("train", path, "--device", "cpu")
    assert code == 0
    assert "no songs to judge by" in said
    assert said.endswith("runs/toy: 1 steps done")


def test_ctrl_c_is_no_failure_and_says_how_to_go_on(viso, tmp_path, recipe, monkeypatch):
    def press(row):
        raise KeyboardInterrupt

    line = train._line
    monkeypatch.setattr(train, "_line", press)
    slow = recipe(steps=4, validations=1, log_every=2, checkpoint_every_s=1000.0)
    path = written(slow, tmp_path / "slow.toml")
    code, said = viso("train", path, "--device", "cpu", "--folder", "slow")
    assert code == 130
    assert "interrupted; the same command begins anew" in said
    path = written(recipe(steps=4, log_every=2, checkpoint_every_s=0.0), tmp_path / "r.toml")
    code, said = viso("train", path, "--device", "cpu")
    assert code == 130
    assert "interrupted; the same command goes on from runs/toy/last.ckpt" in said
    assert "Traceback" not in said
    monkeypatch.setattr(train, "_line", line)
    code, said = viso("train", path, "--device", "cpu")
    assert code == 0
    assert "runs/toy: 4 steps done" in said


@pytest.mark.parametrize(("words", "code"), [
    (["--devices", "0"], 2), (["--device", "tpu"], 2), (["--steps", "many"], 2),
])  # fmt: skip
def test_wrong_usage(viso, tmp_path, recipe, words, code):
    assert viso("train", written(recipe(), tmp_path / "r.toml"), *words)[0] == code


def test_values_that_do_not_fit_are_named(viso, tmp_path, recipe):
    path = written(recipe(), tmp_path / "r.toml")
    with pytest.raises(ConfigError, match=r"command line: schedule\.steps"):
        viso("train", path, "--steps", "0")
    with pytest.raises(ConfigError, match="time '5' is no duration"):
        viso("train", path, "--time", "5")
    with pytest.raises(ConfigError, match="batch 4 cannot be shared by 3 devices"):
        viso("train", path, "--device", "cpu", "--devices", "3")
    assert not (tmp_path / "runs").exists()


ROW = {"stem": "vocals", "metric": "usdr", "low": 4.004, "high": 6.0, "mean": 5.0, "n_songs": 15}


def test_a_card_takes_the_rows_of_an_evaluation(tmp_path):
    path = tmp_path / "rows.json"
    rows = [
        {**ROW, "system": "mixture", "median": -4.0},
        {**ROW, "system": "ideal ratio mask", "median": 10.0},
        {**ROW, "system": "mine", "median": 5.123},
        {**ROW, "system": "mine", "median": 7.0, "n_songs": 3, "genre": "Rap"},
        {**ROW, "system": "mine", "median": 8.0, "n_songs": 2, "singer": "Somebody"},
        {**ROW, "system": "mine", "median": 9.0, "metric": "sir"},
    ]
    path.write_text(json.dumps(rows), encoding="utf-8")
    assert figures_of(path) == {
        "vocals uSDR, dB, median of 15 songs": 5.12,
        "vocals uSDR, dB, 95 % interval from": 4.0,
        "vocals uSDR, dB, 95 % interval to": 6.0,
        "vocals uSDR, dB, Rap (3 songs)": 7.0,
    }
    rows.append({**ROW, "system": "rival", "median": 9.0})
    path.write_text(json.dumps(rows), encoding="utf-8")
    with pytest.raises(ConfigError, match="figures of one model"):
        figures_of(path)


@pytest.mark.parametrize("text", ["", "3", "[3]", '{"a": "b"}', '[{"system": "x"}]', "[]"])
def test_figures_that_are_none_are_refused(tmp_path, text):
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"x\.json"):
        figures_of(tmp_path / "x.json")
