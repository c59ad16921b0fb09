"""Augmentation: what holds for every function, and the simple ones each by its property."""

from __future__ import annotations

import pytest
import torch

from viso.train import augment

RATE_HZ = 8000
BATCH = 12


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def sounds(n, n_samples=4000, seed=1):
    return torch.randn((n, 2, n_samples), generator=seeded(seed)) * 0.1


def every(n):
    return torch.ones(n, dtype=torch.bool)


def rms_db(audio):
    return 10 * torch.log10(audio.square().mean(dim=(1, 2)))


def cut_one(audio, chosen, g):
    (cut,), _ = augment.cut_band(
        [audio], chosen, rate_hz=RATE_HZ, cutoff_hz=(1000.0, 3500.0), generator=g
    )
    return cut


def at_speeds(audio, chosen, g):
    speed = augment.uniform(len(audio), 0.8, 0.99, g)
    return augment.change_speed(audio, chosen, speed, n_samples=audio.shape[2])


def in_rooms(name):
    function = getattr(augment, name)
    return lambda audio, chosen, g: function(audio, chosen, rate_hz=RATE_HZ, generator=g)


def by_chance(name):
    function = getattr(augment, name)
    return lambda audio, chosen, g: function(audio, chosen, generator=g)


DRAWN = {name: by_chance(name) for name in ("scale", "quieten", "pan", "widen")} | {
    name: in_rooms(name)
    for name in ("compress", "tilt", "reverb", "delay", "double", "harmonise", "shift_pitch")
}
DRAWN |= {"cut_band": cut_one, "change_speed": at_speeds}
FIXED = {
    "swap_channels": lambda audio, chosen, g: augment.swap_channels(audio, chosen),
    "invert": lambda audio, chosen, g: augment.invert(audio, chosen),
    "silence": lambda audio, chosen, g: augment.silence(audio, chosen),
}
ALL = DRAWN | FIXED


def of(functions):
    return pytest.mark.parametrize("function", functions.values(), ids=functions)


@of(DRAWN)
def test_only_the_generator_decides(function):
    audio = sounds(BATCH)
    first = function(audio, every(BATCH), seeded(5))
    torch.manual_seed(99)
    assert torch.equal(function(audio, every(BATCH), seeded(5)), first)
    assert not torch.equal(function(audio, every(BATCH), seeded(6)), first)


@of(ALL)
def test_the_chosen_change_the_others_stay_bit_for_bit_and_so_does_the_input(function):
    audio = sounds(BATCH)
    before = audio.clone()
    chosen = torch.arange(BATCH) % 3 == 0
    result = function(audio, chosen, seeded())
    assert torch.equal(audio, before)
    assert result.shape == audio.shape
    assert result.dtype == torch.float32
    assert torch.equal(result[~chosen], audio[~chosen])
    assert all(not torch.equal(a, b) for a, b in zip(result[chosen], audio[chosen], strict=True))
    assert torch.equal(function(audio, ~every(BATCH), seeded()), audio)


@of(ALL)
@pytest.mark.parametrize("n_samples", [1, 50, 321, 9001])
def test_any_length_is_finite_and_silence_stays_silence(function, n_samples):
    result = function(sounds(4, n_samples), every(4), seeded())
    assert result.shape == (4, 2, n_samples)
    assert result.isfinite().all()
    silent = torch.zeros(4, 2, n_samples)
    assert torch.equal(function(silent, every(4), seeded()), silent)


@of(ALL)
@pytest.mark.parametrize("factor", [2.0**-12, 2.0**12])
def test_loud_and_quiet_sound_are_treated_alike(function, factor):
    audio = sounds(4)
    expected = function(audio, every(4), seeded()) * factor
    result = function(audio * factor, every(4), seeded())
    torch.testing.assert_close(result, expected, rtol=1e-3, atol=1e-5 * factor)


def test_uniform_fills_its_range():
    drawn = augment.uniform(4000, -3.0, 5.0, seeded())
    assert drawn.min() >= -3
    assert drawn.max() <= 5
    assert drawn.mean() == pytest.approx(1.0, abs=0.2)
    assert drawn.std() == pytest.approx(8 / 12**0.5, rel=0.05)


@pytest.mark.parametrize(("n", "share"), [(8, 0.05), (8, 0.3), (5, 0.5), (7, 0.99)])
def test_some_are_a_share_on_average_and_nearly_so_each_time(n, share):
    generator = seeded()
    counts = torch.stack([augment.some(n, share, generator) for _ in range(2000)]).float()
    totals = counts.sum(dim=1)
    assert set(totals.tolist()) == {float(int(n * share)), float(int(n * share) + 1)}
    assert float(totals.mean()) == pytest.approx(n * share, abs=0.05)
    # No place in the batch is favoured.
    torch.testing.assert_close(counts.mean(dim=0), torch.full((n,), share), rtol=0, atol=0.05)


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (1.0, 6), (0.5, 3)])
def test_some_is_exact_where_it_can_be(share, count):
    generator = seeded()
    assert all(int(augment.some(6, share, generator).sum()) == count for _ in range(50))


