"""Losses: by hand, and by what must not matter."""

from __future__ import annotations

import math

import pytest
import torch

from viso.train.losses import binary_target, mask_cross_entropy


def seeded_inputs(shape=(3, 2, 4, 5)):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(shape, generator=generator)
    target = torch.rand(shape, generator=generator)
    mixture = torch.rand(shape, generator=generator)
    return logits, target, mixture, torch.ones(shape[0], 1, 1, shape[3])


def test_the_target_says_who_is_louder():
    vocals, music = torch.tensor([1.0, 2.0, 0.0, 3.0]), torch.tensor([2.0, 1.0, 0.0, 3.0])
    expected = torch.tensor([0.02, 0.98, 0.02, 0.02])
    torch.testing.assert_close(binary_target(vocals, music, smoothing=0.02), expected)
    assert binary_target(vocals, music, smoothing=0.0).tolist() == [0, 1, 0, 0]


def cross_entropy(logit, target):
    p = 1 / (1 + math.exp(-logit))
    return -target * math.log(p) - (1 - target) * math.log(1 - p)


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_the_value_is_the_one_computed_by_hand(power):
    logits = torch.tensor([[[[2.0, -1.0, 0.5]]], [[[0.0, 3.0, -2.0]]]])
    target = torch.tensor([[[[0.98, 0.02, 0.02]]], [[[0.98, 0.98, 0.5]]]])
    mixture = torch.tensor([[[[4.0, 1.0, 1.0]]], [[[2.0, 2.0, 8.0]]]])
    allowed = torch.tensor([[[[1.0, 1.0, 1.0]]], [[[1.0, 1.0, 0.0]]]])
    songs = []
    for n in range(2):
        row = range(3 if n == 0 else 2)
        weight = [(float(mixture[n, 0, 0, k]) / float(mixture[n].mean())) ** power for k in row]
        each = [cross_entropy(float(logits[n, 0, 0, k]), float(target[n, 0, 0, k])) for k in row]
        songs.append(sum(w * e for w, e in zip(weight, each, strict=True)) / sum(weight))
    loss = mask_cross_entropy(logits, target, mixture, allowed, power=power)
    assert float(loss) == pytest.approx(sum(songs) / 2, rel=1e-5)


def test_masked_bands_do_not_matter():
    logits, target, mixture, allowed = seeded_inputs()
    allowed[..., 3:] = 0
    loss = mask_cross_entropy(logits, target, mixture, allowed, power=1.0)
    logits[..., 3:], target[..., 3:] = 40.0, 0.0
    same = mask_cross_entropy(logits, target, mixture, allowed, power=1.0)
    torch.testing.assert_close(same, loss, rtol=0, atol=0)
    allowed[..., 3:] = 1
    assert mask_cross_entropy(logits, target, mixture, allowed, power=1.0) > loss + 1


def test_no_gradient_reaches_masked_bands():
    logits, target, mixture, allowed = seeded_inputs()
    allowed[1, ..., 2:] = 0
    logits.requires_grad_()
    mask_cross_entropy(logits, target, mixture, allowed, power=1.2).backward()
    assert (logits.grad[1, ..., 2:] == 0).all()
    assert (logits.grad[1, ..., :2] != 0).all()
    assert (logits.grad[0] != 0).all()


def test_the_level_of_a_song_does_not_matter():
    logits, target, mixture, allowed = seeded_inputs()
    loss = mask_cross_entropy(logits, target, mixture, allowed, power=1.2)
    louder = mixture * torch.tensor([1e-3, 1.0, 1e3])[:, None, None, None]
    torch.testing.assert_close(
        mask_cross_entropy(logits, target, louder, allowed, power=1.2), loss, rtol=1e-5, atol=0
    )


@pytest.mark.parametrize("quiet", ["mixture", "allowed"])
def test_silence_gives_no_nan(quiet):
    logits, target, mixture, allowed = seeded_inputs()
    (mixture if quiet == "mixture" else allowed).zero_()
    loss = mask_cross_entropy(logits, target, mixture, allowed, power=1.2)
    assert float(loss) == 0


def test_the_right_answer_costs_least():
    _, target, mixture, allowed = seeded_inputs()
    best = mask_cross_entropy(target.logit(), target, mixture, allowed, power=1.0)
    for shift in (-0.1, 0.1):
        worse = mask_cross_entropy(target.logit() + shift, target, mixture, allowed, power=1.0)
        assert worse > best


@pytest.mark.parametrize("place", [0, 1, 2])
def test_shapes_that_differ_are_refused(place):
    inputs = list(seeded_inputs())
    inputs[place] = inputs[place][:, :1]
    with pytest.raises(AssertionError, match="must be equal"):
        mask_cross_entropy(*inputs, power=1.0)
