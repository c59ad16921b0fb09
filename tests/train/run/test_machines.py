"""Two machines share a run: two of torchrun's agents on the loopback, a process each, over gloo."""

from __future__ import annotations

import csv
import json
import os
import random
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from helpers.checkout import TESTS

# Several processes compare their clocks, and save, every ten steps.
RHYTHM = {"steps": 13, "validations": 2, "log_every": 1, "checkpoint_every_s": 0.0}
VISO = Path(sys.executable).with_name("viso")
SCRIPT = TESTS / "helpers/two_process_run.py"

# Four starts of two processes, which on a busy machine take minutes.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def free_port():
    """Return a port below those that the system hands out by itself."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port


def machine(number, port, *command):
    """Begin what is to be typed on one of the machines."""
    agent = [sys.executable, "-m", "torch.distributed.run", "--nnodes", 2, "--nproc-per-node", 1]
    agent += ["--node-rank", number, "--master-addr", "127.0.0.1", "--master-port", port]
    return subprocess.Popen(
        [str(word) for word in (*agent, *command)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def together(*commands):
    """Run a command on each machine; return exit codes, what was said, and the complaints."""
    port = free_port()
    both = [machine(number, port, *command) for number, command in enumerate(commands)]
    try:
        said = [one.communicate(timeout=400) for one in both]
    finally:
        for one in both:
            one.kill()
            one.wait()
    return [one.returncode for one in both], *zip(*said, strict=True)


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
    """A run through the command line; one that broke off, and its second half."""
    if not kept:
        folder = tmp_path_factory.mktemp("machines")
        path = folder / "r.toml"
        path.write_text(recipe(**RHYTHM).to_toml(), encoding="utf-8")
        whole, broken = folder / "whole", folder / "broken"
        typed = ["--no-python", VISO, "train", path, "--folder", whole, "--device", "cpu"]
        kept["told"] = together(typed, typed)
        kept["first"] = together([SCRIPT, path, broken, 12], [SCRIPT, path, broken, 12])
        kept["saved"] = torch.load(broken / "last.ckpt", weights_only=True)["global_step"]
        # The second machine has a folder of its own, and so no checkpoint.
        kept["apart"] = together([SCRIPT, path, broken, 0], [SCRIPT, path, folder / "own", 0])
        kept["second"] = together([SCRIPT, path, broken, 0], [SCRIPT, path, broken, 0])
        facts = [folder / f"process {n}.json" for n in (0, 1)]
        kept["facts"] = [json.loads(path.read_text()) for path in facts if path.exists()]
        kept.update(whole=whole, broken=broken, recipe=path)
    return kept


def test_the_first_machine_speaks_and_writes(runs):
    codes, (first, other), complaints = runs["told"]
    assert codes == [0, 0], complaints
    for words in ("toy learns from", "a step takes", "step 7  loss", "13 steps done"):
        assert first.count(words) == 1, words
        assert words not in other
    assert [step for step, _, _ in steps_of(runs["whole"])] == list(range(1, 14))
    assert [step for step, _, score in steps_of(runs["whole"]) if score] == [7, 13]
    assert len(list((runs["whole"] / "tensorboard").glob("events.*"))) == 1


def test_both_end_with_the_same_weights_from_different_mixtures(runs):
    first, second = runs["facts"]
    assert first["weights"] == second["weights"]
    for step in map(str, range(10, 13)):
        (one, n_one), (other, n_other) = first["drawn"][step], second["drawn"][step]
        assert one != other
        assert n_one == n_other == 2


def test_an_error_on_one_ends_both(runs):
    codes, _, complaints = runs["first"]
    assert all(codes)
    assert "RuntimeError: broken off" in complaints[0]


def test_a_run_goes_on_bit_for_bit(runs):
    assert runs["saved"] == 10
    assert runs["second"][0] == [0, 0], runs["second"][2]
    assert steps_of(runs["broken"]) == steps_of(runs["whole"])
    ours, theirs = (
        torch.load(runs[name] / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("broken", "whole")
    )
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_machines_that_mean_different_runs_are_told(runs):
    codes, _, complaints = runs["apart"]
    assert all(codes)
    assert "the last checkpoint is of step 0, but of step 10 for the first" in complaints[0]


def test_torchrun_alone_says_how_many(runs, tmp_path):
    agent = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", 1, "--no-python"]
    typed = [VISO, "train", runs["recipe"], "--folder", tmp_path / "run", "--devices", 2]
    told = subprocess.run(
        list(map(str, [*agent, *typed])), capture_output=True, text=True, timeout=200
    )
    assert told.returncode != 0
    assert "torchrun says how many, by --nproc-per-node" in told.stderr
