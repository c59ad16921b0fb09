"""Rooms and echoes: their impulse responses."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from viso.train import augment

RATE_HZ = 8000


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def every(n):
    return torch.ones(n, dtype=torch.bool)


def impulses(n, n_samples=2 * RATE_HZ):
    audio = torch.zeros(n, 2, n_samples)
    audio[:, :, 0] = 1.0
    return audio


def tails(n, *, seed=0, rate_hz=RATE_HZ, **ranges):
    """What rooms add to an impulse, two seconds of it."""
    audio = impulses(n, 2 * rate_hz)
    wet = augment.reverb(audio, every(n), rate_hz=rate_hz, generator=seeded(seed), **ranges)
    return wet - audio


def decay_s(wet, rate_hz):
    """Time of a 60 dB decay, from -5 to -25 dB of Schroeder's integral of each chunk."""
    energy = wet.square().sum(dim=1)
    left_db = 10 * torch.log10(energy.flip(1).cumsum(dim=1).flip(1) / energy.sum(1, keepdim=True))
    at = [(left_db < level).float().argmax(dim=1) for level in (-5, -25)]
    return 3 * (at[1] - at[0]) / rate_hz


def test_a_room_answers_after_a_delay_and_dies_away():
    energy = tails(40).square().sum(dim=1)
    # A spectrum's rounding leaves traces before the tail; they lie 60 dB under it.
    starts = (energy > energy.max(dim=1, keepdim=True).values * 1e-6).float().argmax(dim=1)
    assert starts.max() <= 0.042 * RATE_HZ
    assert (starts > 0.005 * RATE_HZ).sum() > 20
    late, early = energy[:, 4000:8000].sum(dim=1), energy[:, :4000].sum(dim=1)
    assert (late < early / 3).all()
    assert (energy[:, RATE_HZ + 1 :] < 1e-9).all()


@pytest.mark.parametrize("seconds", [0.2, 0.5, 1.0])
def test_the_tail_loses_60_db_in_the_time_that_is_said(seconds):
    wet = tails(20, decay_s=(seconds, seconds), damping=(1.0, 1.0), pre_delay_s=(0.0, 0.0))
    torch.testing.assert_close(decay_s(wet, RATE_HZ), torch.full((20,), seconds), rtol=0.2, atol=0)


def test_high_frequencies_die_sooner():
    rate_hz = 44_100
    wet = tails(4, rate_hz=rate_hz, decay_s=(0.6, 0.6), damping=(0.4, 0.4), pre_delay_s=(0.0, 0.0))
    # Twice as long, or the filters' forerunners come round to the end of the tail.
    spectrum = torch.fft.rfft(wet, n=4 * rate_hz)
    hz = torch.arange(spectrum.shape[-1]) / 4
    for band, seconds in ((hz < 2000, 0.6), (hz > 9000, 0.24)):
        part = torch.fft.irfft(spectrum * band)[..., :rate_hz]
        found = decay_s(part.reshape(1, -1, rate_hz), rate_hz)
        assert float(found) == pytest.approx(seconds, rel=0.2)


def test_the_direct_sound_is_intact():
    audio = torch.randn((4, 2, 3000), generator=seeded(1)) * 0.1
    result = augment.reverb(
        audio, every(4), rate_hz=RATE_HZ, pre_delay_s=(0.05, 0.05), generator=seeded()
    )
    torch.testing.assert_close(result[..., :399], audio[..., :399], rtol=0, atol=1e-6)
    assert (result[..., 450:] - audio[..., 450:]).abs().mean() > 1e-3


def test_a_room_adds_6_to_26_db_less_than_the_sound_itself_and_is_stereo():
    wet = tails(60, seed=3)
    wet_db = 10 * torch.log10(wet.square().sum(dim=2))
    assert wet_db.max() < -5.99
    assert wet_db.min() > -26.01
    assert wet_db.max() - wet_db.min() > 12
    between = (wet[:, 0] * wet[:, 1]).sum(1) / (wet[:, 0].norm(dim=1) * wet[:, 1].norm(dim=1))
    assert between.abs().max() < 0.5


def test_the_tail_is_that_of_the_whole_convolution():
    # The sound is its own tail's last sample wide: nothing may wrap round to the beginning.
    audio = torch.zeros(20, 2, RATE_HZ)
    audio[:, :, -1] = 1.0
    wet = augment.reverb(audio, every(20), rate_hz=RATE_HZ, generator=seeded()) - audio
    assert wet[:, :, :-1].abs().max() < 1e-6


def test_echoes_come_at_one_distance_and_shrink_by_the_feedback():
    audio = impulses(1)
    result = augment.delay(
        audio,
        every(1),
        rate_hz=RATE_HZ,
        time_s=(0.25, 0.25),
        level_db=(-12.0, -12.0),
        feedback=(0.5, 0.5),
        generator=seeded(),
    )
    expected = audio.clone()
    for number in range(4):
        expected[..., 2000 * (number + 1)] = 10 ** (-12 / 20) * 0.5**number
    torch.testing.assert_close(result, expected)


def test_the_autocorrelation_of_a_delayed_sound_peaks_at_drawn_lags():
    audio = torch.randn((30, 2, 2 * RATE_HZ), generator=seeded(1)) * 0.1
    result = augment.delay(
        audio, every(30), rate_hz=RATE_HZ, feedback=(0.0, 0.0), generator=seeded()
    )
    spectrum = torch.fft.rfft(functional.pad(result, (0, result.shape[2])))
    likeness = torch.fft.irfft(spectrum.abs().square()).sum(dim=1)[:, :RATE_HZ]
    likeness = likeness / likeness[:, :1]
    peak, lag = likeness[:, 100:].max(dim=1)
    lag = (lag + 100) / RATE_HZ
    assert 0.079 < lag.min() < 0.12
    assert 0.42 < lag.max() < 0.501
    assert len(set(lag.tolist())) > 25
    # g / (1 + g^2), less what the end cuts off, from -22 to -8 dB.
    assert 0.05 < peak.min() < 0.15
    assert 0.25 < peak.max() < 0.40


def test_a_chunk_shorter_than_the_echo_stays():
    audio = torch.randn((3, 2, 100), generator=seeded(1))
    assert torch.equal(augment.delay(audio, every(3), rate_hz=RATE_HZ, generator=seeded()), audio)
