"""The verdict: what is wrong is said, and nothing is said of a run that learns."""

from __future__ import annotations

import numpy as np
import pytest

from viso.train.run.diagnosis import diagnose
from viso.train.run.run_folder import LogRow


def rows(losses, scores=None, *, every=50):
    """A row every 50 steps; a score or None for each."""
    scores = scores or [None] * len(losses)
    return [
        LogRow((n + 1) * every, float(loss), 1.0, 1.0, 0.1, 0.0, score)
        for n, (loss, score) in enumerate(zip(losses, scores, strict=True))
    ]


def judged(history, *, mixture_db=-5.0, warmup_steps=0):
    return diagnose(history, mixture_db=mixture_db, warmup_steps=warmup_steps)


def falling(n, *, noise=0.0, start=0.7, end=0.4):
    wobble = np.random.default_rng(1).standard_normal(n) * noise
    return start + (end - start) * (1 - np.exp(-np.arange(n) / (n / 4))) + wobble


def rising(n, *, noise=0.0):
    wobble = np.random.default_rng(2).standard_normal(n) * noise
    return list(-4 + 8 * (1 - np.exp(-np.arange(n) / (n / 3))) + wobble)


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize(("start", "end"), [(0.7, 0.4), (0.5, -5.0), (-3.0, -9.0)])
def test_of_a_healthy_run_nothing_is_said_at_any_time(noise, start, end):
    history = rows(falling(40, noise=noise, start=start, end=end), rising(40, noise=noise))
    assert [judged(history[:n]) for n in range(41)] == [None] * 41


def test_nothing_is_known_without_rows():
    assert judged([]) is None


def test_no_better_than_the_mixture():
    history = rows(falling(3), [-6.0, -5.2, -4.6])
    assert judged(history[:2]) is None, "two validations are too few to say so"
    assert "NOT LEARNING: the best of 3 validations is -4.60 dB" in judged(history)
    assert judged(rows(falling(3), [-6.0, -5.2, -4.4])) is None
    assert judged(history, mixture_db=None) is None


@pytest.mark.parametrize(("losses", "is_bad"), [
    ([0.7] * 8, True),
    ([0.7] * 7, False),
    ([0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.695, 0.695], True),
    ([0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.69, 0.69], False),
    ([-3.0] * 8, True),
    ([-3.0, -3.0, -3.0, -3.0, -3.0, -3.0, -2.98, -2.98], True),
    ([-3.0, -3.0, -3.0, -3.0, -3.0, -3.0, -3.1, -3.1], False),
    ([0.0] * 8, False),
    ([0.7, 0.6, 0.5, 0.4, 0.5, 0.6, 0.7, 0.8], True),
])  # fmt: skip
def test_a_loss_that_does_not_fall(losses, is_bad):
    found = judged(rows(losses))
    assert (found is not None) == is_bad
    assert found is None or "NOT LEARNING: the loss was" in found


def test_a_run_that_goes_on_is_judged_by_its_scores():
    def of(scores):
        return diagnose(
            rows([-18.0] * 12, scores), mixture_db=-5.0, warmup_steps=0, is_continued=True
        )

    assert of(None) is None
    assert of([5.0, None, 5.0] + [None] * 9) is None
    assert "NOT LEARNING: the loss was" in of([5.0, None, 5.0, None, 5.0] + [None] * 7)
    assert "NOT LEARNING: the best of" in of([-6.0] * 3 + [None] * 9)


def test_noise_without_a_trend_is_no_learning():
    noise = 0.7 + 0.002 * np.random.default_rng(3).standard_normal(40)
    assert "NOT LEARNING: the loss was" in judged(rows(noise))


def test_nothing_is_expected_of_the_warmup():
    history = rows([0.7] * 8, [-6.0] * 8)
    assert judged(history, warmup_steps=400) is None
    assert judged(history, warmup_steps=0) is not None


def test_songs_learnt_by_heart():
    scores = [1.0, 2.0, 3.0, 2.9, 2.8, 2.7, 2.6]
    assert judged(rows(falling(7), scores)) is None, "four without a new best may be chance"
    found = judged(rows(falling(8), [*scores, 2.5]))
    assert "no better since step 150 (3.00 dB, 5 validations ago)" in found
    assert judged(rows(falling(9), [*scores, 2.5, 3.1])) is None


def test_late_in_a_run_a_rest_is_no_trouble():
    scores = [*rising(20), *[3.0] * 6]
    assert judged(rows(falling(26), scores)) is None
    assert "no better since" in judged(rows(falling(31), [*scores, *[3.0] * 5]))


def test_a_fine_tuned_run_is_judged_by_its_scores():
    wobble = -13.4 + 0.4 * np.sin(np.arange(10))
    scores = [4.4, None, 4.9, 4.9, None, 5.6, 5.8, 5.1, 5.7, 5.6]
    assert judged(rows(wobble, scores)) is None
    flat = [4.4, None, 4.3, 4.4, None, 4.45, 4.4, 4.3, 4.4, 4.4]
    assert "NOT LEARNING: the loss was" in judged(rows(wobble, flat))
