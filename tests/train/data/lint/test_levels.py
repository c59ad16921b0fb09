"""Checks of one sound: each fault is found with its number, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest

from viso.dsp.bandwidth import bandwidth_hz
from viso.train.data.lint.levels import clipping, dc_offset, loudest_db, not_finite

RATES = [16_000, 44_100]
CHANNELS = [1, 2]
GAINS = [0.005, 0.9]


def tones(n_channels, rate_hz, seconds=2.0, seed=0):
    """Notes of several pitches, low ones too, with a little noise; peak 1."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * rate_hz)) / rate_hz
    sound = 0.02 * rng.standard_normal((n_channels, t.size))
    for pitch in (41.0, 55.0, 220.0, 1234.5, 3000.0):
        sound += np.sin(2 * np.pi * (pitch * t + rng.uniform(size=(n_channels, 1))))
    return (sound / np.abs(sound).max()).astype(np.float32)


def rounded(audio):
    return (np.rint(audio * 32768) / 32768).astype(np.float32)


@pytest.fixture(params=[(c, r, g) for c in CHANNELS for r in RATES for g in GAINS], ids=str)
def clean(request):
    n_channels, rate_hz, gain = request.param
    return rounded(np.float32(gain) * tones(n_channels, rate_hz)), rate_hz


def test_clean_sound_has_no_fault(clean):
    audio, rate_hz = clean
    assert not_finite(audio) == (0, -1)
    assert clipping(audio).n_runs == 0
    mean, share = dc_offset(audio)
    assert abs(mean) < 1e-3
    assert share < 0.01
    assert loudest_db(audio, rate_hz=rate_hz) > -60


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite_is_counted_and_placed(clean, value):
    audio, _ = clean
    audio[-1, [777, 5000]] = value
    assert not_finite(audio) == (2, 777)


def test_opposite_infinities_are_counted():
    audio = np.zeros((1, 100), np.float32)
    audio[0, [5, 9]] = np.inf, -np.inf
    assert not_finite(audio) == (2, 5)


@pytest.mark.parametrize("pitch_hz", [20.0, 50.0, 440.0])
@pytest.mark.parametrize("peak", [0.003, 0.1, 1.0])
def test_rounded_peaks_of_low_notes_are_not_clipping(pitch_hz, peak):
    t = np.arange(44_100) / 44_100
    audio = rounded(peak * np.sin(2 * np.pi * pitch_hz * t))[np.newaxis]
    assert clipping(audio).n_runs == 0


@pytest.mark.parametrize("level", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("n_channels", CHANNELS)
def test_clipped_runs_are_counted_at_any_level(n_channels, level):
    t = np.arange(8000)
    audio = np.tile(0.5 * np.sin(2 * np.pi * t / 100), (n_channels, 1))
    audio[-1] *= 2  # this channel alone is clipped: 80 periods, both ways
    expected = int((np.abs(audio[-1]) >= 0.8).sum())
    audio = rounded(level * np.clip(audio, -0.8, 0.8))
    found = clipping(audio)
    assert (found.n_runs, found.n_samples) == (160, expected)
    assert found.longest == expected // 160
    assert found.level_db == pytest.approx(20 * np.log10(0.8 * level), abs=0.01)


def test_one_clipped_run_in_music_is_counted(clean):
    audio, _ = clean
    top = np.float32(1.2 * np.abs(audio).max())
    audio[0, 3000:3011] = top
    found = clipping(audio)
    assert (found.n_runs, found.n_samples, found.longest) == (1, 11, 11)
    assert found.level_db == pytest.approx(20 * np.log10(top), abs=0.01)


def test_two_equal_peaks_are_no_run(clean):
    audio, _ = clean
    audio[0, 3000:3002] = 1.2 * np.abs(audio).max()
    assert clipping(audio).n_runs == 0


@pytest.mark.parametrize("offset", [-0.1, 0.02])
def test_offset_is_measured(clean, offset):
    audio, _ = clean
    audio[-1] += np.float32(offset)
    mean, share = dc_offset(audio)
    assert mean == pytest.approx(offset, abs=1e-3)
    assert share == pytest.approx(abs(offset) / float((audio[-1] - offset).std()), rel=0.05)


def test_constants_have_nothing_but_offset():
    mean, share = dc_offset(np.full((1, 1000), 0.25, np.float32))
    assert mean == pytest.approx(0.25)
    assert share > 100
    assert dc_offset(np.zeros((2, 1000), np.float32))[0] == 0


@pytest.mark.parametrize("rate_hz", RATES)
def test_loudest_tenth_of_a_second(rate_hz):
    audio = np.zeros((2, 3 * rate_hz), np.float32)
    assert loudest_db(audio, rate_hz=rate_hz) == -np.inf
    audio[:, rate_hz : rate_hz + rate_hz // 10] = 0.01
    assert loudest_db(audio, rate_hz=rate_hz) == pytest.approx(-40, abs=0.01)
    assert loudest_db(np.zeros((1, 0), np.float32), rate_hz=rate_hz) == -np.inf


@pytest.mark.parametrize("top_hz", [4000.0, 11_000.0])
@pytest.mark.parametrize("gain", [1e-3, 0.5])
def test_bandwidth_of_upsampled_sound(top_hz, gain):
    white = np.random.default_rng(1).standard_normal((2, 88_200))
    spectrum = np.fft.rfft(white)
    spectrum[:, np.fft.rfftfreq(88_200, 1 / 44_100) > top_hz] = 0
    audio = (gain * np.fft.irfft(spectrum)).astype(np.float32)
    assert bandwidth_hz(audio, rate_hz=44_100) == pytest.approx(top_hz, abs=150)
    full = (gain * white).astype(np.float32)
    assert bandwidth_hz(full, rate_hz=44_100) == pytest.approx(22_050, abs=50)
    assert bandwidth_hz(np.zeros_like(audio), rate_hz=44_100) == 22_050
