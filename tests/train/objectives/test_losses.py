"""Losses: by hand, and by what must not matter."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from viso.train.objectives.losses import (
    band_residual,
    binary_target,
    mask_cross_entropy,
    regional_residual_db,
    residual_db,
)


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


def complex_bands(shape=(2, 2, 3, 4), width=5, seed=0):
    """Spectra of vocals and mixture with `width` bins to a band, and the three sums over them."""
    rng = np.random.default_rng(seed)
    vocals, music = (
        rng.standard_normal((*shape, width)) + 1j * rng.standard_normal((*shape, width))
        for _ in range(2)
    )
    mixture = vocals + music
    sums = (abs(mixture) ** 2, abs(vocals) ** 2, (vocals * mixture.conj()).real)
    return vocals, mixture, [torch.from_numpy(each.sum(axis=-1)) for each in sums]


def test_the_residual_is_that_of_every_bin_phases_included():
    vocals, mixture, sums = complex_bands()
    mask = np.random.default_rng(1).uniform(0, 1, vocals.shape[:-1])
    expected = (abs(mask[..., None] * mixture - vocals) ** 2).sum(axis=-1)
    found = band_residual(torch.from_numpy(mask), *sums)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


def test_the_best_factor_is_the_phase_sensitive_mask():
    vocals, mixture, sums = complex_bands()
    whole, _, shared = sums
    best = shared / whole
    least = band_residual(best, *sums)
    for shift in (-1e-2, 1e-2):
        assert (band_residual(best + shift, *sums) > least).all()
    # With one bin a band, the formula of the paper: |v| / |x| cos(angle between them).
    vocals, mixture, (whole, _, shared) = complex_bands(width=1)
    angle = np.angle(vocals) - np.angle(mixture)
    paper = (abs(vocals) / abs(mixture) * np.cos(angle))[..., 0]
    np.testing.assert_allclose((shared / whole).numpy(), paper, rtol=1e-9)


def test_rounding_never_makes_a_residual_negative():
    power = torch.tensor([1.0, 3.3e7, 1e-12]).view(1, 1, 1, 3)
    assert (band_residual(torch.ones_like(power), power, power * (1 - 1e-6), power) >= 0).all()


def residuals(share):
    power = torch.rand((2, 2, 3, 4), generator=torch.Generator().manual_seed(0)) + 0.1
    return share * power, power, torch.ones(2, 1, 1, 4)


@pytest.mark.parametrize(("share", "expected_db"), [
    (1.0, 0.00434), (0.1, -9.957), (0.0, -30.0), (4.0, 6.0217),
])  # fmt: skip
def test_the_residual_in_decibels(share, expected_db):
    assert float(residual_db(*residuals(share))) == pytest.approx(expected_db, abs=1e-3)


def test_songs_count_alike_however_loud():
    residual, power, allowed = residuals(0.1)
    residual[1] *= 10
    loud = torch.tensor([1e-3, 1e3]).view(2, 1, 1, 1)
    mean_db = (10 * math.log10(0.101) + 10 * math.log10(1.001)) / 2
    for factor in (1.0, loud):
        found = residual_db(residual * factor, power * factor, allowed)
        assert float(found) == pytest.approx(mean_db, abs=1e-3)


def test_bands_above_the_bandwidth_have_no_say_in_the_residual():
    residual, power, allowed = residuals(0.1)
    allowed[1, ..., 2:] = 0
    residual.requires_grad_()
    loss = residual_db(residual, power, allowed)
    loss.backward()
    assert (residual.grad[1, ..., 2:] == 0).all()
    assert (residual.grad[1, ..., :2] > 0).all()
    assert (residual.grad[0] > 0).all()
    with torch.no_grad():
        residual[1, ..., 2:] = 50.0
        power[1, ..., 2:] = 70.0
        assert torch.equal(residual_db(residual, power, allowed), loss)


def test_residuals_of_other_shapes_are_refused():
    _, _, sums = complex_bands()
    with pytest.raises(AssertionError, match="differ"):
        band_residual(sums[0][:1], *sums)
    residual, power, allowed = residuals(0.1)
    with pytest.raises(AssertionError, match="must be equal"):
        residual_db(residual[:1], power, allowed)


def test_every_region_counts_alike_however_loud_it_is():
    power = torch.tensor([1e6, 1e6, 1.0, 1e-3])[None, None, None].expand(3, 2, 5, 4).clone()
    residual = power * torch.tensor([0.1, 0.1, 0.01, 1.0])
    allowed = torch.ones(3, 1, 1, 4)
    regions = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    found = regional_residual_db(residual, power, allowed, regions)
    assert float(found) == pytest.approx((-9.96 - 19.59 + 0.004) / 3, abs=0.01)
    # One region is the whole.
    whole = regional_residual_db(residual, power, allowed, torch.ones(1, 4))
    assert float(whole) == pytest.approx(float(residual_db(residual, power, allowed)), abs=1e-4)


def test_regions_above_the_bandwidth_are_no_part_of_the_mean():
    power = torch.ones(2, 2, 5, 4)
    residual = power * torch.tensor([0.1, 0.1, 0.01, 1.0])
    allowed = torch.ones(2, 1, 1, 4)
    allowed[1, ..., 2:] = 0
    regions = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    found = regional_residual_db(residual, power, allowed, regions)
    expected = ((-9.96 - 19.59 + 0.004) / 3 - 9.96) / 2
    assert float(found) == pytest.approx(expected, abs=0.01)
    none = regional_residual_db(residual, power, torch.zeros(2, 1, 1, 4), regions)
    assert float(none) == 0
