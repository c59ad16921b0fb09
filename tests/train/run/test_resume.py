"""Interruption: a run that was cut short goes on as if it had not been, and ends in time."""

from __future__ import annotations

import csv
import math
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from helpers.checkout import TESTS
from helpers.training_clock import VALIDATION_S, move_by_work
from viso.train.recipe import Recipe
from viso.train.run.supervisor import done_of
from viso.train.run.trainer import Trainer

# By that clock: rows at 4, 5, 8, 10, 12, 14; checkpoints at 3, 6, 9, 11 and 14.
RHYTHM = {"steps": 14, "validations": 3, "log_every": 4, "checkpoint_every_s": 3.0}

KILLED = """
import os, signal, sys
from pathlib import Path
from helpers.training_clock import move_by_work
from viso.train.run.trainer import Trainer
from viso.train.recipe import Recipe

def look(row):
    if row.step == 8:
        os.kill(os.getpid(), signal.SIGKILL)

move_by_work()
Trainer(Recipe.from_toml(Path(sys.argv[1])), Path(sys.argv[2]), device="cpu").run(on_progress=look)
"""


class CutError(Exception):
    """Ends a run from outside."""


@pytest.fixture
def clock(monkeypatch):
    return move_by_work(monkeypatch.setattr)


def run(recipe, folder, *, cut=None):
    """Train, break off after the row of step `cut`; return what was told."""
    told, outlooks = [], []

    def look(row):
        told.append(row)
        if row.step == cut:
            raise CutError

    trainer = Trainer(recipe, folder, device="cpu")
    if cut is None:
        trainer.run(on_start=outlooks.append, on_progress=look)
    else:
        with pytest.raises(CutError):
            trainer.run(on_start=outlooks.append, on_progress=look)
    return told, outlooks


def log_of(folder):
    """The log without the shares of time, which no clock but the real one moves."""
    with (folder / "log.csv").open(encoding="utf-8", newline="") as lines:
        return [row[:4] + row[6:] for row in csv.reader(lines)]


def checkpoint_of(folder):
    return torch.load(folder / "last.ckpt", weights_only=True)


def supervisor_of(folder):
    return checkpoint_of(folder)["callbacks"]["Supervisor"]


def assert_same(one, other):
    """Compare nested states bit for bit."""
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list | tuple):
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        assert one == other


def assert_same_run(folder, whole):
    assert log_of(folder) == log_of(whole)
    ours, theirs = checkpoint_of(folder), checkpoint_of(whole)
    for key in (
        "state_dict", "current_model_state", "averaging_state", "optimizer_states", "global_step",
        "callbacks",
    ):  # fmt: skip
        assert_same(ours[key], theirs[key])
    best = [torch.load(path / "best.pt", weights_only=True) for path in (folder, whole)]
    assert_same(*best)


@pytest.fixture(scope="module")
def kept():
    return {}


@pytest.fixture
def whole(kept, clock, recipe, tmp_path_factory):
    """An unbroken run of either kind of network."""

    def of(kind):
        if kind not in kept:
            folder = tmp_path_factory.mktemp("whole") / kind
            told, _ = run(recipe(**RHYTHM, network=kind), folder)
            kept[kind] = folder, told
        return kept[kind]

    return of


@pytest.mark.parametrize(("kind", "cut", "saved"), [
    ("viso", 4, 3),
    ("viso", 10, 9),
    ("viso_cnn", 12, 11),
])  # fmt: skip
def test_a_run_cut_between_checkpoints_goes_on_bit_for_bit(
    tmp_path, recipe, whole, kind, cut, saved
):
    folder, settings = tmp_path / "run", recipe(**RHYTHM, network=kind)
    run(settings, folder, cut=cut)
    state = supervisor_of(folder)
    assert state["step"] == saved
    assert state["losses"], "the checkpoint lies inside a window of the log"
    assert not list(folder.glob("*.part"))
    torch.manual_seed(77)

    told, _ = run(settings, folder)
    unbroken, expected = whole(kind)
    facts = [(row.step, row.loss, row.usdr_db, row.hours) for row in told]
    rest = [row for row in expected if row.step > saved]
    assert facts == [(row.step, row.loss, row.usdr_db, row.hours) for row in rest]
    assert_same_run(folder, unbroken)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="of systems with SIGKILL")
