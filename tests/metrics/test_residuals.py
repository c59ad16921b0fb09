"""The residual: the truth inverted and summed with the estimate."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.small_models import SMALL, song
from viso.dsp.stft import stft
from viso.metrics import residual, usdr


@given(n_channels=st.integers(1, 3), n_samples=st.integers(1, 3000), share=st.floats(-2, 2))
@settings(deadline=None, max_examples=30)
def test_the_signal_is_what_is_wrong_and_its_level_is_minus_the_sdr(
    n_channels: int, n_samples: int, share: float
) -> None:
    reference = song(n_channels, n_samples + 1)[:, 1:]
    estimate = reference + np.float32(share) * song(n_channels, n_samples + 1, seed=1)[:, 1:]
    found = residual(reference, estimate, config=SMALL)
    assert found.signal.dtype == np.float32
    np.testing.assert_array_equal(found.signal, estimate - reference)
    np.testing.assert_equal(found.level_db, -usdr(reference, estimate))
    # Spectrograms lose phases, so they cannot differ more than the spectra do.
    spectra = np.abs(stft(found.signal, config=SMALL)).mean(dtype=np.float64) * 4 / SMALL.n_fft
    assert 0 <= found.spectral_difference <= spectra + 1e-6


def test_by_hand() -> None:
    reference = np.ones((2, 100), np.float32)
    found = residual(reference, 0.5 * reference, config=SMALL)
    assert found.level_db == pytest.approx(-20 * math.log10(2))
    assert (found.signal == -0.5).all()


def test_a_sine_has_its_amplitude_in_its_bin_and_half_beside_it() -> None:
    n, bins = 512 * 200, SMALL.n_fft // 2 + 1
    sine = 0.8 * np.sin(2 * np.pi * 40 / SMALL.n_fft * np.arange(n))[None].astype(np.float32)
    found = residual(sine, 0.25 * sine, config=SMALL)
    assert found.spectral_difference == pytest.approx(0.75 * 0.8 * 2 / bins, rel=0.02)
    inverted = residual(sine, -sine, config=SMALL)
    assert inverted.spectral_difference == 0
    assert inverted.level_db == pytest.approx(20 * math.log10(2))


def test_blocks_inside_do_not_show() -> None:
    reference, estimate = song(1, 150_000, seed=1), song(1, 150_000, seed=2)
    found = residual(reference, estimate, config=SMALL).spectral_difference
    whole = [np.abs(stft(x, config=SMALL)).astype(np.float64) for x in (reference, estimate)]
    expected = np.abs(whole[0] - whole[1]).mean() * 4 / SMALL.n_fft
    assert found == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("n_samples", [65_535, 65_536, 65_537])
def test_lengths_about_a_block(n_samples: int) -> None:
    sound = song(1, n_samples)
    found = residual(sound, 0 * sound, config=SMALL).spectral_difference
    expected = np.abs(stft(sound, config=SMALL)).mean(dtype=np.float64) * 4 / SMALL.n_fft
    assert found == pytest.approx(float(expected), rel=1e-6)


def test_silence_and_perfection() -> None:
    sound, silence = song(2, 1000), np.zeros((2, 1000), np.float32)
    assert residual(sound, sound, config=SMALL)[1:] == (-math.inf, 0.0)
    assert residual(silence, sound, config=SMALL).level_db == math.inf
    assert residual(sound, silence, config=SMALL).level_db == 0
    assert math.isnan(residual(silence, silence, config=SMALL).level_db)


@given(exponent=st.integers(-30, 30))
@settings(deadline=None, max_examples=10)
def test_levels(exponent: int) -> None:
    reference, estimate = song(1, 2000, seed=1), song(1, 2000, seed=2)
    gain = np.float32(2.0**exponent)
    plain = residual(reference, estimate, config=SMALL)
    found = residual(gain * reference, gain * estimate, config=SMALL)
    assert found.level_db == plain.level_db
    assert found.spectral_difference == pytest.approx(float(gain) * plain.spectral_difference)


def test_shapes_must_fit() -> None:
    with pytest.raises(ValueError, match="shape"):
        residual(song(2, 10), song(1, 10), config=SMALL)