def test_shuffle_gives_each_chosen_chunk_another_ones_place():
    audio = sounds(9, 20)
    chosen = torch.tensor([True] * 5 + [False] * 4)
    orders = set()
    for seed in range(200):
        result, order = augment.shuffle(audio, chosen, generator=seeded(seed))
        assert torch.equal(result, audio[order])
        assert order.sort().values.tolist() == list(range(9))
        assert (order[chosen] != torch.arange(5)).all()
        assert torch.equal(order[~chosen], torch.arange(5, 9))
        orders.add(tuple(order.tolist()))
    # All rings of five.
    assert len(orders) == 24


def test_a_lone_chunk_has_nobody_to_change_places_with():
    audio = sounds(3, 20)
    result, order = augment.shuffle(audio, torch.arange(3) == 1, generator=seeded())
    assert torch.equal(result, audio)
    assert order.tolist() == [0, 1, 2]


def test_swapping_twice_is_nothing_and_once_is_left_for_right():
    audio = sounds(4)
    once = augment.swap_channels(audio, every(4))
    assert torch.equal(once[:, 0], audio[:, 1])
    assert torch.equal(once[:, 1], audio[:, 0])
    assert torch.equal(augment.swap_channels(once, every(4)), audio)


def test_inverting_twice_is_nothing_and_once_cancels():
    audio = sounds(4)
    once = augment.invert(audio, every(4))
    assert torch.equal(once + audio, torch.zeros_like(audio))
    assert torch.equal(augment.invert(once, every(4)), audio)


def test_silence_is_exactly_zero():
    assert torch.equal(augment.silence(sounds(3) * 1e6, every(3)), torch.zeros(3, 2, 4000))


def test_scale_multiplies_each_chunk_by_one_factor_in_range():
    audio = sounds(500, 50)
    factors = augment.scale(audio, every(500), generator=seeded()) / audio
    one = factors[:, :1, :1]
    torch.testing.assert_close(factors, one.expand_as(factors), rtol=1e-4, atol=0)
    assert one.min() > 0.2499
    assert one.max() < 1.2501
    assert one.max() - one.min() > 0.9


def test_quieten_takes_10_to_40_db():
    audio = sounds(500, 50)
    change_db = rms_db(augment.quieten(audio, every(500), generator=seeded())) - rms_db(audio)
    assert -40.01 < change_db.min() < -37
    assert -13 < change_db.max() < -9.99


def test_match_level_hits_the_level_of_the_chosen():
    vocals, music = sounds(6), sounds(6, seed=2) * 3
    level_db = torch.tensor([-13.0, -6.0, 0.0, 4.0, 2.0, -1.0])
    chosen = torch.tensor([True, True, True, True, False, False])
    result = augment.match_level(vocals, music, chosen, level_db)
    found = rms_db(result) - rms_db(music)
    torch.testing.assert_close(found[:4], level_db[:4], rtol=0, atol=0.01)
    assert torch.equal(result[4:], vocals[4:])


@pytest.mark.parametrize("silent", ["vocals", "music"])
def test_match_level_leaves_alone_what_stands_beside_silence(silent):
    vocals, music = sounds(2), sounds(2, seed=2)
    (vocals if silent == "vocals" else music).zero_()
    result = augment.match_level(vocals, music, every(2), torch.zeros(2))
    assert torch.equal(result, vocals)


def test_pan_moves_the_chosen_by_at_most_what_is_said():
    mono = sounds(400, 50)[:, :1].expand(-1, 2, -1)
    energy = augment.pan(mono, every(400), most_db=3.0, generator=seeded()).square().sum(dim=2)
    between_db = 10 * torch.log10(energy[:, 0] / energy[:, 1])
    assert between_db.abs().max() <= 3.001
    assert between_db.max() > 2
    assert between_db.min() < -2


def test_widen_scales_the_side_and_keeps_the_mid():
    audio = sounds(200, 50)
    result = augment.widen(audio, every(200), width=(0.5, 2.0), generator=seeded())
    torch.testing.assert_close(result.sum(dim=1), audio.sum(dim=1), rtol=0, atol=1e-6)
    side, before = (x[:, 0] - x[:, 1] for x in (result, audio))
    factor = side.norm(dim=1) / before.norm(dim=1)
    torch.testing.assert_close(side, before * factor[:, None], rtol=0, atol=1e-5)
    assert 0.499 < factor.min() < 0.6
    assert 1.8 < factor.max() < 2.001
    mono = augment.widen(audio, every(200), width=(0.0, 0.0), generator=seeded())
    torch.testing.assert_close(mono[:, 0], mono[:, 1], rtol=0, atol=1e-7)