def test_a_process_that_was_killed_goes_on_bit_for_bit(tmp_path, recipe, whole):
    settings, folder = recipe(**RHYTHM, network="viso"), tmp_path / "run"
    (tmp_path / "recipe.toml").write_text(settings.to_toml(), encoding="utf-8")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "recipe.toml", folder],
        env={**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        timeout=240,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert supervisor_of(folder)["step"] == 6
    assert log_of(folder)[-1][0] == "8", "a row that no checkpoint knows of"
    run(settings, folder)
    assert_same_run(folder, whole("viso")[0])


def test_steps_taken_again_are_shown_once(tmp_path, recipe, whole):
    folder, settings = tmp_path / "run", recipe(**RHYTHM, network="viso_cnn")
    run(settings, folder, cut=10)
    # Event files are read in the order of their names, which tell seconds apart.
    time.sleep(1.1)
    run(settings, folder)
    boards = [
        EventAccumulator(str(path / "tensorboard")).Reload()
        for path in (folder, whole("viso_cnn")[0])
    ]
    for name in ("loss", "learning rate", "validation uSDR, dB"):
        ours, theirs = ([(e.step, e.value) for e in board.Scalars(name)] for board in boards)
        assert ours == theirs


def test_a_run_killed_before_its_first_checkpoint_begins_anew(tmp_path, recipe, whole):
    folder = tmp_path / "run"
    settings = recipe(**{**RHYTHM, "checkpoint_every_s": 1000.0})
    run(settings, folder, cut=8)
    assert not (folder / "last.ckpt").exists()
    told, _ = run(settings, folder)
    assert [row.step for row in told] == [4, 5, 8, 10, 12, 14]
    assert log_of(folder) == log_of(whole("viso_cnn")[0])


def learning_rates(folder):
    board = EventAccumulator(str(folder / "tensorboard")).Reload()
    return [event.value for event in board.Scalars("learning rate")]


def test_a_time_is_kept_with_its_validations_and_resumes(tmp_path, recipe, clock):
    settings = recipe(time_s=30.0, validations=2, log_every=10, checkpoint_every_s=0.0)
    before = clock.now
    told, (outlook,) = run(settings, tmp_path / "whole")
    # Four steps and a validation to see what they cost; then the time that was asked for.
    assert clock.now - before == pytest.approx(4 + VALIDATION_S + 1 + 30.0, abs=1.0)
    assert [row.step for row in told] == [10, 14, 20, 24]
    assert [row.step for row in told if row.usdr_db is not None] == [14, 24]
    assert told[-1].hours * 3600 == pytest.approx(30.0 - VALIDATION_S)
    assert (outlook.step_s, outlook.validation_s) == (1.0, VALIDATION_S)
    assert (outlook.steps, outlook.seconds) == (24, 30.0)
    assert learning_rates(tmp_path / "whole")[-1] == pytest.approx(0.02 * 3e-3)

    run(settings, tmp_path / "run", cut=10)
    clock.now += 5000.0
    again, (outlook,) = run(settings, tmp_path / "run")
    assert (outlook.steps, outlook.seconds) == (24, 20.0)
    assert [(row.step, row.loss) for row in again] == [(row.step, row.loss) for row in told[1:]]


@pytest.mark.parametrize(("limits", "last"), [
    ({"steps": 6, "time_s": 1000.0}, 6),
    ({"steps": 1000, "time_s": 12.0}, 9),
    ({"time_s": 0.5}, 1),
])  # fmt: skip
def test_steps_or_time_whichever_comes_first(tmp_path, recipe, clock, limits, last):
    told, _ = run(recipe(**limits, validations=1), tmp_path)
    assert told[-1].step == last
    assert [row.step for row in told if row.usdr_db is not None] == [last]
    assert supervisor_of(tmp_path)["done"] == 1.0


def test_a_quicker_validation_does_not_turn_the_run_back(tmp_path, monkeypatch, recipe, clock):
    from viso.train.run.validation import Judge

    costs = iter([8.0, 0.0, 0.0, 0.0, 0.0])

    def score(*_):
        clock.now += next(costs)
        return 1.0

    monkeypatch.setattr(Judge, "score", score)
    settings = recipe(time_s=200.0, validations=4, log_every=1000)
    told, _ = run(settings, tmp_path)
    assert sum(row.usdr_db is not None for row in told) == 4


def test_an_interruption_from_the_keyboard_is_passed_on(tmp_path, recipe, clock):
    def press(row):
        if row.step == 8:
            raise KeyboardInterrupt

    settings, before = recipe(**RHYTHM), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        Trainer(settings, tmp_path, device="cpu").run(on_progress=press)
    assert signal.getsignal(signal.SIGINT) is before
    assert not list(tmp_path.glob("*.part"))
    told, _ = run(settings, tmp_path)
    assert [row.step for row in told] == [8, 10, 12, 14]


def test_a_run_by_the_clock_does_not_spend_it_on_validations(tmp_path, recipe, clock):
    told, _ = run(recipe(time_s=60.0, validations=50, log_every=1000), tmp_path)
    scored = [row.step for row in told if row.usdr_db is not None]
    # A validation and three times as long of training between the beginnings of two.
    assert all(after - before >= 3 * VALIDATION_S for before, after in pairwise(scored[:-1]))
    assert 4 <= len(scored) <= 6


# Longer than it was to be


def test_a_finished_run_goes_on_to_a_later_end(tmp_path, recipe, clock):
    short, long = (recipe(**{**RHYTHM, "steps": steps, "log_every": 1}) for steps in (8, 16))
    first, _ = run(short, tmp_path)
    assert first[-1].step == 8
    assert run(short, tmp_path) == ([], []), "complete, and left as it is"
    trainer = Trainer(long, tmp_path, device="cpu")
    assert trainer.is_longer
    assert Recipe.from_toml(tmp_path / "recipe.toml") == long
    told, (outlook,) = run(long, tmp_path)
    assert [row.step for row in told] == list(range(9, 17))
    assert outlook.steps == 16
    assert [int(row[0]) for row in log_of(tmp_path)[1:]] == list(range(1, 17))
    state = supervisor_of(tmp_path)
    assert (state["done"], state["length"]) == (1.0, [16, None])
    assert not Trainer(long, tmp_path, device="cpu").is_longer
    # Each rate has the place on the cosine that its step has in the run as it is now.
    rates, warmup = learning_rates_by_step(tmp_path), 5
    for row in told:
        if row.usdr_db is not None:
            part = (row.step - warmup) / (16 - warmup)
            factor = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * part))
            assert rates[row.step] == pytest.approx(3e-3 * factor, rel=1e-5)
    assert rates[8] == pytest.approx(0.02 * 3e-3)
    assert rates[16] == pytest.approx(0.02 * 3e-3)
    assert max(rate for step, rate in rates.items() if step > 8) > 10 * rates[8]


