"""Speed, pitch, doubles and harmonies: measured in cents, decibels and seconds."""

from __future__ import annotations

import math

import pytest
import torch

from viso.train import augment
from viso.train.augment.resample import read

RATE_HZ = 44_100
ONE = torch.ones(1, dtype=torch.bool)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def tone(hz, seconds=1.5, partials=1, rate_hz=RATE_HZ):
    """A stereo tone [shape=(1, 2, n)], its partials falling by 6 dB an octave."""
    t = torch.arange(int(seconds * rate_hz), dtype=torch.float64) / rate_hz
    wave = sum(torch.sin(2 * torch.pi * hz * p * t) / p for p in range(1, partials + 1))
    return (0.2 * wave).float().expand(1, 2, -1).contiguous()


def spectrum(mono, size=1 << 19):
    """Magnitudes at multiples of RATE_HZ / size hertz; a Hann window, ends left out."""
    inner = mono[2000:-2000]
    return torch.fft.rfft(inner * torch.hann_window(len(inner)), n=size).abs()


def pitch_hz(mono, near_hz):
    """The strongest frequency within 100 cents of one that is expected."""
    size = 1 << 19
    low, high = (round(near_hz * 2 ** (c / 1200) * size / RATE_HZ) for c in (-100, 100))
    return (float(spectrum(mono)[low:high].argmax()) + low) * RATE_HZ / size


def beside_db(mono, hz, width_hz=40.0):
    """Energy farther than a width from a tone against that of the tone."""
    power = spectrum(mono).square()
    near = (torch.arange(len(power)) * RATE_HZ / (1 << 19) - hz).abs() < width_hz
    return 10 * math.log10(float(power[~near].sum() / power[near].sum()))


def cents(hz, reference_hz):
    return 1200 * math.log2(hz / reference_hz)


def at_speed(audio, speed, n_samples):
    return augment.change_speed(audio, ONE, torch.tensor([speed]), n_samples=n_samples)


@pytest.mark.parametrize("speed", [0.9, 0.97, 1.12, 1.5])
def test_speed_moves_the_pitch_and_leaves_nothing_else(speed):
    result = at_speed(tone(10_000, 2.5), speed, 60_000)[0, 0]
    assert abs(cents(pitch_hz(result, 10_000 * speed), 10_000 * speed)) < 0.5
    assert beside_db(result, 10_000 * speed) < -50
    assert float(result[2000:-2000].square().mean().sqrt()) == pytest.approx(0.2 / 2**0.5, rel=0.01)


@pytest.mark.parametrize("speed", [0.9, 1.12])
def test_speed_moves_every_moment(speed):
    audio = torch.zeros(1, 2, 120_000)
    audio[..., 90_000] = 1.0
    result = at_speed(audio, speed, 105_000)
    assert abs(int(result[0, 0].abs().argmax()) - 90_000 / speed) <= 0.5


def test_speed_one_is_the_sound_itself_and_what_is_missing_is_silence():
    audio = tone(440, 0.5)
    assert torch.equal(at_speed(audio, 1.0, 20_000), audio[..., :20_000])
    short = at_speed(audio, 2.0, 20_000)
    assert (short[..., 11_030:] == 0).all()
    assert short[..., 10_000:11_000].abs().max() > 0.1


def test_each_chunk_runs_at_its_own_speed():
    audio = tone(1000).expand(3, -1, -1)
    chosen = torch.tensor([True, False, True])
    speed = torch.tensor([0.9, 0.7, 1.1])
    result = augment.change_speed(audio, chosen, speed, n_samples=50_000)
    assert torch.equal(result[1], audio[1, :, :50_000])
    for row in (0, 2):
        expected = at_speed(audio[row : row + 1], float(speed[row]), 50_000)
        torch.testing.assert_close(result[row : row + 1], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("hz", "error_db"), [(100, -60), (5000, -55), (10_000, -55)])
def test_reading_between_samples_is_the_sine_itself(hz, error_db):
    place = torch.rand(1, 20_000, generator=seeded(), dtype=torch.float64) * 60_000 + 100
    found = read(tone(hz), place)[0, 0]
    expected = 0.2 * torch.sin(2 * torch.pi * hz * place[0] / RATE_HZ)
    error = (found - expected).square().mean() / expected.square().mean()
    assert 10 * math.log10(float(error)) < error_db


def test_reading_outside_is_silence():
    place = torch.tensor([[-1e9, -20.0, -4.0, 66_160.0, 1e9]], dtype=torch.float64)
    assert torch.equal(read(tone(100), place), torch.zeros(1, 2, 5))


