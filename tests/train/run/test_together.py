"""Two processes share a run, over gloo as two GPUs would over NCCL."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from helpers.checkout import TESTS

# Several processes compare their clocks, and save, every ten steps.
RHYTHM = {"steps": 13, "validations": 2, "log_every": 1, "checkpoint_every_s": 0.0}
VISO = Path(sys.executable).with_name("viso")

# Three starts of two processes, which on a busy machine take minutes.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def start(*command):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        list(map(str, command)), env=environment, capture_output=True, text=True, timeout=400
    )


def steps_of(folder):
    with (folder / "log.csv").open(encoding="utf-8", newline="") as lines:
        return [
            (int(row["step"]), row["loss"], row["valid_usdr_db"]) for row in csv.DictReader(lines)
        ]


@pytest.fixture(scope="module")
def kept():
    return {}


@pytest.fixture
def runs(kept, tmp_path_factory, recipe):
    """An unbroken run through the command line; one that broke off, and its second half."""
    if not kept:
        folder = tmp_path_factory.mktemp("together")
        path, script = folder / "r.toml", TESTS / "helpers/two_process_run.py"
        path.write_text(recipe(**RHYTHM).to_toml(), encoding="utf-8")
        whole, broken = folder / "whole", folder / "broken"
        told = start(VISO, "train", path, "--folder", whole, "--device", "cpu", "--devices", 2)
        assert told.returncode == 0, told.stderr
        first = start(sys.executable, script, path, broken, 12)
        saved = torch.load(broken / "last.ckpt", weights_only=True)["global_step"]
        half = steps_of(broken)
        second = start(sys.executable, script, path, broken, 0)
        assert second.returncode == 0, second.stderr
        facts = [json.loads((folder / f"process {n}.json").read_text()) for n in (0, 1)]
        kept.update(
            told=told, first=first, saved=saved, half=half, facts=facts, whole=whole, broken=broken
        )
    return kept


def test_it_is_told_once(runs):
    said = runs["told"].stdout
    for words in ("toy learns from", "a step takes", "step 7  loss", "13 steps done"):
        assert said.count(words) == 1, words
    assert runs["told"].stderr == ""


def test_a_step_has_one_row(runs):
    assert [step for step, _, _ in steps_of(runs["whole"])] == list(range(1, 14))
    assert [step for step, _, score in steps_of(runs["whole"]) if score] == [7, 13]


def test_both_end_with_the_same_weights_from_different_halves_of_each_batch(runs):
    first, second = runs["facts"]
    assert first["weights"] == second["weights"]
    taken = [str(step) for step in range(10, 13)]
    for step in taken:
        (one, n_one), (other, n_other) = first["drawn"][step], second["drawn"][step]
        assert one != other
        assert n_one == n_other == 2


def test_an_error_in_one_ends_both(runs):
    # That this returned at all says that no child was left holding its output open.
    assert runs["first"].returncode == 1
    assert "RuntimeError: broken off" in runs["first"].stderr


def test_a_resumed_run_goes_on_bit_for_bit(runs):
    assert runs["saved"] == 10
    assert [step for step, _, _ in runs["half"]] == list(range(1, 13))
    assert steps_of(runs["broken"]) == steps_of(runs["whole"])
    ours, theirs = (
        torch.load(runs[name] / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("broken", "whole")
    )
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_a_run_by_the_clock_with_validations_too_close_together_ends(tmp_path, recipe):
    path = tmp_path / "r.toml"
    settings = recipe(time_s=6.0, steps=None, validations=1000, log_every=1000)
    path.write_text(settings.to_toml(), encoding="utf-8")
    folder = tmp_path / "run"
    told = start(VISO, "train", path, "--folder", folder, "--device", "cpu", "--devices", 2)
    assert told.returncode == 0, told.stderr
    assert "steps done" in told.stdout
    assert steps_of(folder)[-1][2], "the last row has a score"
