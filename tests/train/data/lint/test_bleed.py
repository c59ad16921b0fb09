"""Bleed: found with its level and lag, and not where stems only play the same notes."""

from __future__ import annotations

import numpy as np
import pytest

from viso.train.data.lint.bleed import bleed, mutual_bleed
from viso.train.data.lint.checks import BLEED_FAULT_DB, BLEED_FAULT_RATIO
from viso.train.data.lint.sound import shifted


def melody(rate_hz, seconds, seed, *, tune, vibrato):
    """Notes of one scale at one tempo, a new one each half second, with twelve partials."""
    rng = np.random.default_rng(seed)
    n = rate_hz // 2
    notes = []
    steps = np.random.default_rng(tune).choice([0, 2, 4, 7, 9], int(2 * seconds))
    for pitch in 220 * 2 ** (steps / 12):
        t = np.arange(n) / rate_hz
        swing = vibrato * np.sin(2 * np.pi * rng.uniform(4, 7) * t + rng.uniform(0, 6))
        phase = 2 * np.pi * np.cumsum(pitch * (1 + swing)) / rate_hz
        note = sum(np.sin(k * phase + rng.uniform(0, 6)) / k for k in range(1, 13))
        notes.append(note * np.hanning(n) * rng.uniform(0.2, 1))
    return np.concatenate(notes)


def noisy(rate_hz, seconds, seed):
    """Drums of a sort: bursts of noise on the beat."""
    rng = np.random.default_rng(seed)
    n = int(seconds * 2) * (rate_hz // 2)
    return rng.standard_normal(n) * np.exp(-8 * (np.arange(n) % (rate_hz // 4)) / rate_hz)


def song(n_channels, rate_hz, *, gain, tunes=(0, 5), seconds=8):
    """Vocals and music in time and in tune, each channel with its own noise."""
    vocals = melody(rate_hz, seconds, 1, tune=tunes[0], vibrato=0.02)
    music = melody(rate_hz, seconds, 2, tune=tunes[1], vibrato=0.001) + 0.5 * noisy(
        rate_hz, seconds, 3
    )
    rng = np.random.default_rng(4)
    stems = []
    for sound in (vocals, music):
        breath = 0.003 * rng.standard_normal((n_channels, sound.size))
        stems.append((gain * (sound / np.abs(sound).max() + breath)).astype(np.float32))
    return stems


@pytest.fixture(
    params=[(1, 16_000, 0.5), (2, 16_000, 0.02), (1, 44_100, 0.02), (2, 44_100, 0.5)], ids=str
)
def stems(request):
    n_channels, rate_hz, gain = request.param
    return *song(n_channels, rate_hz, gain=gain), rate_hz


def is_leak(found):
    return found is not None and found.ratio > BLEED_FAULT_RATIO and found.level_db > BLEED_FAULT_DB


@pytest.mark.parametrize("tunes", [(0, 0), (3, 3), (0, 5)])
@pytest.mark.parametrize(("n_channels", "rate_hz"), [(1, 16_000), (2, 44_100)])
def test_the_same_notes_at_the_same_time_are_no_bleed(n_channels, rate_hz, tunes):
    vocals, music = song(n_channels, rate_hz, gain=0.5, tunes=tunes)
    assert not any(map(is_leak, mutual_bleed(vocals, music, rate_hz=rate_hz)))


def test_a_hum_in_both_stems_is_no_bleed():
    vocals, music = song(1, 16_000, gain=0.5)
    hum = np.zeros(vocals.shape[1])
    for k in (1, 3, 5, 7):
        hum += 0.02 * np.sin(2 * np.pi * 50 * k * np.arange(hum.size) / 16_000)
    hum = hum.astype(np.float32)
    assert not any(map(is_leak, mutual_bleed(vocals + hum, music + hum, rate_hz=16_000)))


@pytest.mark.parametrize("level_db", [-30.0, -20.0, -6.0])
@pytest.mark.parametrize(("lag", "sign"), [(0, 1), (91, -1), (-40, 1)])
def test_level_and_lag_of_either_leak(stems, level_db, lag, sign):
    vocals, music, rate_hz = stems
    gain = np.float32(sign * 10 ** (level_db / 20))
    of_vocals, none = mutual_bleed(vocals, music + gain * shifted(vocals, -lag), rate_hz=rate_hz)
    assert is_leak(of_vocals)
    assert of_vocals.level_db == pytest.approx(level_db, abs=2)
    assert (of_vocals.lag, np.sign(of_vocals.gain)) == (lag, sign)
    assert not is_leak(none)
    none, of_music = mutual_bleed(vocals + gain * shifted(music, -lag), music, rate_hz=rate_hz)
    assert is_leak(of_music)
    assert of_music.level_db == pytest.approx(level_db, abs=2)
    assert (of_music.lag, np.sign(of_music.gain)) == (lag, sign)
    assert not is_leak(none)


def test_leaks_in_both_directions(stems):
    vocals, music, rate_hz = stems
    some = np.float32(0.1)
    found = mutual_bleed(vocals + some * music, music + some * vocals, rate_hz=rate_hz)
    assert all(map(is_leak, found))


def test_too_little_sound_says_nothing(stems):
    vocals, music, rate_hz = stems
    short = rate_hz // 2
    assert bleed(vocals[:, :short], music[:, :short], rate_hz=rate_hz) is None
    assert bleed(vocals, np.zeros_like(music), rate_hz=rate_hz) is None
    assert bleed(vocals[:, :10], music[:, :10], rate_hz=rate_hz) is None


def test_mono_vocals_beside_stereo_music():
    vocals, music = song(2, 16_000, gain=0.5)
    found = bleed(vocals[:1], music + np.float32(0.1) * vocals[:1], rate_hz=16_000)
    assert is_leak(found)
    assert found.level_db == pytest.approx(-20, abs=2)