def learning_rates_by_step(folder):
    board = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {event.step: event.value for event in board.Scalars("learning rate")}


def test_a_run_lengthened_twice_and_killed_between(tmp_path, recipe, clock):
    """The folder knows the later end before any checkpoint does."""
    run(recipe(**{**RHYTHM, "steps": 8}), tmp_path)
    long = recipe(**{**RHYTHM, "steps": 16})
    Trainer(long, tmp_path, device="cpu")
    assert supervisor_of(tmp_path)["length"] == [8, None]
    told, _ = run(long, tmp_path)
    assert told[-1].step == 16


def test_a_run_by_the_clock_goes_on_to_a_later_end(tmp_path, recipe, clock):
    settings = {"validations": 2, "log_every": 10, "checkpoint_every_s": 0.0}
    first, _ = run(recipe(time_s=30.0, **settings), tmp_path)
    told, _ = run(recipe(time_s=60.0, **settings), tmp_path)
    assert told[-1].step > first[-1].step
    assert told[-1].hours * 3600 == pytest.approx(60.0 - VALIDATION_S, abs=1.0)
    assert learning_rates(tmp_path)[-1] == pytest.approx(0.02 * 3e-3)


def test_how_much_is_done(recipe):
    state = {"step": 5, "seconds": 20.0, "validation_s": 2.0, "done": 0.25}
    schedule = recipe(steps=20).schedule
    assert done_of({**state, "length": [20, None]}, schedule) == 0.25
    assert done_of({**state, "length": [10, None]}, schedule) == 0.25
    assert done_of({**state, "done": 1.0, "length": [5, None]}, schedule) == 0.25
    assert done_of(state, schedule) == 0.25, "of an earlier version"
    assert done_of({**state, "length": [None, 10.0]}, recipe(time_s=42.0).schedule) == 0.5
