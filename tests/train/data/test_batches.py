"""Batches: the same for a step whenever it is drawn, another for every process."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from viso.train.data import batches as module
from viso.train.data.batches import Batches, Stopwatch
from viso.train.data.corpus import Corpus


def batches_of(recipe, toy_corpus: Corpus, *, rank=0, world=1, step=0, **schedule):
    batches = Batches(recipe(**schedule), toy_corpus)
    batches.trainer = SimpleNamespace(
        global_rank=rank,
        world_size=world,
        global_step=step,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
    )
    batches.setup("fit")
    return batches


def test_a_step_has_its_own_batch_whenever_it_is_drawn(recipe, toy_corpus):
    one, other = batches_of(recipe, toy_corpus), batches_of(recipe, toy_corpus, step=5)
    wanted = [one.draw(step).mixture for step in (5, 6, 7)]
    torch.rand(3)
    stream = iter(other.train_dataloader())
    for expected in wanted:
        assert torch.equal(next(stream).mixture, expected)
    assert not torch.equal(wanted[0], wanted[1])
    assert not torch.equal(wanted[0], batches_of(recipe, toy_corpus, seed=2).draw(5).mixture)


def test_processes_share_out_the_batch_and_draw_different_songs(recipe, toy_corpus):
    parts = [batches_of(recipe, toy_corpus, rank=n, world=2, batch=6).draw(3) for n in (0, 1)]
    assert [len(part.vocals) for part in parts] == [3, 3]
    assert not torch.equal(parts[0].vocals, parts[1].vocals)


def test_a_chunk_has_the_frames_of_the_network(recipe, toy_corpus):
    assert batches_of(recipe, toy_corpus).draw(0).vocals.shape == (4, 2, 39 * 64)


@pytest.fixture
def times(monkeypatch):
    """Let the clock show these times one after the other."""

    def show(*values):
        shown = iter(values)
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: next(shown)))

    return show


def mark(watch, *names):
    for name in names:
        watch.mark(name)


def test_the_shares_of_the_time(times):
    watch = Stopwatch(torch.device("cpu"))
    assert watch.shares() == {}
    times(0.0, 1.0, 4.0, 5.0, 10.0, 11.0)
    mark(watch, "step", "wait", "draw", "wait", "step")
    assert watch.shares() == pytest.approx({"wait": 0.2, "draw": 0.3, "step": 0.5})
    assert watch.shares() == {}
    watch.mark("draw")
    assert watch.shares() == {"draw": 1.0}, "the time goes on from the last mark"


def test_what_is_forgotten_is_left_out_and_nothing_else(times):
    watch = Stopwatch(torch.device("cpu"))
    watch.forget()
    assert watch.shares() == {}
    times(0.0, 1.0, 2.0, 902.0, 903.0, 905.0)
    mark(watch, "step", "draw", "step")
    watch.forget()
    mark(watch, "draw", "step")
    assert watch.shares() == pytest.approx({"draw": 0.4, "step": 0.6})


def test_drawing_is_measured(recipe, toy_corpus, times):
    times(*map(float, range(10)))
    batches = batches_of(recipe, toy_corpus)
    batches.draw(0)
    batches.draw(1)
    assert batches.stopwatch.shares() == pytest.approx({"draw": 2 / 3, "wait": 1 / 3})
