"""Stems beside their mixture: lags to the sample, polarity, drift, and what the sum leaves."""

from __future__ import annotations

import numpy as np
import pytest

from viso.audio import Resampler
from viso.train.data.lint.agreement import lag_of, residual
from viso.train.data.lint.sound import shifted


def coloured(n_channels, n, seed):
    """Noise with the slope of music and a swell, RMS 0.1."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal((n_channels, n)))
    spectrum /= np.sqrt(np.arange(1, spectrum.shape[1] + 1))
    sound = np.fft.irfft(spectrum, n) * (1.1 + np.sin(np.arange(n) / n * 40 + seed))
    sound -= sound.mean(axis=1, keepdims=True)
    return (0.1 * sound / sound.std()).astype(np.float32)


@pytest.fixture(params=[(1, 16_000), (2, 44_100)], ids=str)
def stems(request):
    n_channels, rate_hz = request.param
    return coloured(n_channels, 4 * rate_hz, 1), coloured(n_channels, 4 * rate_hz, 2), rate_hz


@pytest.mark.parametrize("lag", [0, 1, -1, 529, -1105, 15_000])
@pytest.mark.parametrize("gain", [1e-3, 0.3, 3.0])
def test_lag_is_exact_for_quiet_and_loud_stems(stems, lag, gain):
    vocals, music, rate_hz = stems
    mixture = np.float32(gain) * (vocals + music)
    found = lag_of(np.float32(gain) * shifted(vocals, -lag), mixture, rate_hz=rate_hz)
    assert found is not None
    assert (found.samples, found.drift, found.sign) == (lag, 0, 1)


def test_lag_of_a_stem_far_below_the_others(stems):
    vocals, music, rate_hz = stems
    quiet = np.float32(0.1) * vocals
    found = lag_of(shifted(quiet, -37), quiet + music, rate_hz=rate_hz)
    assert found is not None
    assert found.samples == 37


def test_polarity(stems):
    vocals, music, rate_hz = stems
    found = lag_of(-vocals, vocals + music, rate_hz=rate_hz)
    assert found is not None
    assert (found.samples, found.sign) == (0, -1)


def test_a_stem_that_is_not_there_has_no_lag(stems):
    vocals, music, rate_hz = stems
    assert lag_of(vocals, music, rate_hz=rate_hz) is None
    assert lag_of(np.zeros_like(vocals), music, rate_hz=rate_hz) is None
    assert lag_of(vocals[:, :1], music[:, :1], rate_hz=rate_hz) is None


def test_loops_are_not_lags():
    """A bar repeated exactly correlates with itself a bar later; lag zero has to win."""
    bar = coloured(1, 11_025, 3)
    stem = np.tile(bar, (1, 12))
    mixture = stem + coloured(1, stem.shape[1], 4)
    found = lag_of(stem, mixture, rate_hz=44_100)
    assert found is not None
    assert (found.samples, found.sign) == (0, 1)


def test_drift_of_a_wrong_clock():
    vocals, music = coloured(1, 16_000 * 60, 5), coloured(1, 16_000 * 60, 6)
    slow = Resampler(1, from_hz=16_000, to_hz=16_001).process(vocals, last=True)
    found = lag_of(slow, vocals + music, rate_hz=16_000)
    assert found is not None
    # The loudest places of the first and the last third lie at least 8 s and at most 60 s apart.
    assert 8 <= found.drift <= 60


@pytest.mark.parametrize("rest_db", [-60.0, -20.0, -8.0])
@pytest.mark.parametrize("gain", [0.01, 1.0, 2.0])
def test_residual_and_gain_are_measured(stems, rest_db, gain):
    total, other, _ = stems
    other = other - np.float32(np.vdot(total, other) / np.vdot(total, total)) * total
    rest = np.float32(10 ** (rest_db / 20)) * other
    found = residual(total + np.float32(0.01), np.float32(gain) * (total + rest))
    assert found is not None
    share = float(np.sum(rest**2) / np.sum((total + rest) ** 2))
    assert found.level_db == pytest.approx(10 * np.log10(share), abs=0.3)
    assert found.gain_db == pytest.approx(20 * np.log10(gain), abs=0.3)


def test_residual_of_equal_sounds_and_of_silence(stems):
    total, _, _ = stems
    same = residual(total, total)
    assert same is not None
    assert same.level_db < -100
    assert residual(total, np.zeros_like(total)) is None
    nothing = residual(np.zeros_like(total), total)
    assert nothing is not None
    assert nothing.level_db == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("lag", [0, 3, -3, 10, -10, 11, 500])
def test_shifted_moves_by_samples_and_fills_with_zeros(lag):
    audio = np.arange(1, 11, dtype=np.float32)[np.newaxis]
    moved = shifted(audio, lag)
    expected = [audio[0, k + lag] if 0 <= k + lag < 10 else 0 for k in range(10)]
    np.testing.assert_array_equal(moved[0], expected)