def shifted(audio, semitones):
    return augment.shift_pitch(
        audio, ONE, rate_hz=RATE_HZ, semitones=(semitones, semitones), generator=seeded()
    )


@pytest.mark.parametrize("hz", [110.0, 233.0, 391.7, 880.0])
@pytest.mark.parametrize("semitones", [-12.0, -3.0, 1.5, 4.0, 7.0])
def test_the_pitch_moves_within_5_cents_and_the_level_stays(hz, semitones):
    audio = tone(hz, partials=6)
    result = shifted(audio, semitones)[0, 0]
    expected = hz * 2 ** (semitones / 12)
    for partial in (1, 2, 3):
        assert abs(cents(pitch_hz(result, partial * expected), partial * expected)) < 5
    rms = result[4000:-4000].square().mean().sqrt() / audio.square().mean().sqrt()
    assert abs(20 * math.log10(float(rms))) < 1


@pytest.mark.parametrize("semitones", [-4.0, 3.0])
def test_a_shifted_tone_is_a_tone(semitones):
    result = shifted(tone(391.7), semitones)[0, 0]
    assert beside_db(result, 391.7 * 2 ** (semitones / 12)) < -30


def test_a_gliding_voice_glides_on():
    t = torch.arange(int(1.5 * RATE_HZ), dtype=torch.float64) / RATE_HZ
    # 300 Hz with a vibrato of half a semitone, 5.5 times a second.
    phase = 2 * torch.pi * 300 * (t + 0.03 / (11 * math.pi) * torch.sin(11 * math.pi * t))
    wave = sum(torch.sin(phase * p) / p for p in range(1, 5))
    audio = (0.2 * wave).float().expand(1, 2, -1).contiguous()
    ratio = 2 ** (4 / 12)
    result = shifted(audio, 4.0)[0, 0].double()
    # Turned back by the phase it should have, its fundamental stands still.
    still = (result * torch.exp(-1j * ratio * phase)).unfold(0, 882, 882).mean(dim=1)[3:-3]
    stray_hz = (still[1:] * still[:-1].conj()).angle() / (2 * torch.pi) * RATE_HZ / 882
    strays = 1200 * torch.log2(1 + stray_hz / (300 * ratio))
    assert abs(float(strays.mean())) < 5
    assert float(strays.abs().max()) < 40
    assert still.abs().min() > 0.7 * 0.1


def test_a_note_stays_in_its_time():
    audio = tone(330, partials=4)
    audio[..., :20_000] = 0
    audio[..., 45_000:] = 0
    for semitones in (-5.0, 5.0):
        loud = shifted(audio, semitones)[0, 0].unfold(0, 441, 441).square().mean(dim=1) > 1e-3
        heard = torch.nonzero(loud)[:, 0] * 441
        assert abs(int(heard[0]) - 20_000) < 0.025 * RATE_HZ
        assert abs(int(heard[-1]) - 45_000) < 0.025 * RATE_HZ


def test_what_a_shift_would_fold_back_is_gone():
    result = shifted(tone(15_000), 12.0)
    assert result[..., 2000:-2000].abs().max() < 0.2e-2


def test_shifts_fill_their_range():
    audio = tone(440, 0.4).expand(16, -1, -1)
    result = augment.shift_pitch(
        audio, torch.ones(16, dtype=torch.bool), rate_hz=RATE_HZ, generator=seeded()
    )
    size = 1 << 19
    found = [cents(float(spectrum(x[0], size).argmax()) * RATE_HZ / size, 440) for x in result]
    assert -305 < min(found) < -180
    assert 180 < max(found) < 305


def harmony(audio, seed=0, **changes):
    """What harmonise adds."""
    usual = {"intervals": (4.0,), "second": 0.0, "level_db": (-10.0, -10.0)}
    every = torch.ones(len(audio), dtype=torch.bool)
    return (
        augment.harmonise(
            audio, every, rate_hz=RATE_HZ, generator=seeded(seed), **{**usual, **changes}
        )
        - audio
    )


