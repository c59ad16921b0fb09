"""Augmentation: each function by its property."""

from __future__ import annotations

import pytest
import torch

from viso.train import augment

RATE_HZ = 8000


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def sounds(n, n_samples=400, seed=1):
    return torch.randn((n, 2, n_samples), generator=seeded(seed)) * 0.1


def rms_db(audio):
    return 10 * torch.log10(audio.square().mean(dim=(1, 2)))


FUNCTIONS = {
    "swap": augment.swap_channels,
    "scale": lambda audio, g: augment.scale(audio, 0.25, 1.25, g),
    "pan": lambda audio, g: augment.pan(audio, torch.ones(len(audio), dtype=torch.bool), 6.0, g),
    "reverb": lambda audio, g: augment.reverb(
        audio, torch.ones(len(audio), dtype=torch.bool), rate_hz=RATE_HZ, generator=g
    ),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_only_the_generator_decides_and_the_input_stays(function):
    audio = sounds(16)
    before = audio.clone()
    first = function(audio, seeded(5))
    torch.manual_seed(99)
    torch.testing.assert_close(function(audio, seeded(5)), first, rtol=0, atol=0)
    assert not torch.equal(function(audio, seeded(6)), first)
    assert torch.equal(audio, before)
    assert first.shape == audio.shape
    assert first.dtype == torch.float32


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_silence_stays_silence(function):
    assert torch.equal(function(torch.zeros(8, 2, 300), seeded()), torch.zeros(8, 2, 300))


def test_uniform_fills_its_range():
    drawn = augment.uniform(4000, -3.0, 5.0, seeded())
    assert drawn.min() >= -3
    assert drawn.max() <= 5
    assert drawn.mean() == pytest.approx(1.0, abs=0.2)
    assert drawn.std() == pytest.approx(8 / 12**0.5, rel=0.05)


def test_swap_turns_about_half_the_chunks_and_nothing_else():
    audio = sounds(200)
    result = augment.swap_channels(audio, seeded())
    swapped = (result == audio.flip(1)).all(dim=2).all(dim=1)
    kept = (result == audio).all(dim=2).all(dim=1)
    assert (swapped ^ kept).all()
    assert 70 < int(swapped.sum()) < 130


def test_scale_multiplies_each_chunk_by_one_factor_in_range():
    audio = sounds(500)
    factors = augment.scale(audio, 0.25, 1.25, seeded()) / audio
    one = factors[:, :1, :1]
    torch.testing.assert_close(factors, one.expand_as(factors), rtol=1e-4, atol=0)
    assert one.min() > 0.2499
    assert one.max() < 1.2501
    assert one.max() - one.min() > 0.9


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
    chosen = torch.ones(2, dtype=torch.bool)
    result = augment.match_level(vocals, music, chosen, torch.zeros(2))
    assert torch.equal(result, vocals)


def test_pan_moves_the_chosen_by_at_most_what_is_said():
    mono = sounds(400)[:, :1].expand(-1, 2, -1)
    chosen = torch.arange(400) % 2 == 0
    result = augment.pan(mono, chosen, 3.0, seeded())
    assert torch.equal(result[~chosen], mono[~chosen])
    energy = result[chosen].square().sum(dim=2)
    between_db = 10 * torch.log10(energy[:, 0] / energy[:, 1])
    assert between_db.abs().max() <= 3.001
    assert between_db.max() > 2
    assert between_db.min() < -2


def impulses(n, n_samples=2 * RATE_HZ):
    audio = torch.zeros(n, 2, n_samples)
    audio[:, :, 0] = 1.0
    return audio


def test_reverb_touches_only_the_chosen():
    audio = sounds(10)
    chosen = torch.arange(10) % 3 == 0
    result = augment.reverb(audio, chosen, rate_hz=RATE_HZ, generator=seeded())
    assert torch.equal(result[~chosen], audio[~chosen])
    assert all(not torch.equal(a, b) for a, b in zip(result[chosen], audio[chosen], strict=True))
    none = torch.zeros(10, dtype=torch.bool)
    assert torch.equal(augment.reverb(audio, none, rate_hz=RATE_HZ, generator=seeded()), audio)


def test_a_room_answers_after_a_delay_and_dies_away():
    audio = impulses(40)
    every = torch.ones(40, dtype=torch.bool)
    wet = augment.reverb(audio, every, rate_hz=RATE_HZ, generator=seeded()) - audio
    energy = wet.square().sum(dim=1)
    # A spectrum's rounding leaves traces before the tail; they lie 60 dB under it.
    starts = (energy > energy.max(dim=1, keepdim=True).values * 1e-6).float().argmax(dim=1)
    assert starts.max() <= 0.042 * RATE_HZ
    assert (starts > 0.005 * RATE_HZ).sum() > 20
    late, early = energy[:, 4000:8000].sum(dim=1), energy[:, :4000].sum(dim=1)
    assert (late < early / 3).all()
    assert (energy[:, RATE_HZ + 1 :] < 1e-9).all()


def test_a_room_adds_6_to_26_db_less_than_the_sound_itself_and_is_stereo():
    audio = impulses(60)
    every = torch.ones(60, dtype=torch.bool)
    wet = augment.reverb(audio, every, rate_hz=RATE_HZ, generator=seeded(3)) - audio
    wet_db = 10 * torch.log10(wet.square().sum(dim=2))
    assert wet_db.max() < -5.99
    assert wet_db.min() > -26.01
    assert wet_db.max() - wet_db.min() > 12
    assert not torch.allclose(wet[:, 0], wet[:, 1], atol=1e-3)


@pytest.mark.parametrize("n_samples", [1, 50, 321, 20_000])
def test_reverb_of_any_length_is_finite(n_samples):
    audio = sounds(4, n_samples)
    every = torch.ones(4, dtype=torch.bool)
    result = augment.reverb(audio, every, rate_hz=RATE_HZ, generator=seeded())
    assert result.shape == audio.shape
    assert result.isfinite().all()
    assert result.square().sum() < 4 * audio.square().sum()


def test_the_tail_is_that_of_the_whole_convolution():
    # The sound is its own tail's last sample wide: nothing may wrap round to the beginning.
    audio = torch.zeros(20, 2, RATE_HZ)
    audio[:, :, -1] = 1.0
    every = torch.ones(20, dtype=torch.bool)
    wet = augment.reverb(audio, every, rate_hz=RATE_HZ, generator=seeded()) - audio
    assert wet[:, :, :-1].abs().max() < 1e-6