@pytest.mark.parametrize("semitones", [-12.0, -5.0, -3.0, 3.0, 4.0, 7.0, 12.0])
def test_a_harmony_stands_at_its_interval_and_level(semitones):
    audio = tone(261.6, partials=4)
    added = harmony(audio, intervals=(semitones,), most_side_db=0.0)[0]
    expected = 261.6 * 2 ** (semitones / 12)
    for partial in (1, 2, 3):
        assert abs(cents(pitch_hz(added[0], partial * expected), partial * expected)) < 5
    level = added[:, 4000:-4000].square().mean() / audio.square().mean()
    assert 10 * math.log10(float(level)) == pytest.approx(-10, abs=1)
    torch.testing.assert_close(added[0], added[1], rtol=0, atol=1e-6)


def test_harmonies_stand_aside_and_are_late():
    click = torch.zeros(20, 2, 8000)
    click[..., 3000:3010] = 0.5
    added = harmony(click, intervals=(0.0,))
    power = added.square().sum(dim=2)
    between_db = 10 * torch.log10(power[:, 0] / power[:, 1])
    assert between_db.abs().max() <= 12.01
    assert between_db.max() > 4
    assert between_db.min() < -4
    late_s = (added[:, 0].abs().argmax(dim=1) - 3004) / RATE_HZ
    assert 0.004 < late_s.min() < 0.012
    assert 0.023 < late_s.max() < 0.031


def test_some_voices_get_two_harmonies():
    audio = tone(300, 0.4).expand(16, -1, -1)
    added = harmony(audio, intervals=(-5.0, 7.0), second=1.0, level_db=(-6.0, -6.0))
    pairs = set()
    for chunk in added:
        power = spectrum(chunk.mean(dim=0)).square()
        places = [round(300 * 2 ** (i / 12) * (1 << 19) / RATE_HZ) for i in (-5, 7)]
        strong = [float(power[p - 40 : p + 40].max()) for p in places]
        pairs.add(tuple(s > 0.05 * max(strong) for s in strong))
    assert pairs == {(True, True), (True, False), (False, True)}


def take(audio, **changes):
    """The second take alone."""
    every = torch.ones(len(audio), dtype=torch.bool)
    return augment.double(audio, every, rate_hz=RATE_HZ, generator=seeded(), **changes) - audio


def test_a_second_take_has_its_level_and_stands_aside():
    audio = tone(1000, 0.5).expand(60, -1, -1)
    power = take(audio, level_db=(-10.0, -4.0))[..., 2000:].square().mean(dim=2)
    level_db = 10 * torch.log10((power[:, 0] * power[:, 1]).sqrt() / 0.02)
    assert -10.1 < level_db.min() < -9
    assert -5 < level_db.max() < -3.9
    between_db = 10 * torch.log10(power[:, 0] / power[:, 1])
    assert between_db.abs().max() <= 12.01
    assert between_db.max() > 6
    assert between_db.min() < -6


def test_a_voice_on_one_side_is_doubled_on_the_other():
    audio = tone(1000, 0.5).expand(40, -1, -1).clone()
    audio[:20, 0] *= 0.5
    audio[20:, 1] *= 0.5
    power = take(audio).square().sum(dim=2)
    assert (power[:20, 0] >= power[:20, 1]).all()
    assert (power[20:, 1] >= power[20:, 0]).all()


def test_a_second_take_is_late_and_wavers():
    clicks = torch.zeros(16, 2, 4 * RATE_HZ)
    clicks[..., 2205::4410] = 1.0
    late = take(clicks)[:, 0, : 39 * 4410].view(16, 39, 4410).abs().argmax(dim=2) - 2205
    late_s = late / RATE_HZ
    assert late_s.min() > 0.005
    assert late_s.max() < 0.035
    swing = late_s.amax(dim=1) - late_s.amin(dim=1)
    assert (swing > 0.0003).all()
    assert swing.max() < 0.0080
    mean = (late_s.amax(dim=1) + late_s.amin(dim=1)) / 2
    assert mean.min() < 0.014
    assert mean.max() > 0.026


def test_a_second_take_strays_by_the_cents_that_are_said():
    audio = tone(1000, 4.0)
    second = take(audio, detune_cents=(12.0, 12.0))[0, 0, 4000:].double()
    n = torch.arange(len(second), dtype=torch.float64)
    turned = second * torch.exp(-2j * torch.pi * 1000 / RATE_HZ * n)
    smooth = turned.unfold(0, 441, 441).mean(dim=1)
    hz = (smooth[1:] * smooth[:-1].conj()).angle() / (2 * torch.pi) * RATE_HZ / 441
    strays = 1200 * torch.log2(1 + hz / 1000)
    assert float(strays.max()) == pytest.approx(12, abs=1)
    assert float(strays.min()) == pytest.approx(-12, abs=1)
