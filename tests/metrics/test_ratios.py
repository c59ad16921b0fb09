"""Ratios of energies: by hand, at any level, in silence."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.small_models import song
from viso.metrics import segment_sdr, si_sdr, usdr

RATE_HZ = 1000


def test_si_sdr_by_hand() -> None:
    reference = np.array([[1, 1, 1, 1], [0, 0, 0, 0]], np.float32)
    noise = np.array([[1, -1, 1, -1], [1, -1, 1, 1]], np.float32)
    # a = 2; the energy of a s is 16, that of the noise beside it 0.25 * 8.
    assert si_sdr(reference, 2 * reference + 0.5 * noise) == pytest.approx(10 * math.log10(8))
    assert si_sdr(reference, -2 * reference) == math.inf


def test_si_sdr_takes_the_channels_together() -> None:
    reference = song(2, 1000)
    assert si_sdr(reference, 0.25 * reference) == math.inf
    unbalanced = reference * np.array([[1.0], [0.5]], np.float32)
    assert si_sdr(reference, unbalanced) < 15


@given(
    gain=st.floats(0.001, 1000),
    share=st.floats(0.01, 10),
    seed=st.integers(0, 99),
)
@settings(deadline=None)
def test_si_sdr_does_not_hear_levels_and_is_above_the_sdr(
    gain: float, share: float, seed: int
) -> None:
    reference = song(2, 400, seed=seed)
    estimate = reference + np.float32(share) * song(2, 400, seed=seed + 100)
    expected = si_sdr(reference, estimate)
    assert si_sdr(reference, np.float32(gain) * estimate) == pytest.approx(expected, abs=1e-3)
    assert si_sdr(np.float32(gain) * reference, estimate) == pytest.approx(expected, abs=1e-3)
    # The best scale leaves no more error than the scale 1; only the target may be smaller.
    scale = float(np.vdot(reference, estimate) / np.vdot(reference, reference))
    bound = usdr(reference, estimate) + 20 * math.log10(abs(scale))
    assert expected >= bound - 1e-3


def test_si_sdr_in_silence() -> None:
    sound, silence = song(2, 100), np.zeros((2, 100), np.float32)
    assert math.isnan(si_sdr(silence, sound))
    assert math.isnan(si_sdr(silence, silence))
    assert si_sdr(sound, silence) == -math.inf
    beside = np.array([[1, 1, -1, -1]], np.float32)
    assert si_sdr(np.ones((1, 4), np.float32), beside) == -math.inf


def test_si_sdr_is_the_same_over_many_blocks() -> None:
    reference, noise = song(2, 150_000, seed=1), song(2, 150_000, seed=2)
    estimate = reference + noise
    s, e = (x.astype(np.float64).ravel() for x in (reference, estimate))
    a = (s @ e) / (s @ s)
    expected = 10 * math.log10(((a * s) @ (a * s)) / ((a * s - e) @ (a * s - e)))
    assert si_sdr(reference, estimate) == pytest.approx(expected, abs=1e-9)


def test_segments_by_hand() -> None:
    reference = np.ones((2, 3 * RATE_HZ + 999), np.float32)
    estimate = reference.copy()
    estimate[:, :RATE_HZ] = 0.9
    estimate[:, RATE_HZ : 2 * RATE_HZ] = 0
    estimate[:, 3 * RATE_HZ :] = -100
    found = segment_sdr(reference, estimate, rate_hz=RATE_HZ)
    assert found.sdr[:2] == pytest.approx([20, 0], abs=1e-5)
    assert found.sdr[2] == math.inf
    assert len(found.sdr) == 3
    assert found.median == pytest.approx(20, abs=1e-5)


def test_silent_seconds_are_left_out_of_the_median() -> None:
    reference = song(2, 5 * RATE_HZ)
    reference[:, RATE_HZ : 2 * RATE_HZ] = 0
    reference[:, 2 * RATE_HZ : 3 * RATE_HZ] *= 1e-4
    estimate = reference + 0.1 * song(2, 5 * RATE_HZ, seed=1)
    found = segment_sdr(reference, estimate, rate_hz=RATE_HZ)
    assert np.isnan(found.sdr).tolist() == [False, True, True, False, False]
    assert found.median == np.nanmedian(found.sdr)
    zeros_only = segment_sdr(reference, estimate, rate_hz=RATE_HZ, silence_db=-math.inf)
    assert np.isnan(zeros_only.sdr).tolist() == [False, True, False, False, False]
    assert zeros_only.sdr[2] < -20


@pytest.mark.parametrize("n_samples", [0, 999, 1000, 2500])
def test_a_silent_or_short_reference_has_no_median(n_samples: int) -> None:
    silence = np.zeros((2, n_samples), np.float32)
    found = segment_sdr(silence, silence + 1, rate_hz=RATE_HZ)
    assert found.sdr.shape == (n_samples // RATE_HZ,)
    assert np.isnan(found.sdr).all()
    assert math.isnan(found.median)


@given(gain=st.floats(2.0**-40, 2.0**40), seconds=st.integers(1, 5))
@settings(deadline=None)
def test_segments_do_not_hear_levels(gain: float, seconds: int) -> None:
    reference = song(1, seconds * RATE_HZ, seed=1)
    reference[:, -RATE_HZ:] *= 1e-4
    estimate = reference + song(1, seconds * RATE_HZ, seed=2)
    scaled = segment_sdr(reference * gain, estimate * gain, rate_hz=RATE_HZ)
    plain = segment_sdr(reference, estimate, rate_hz=RATE_HZ)
    np.testing.assert_allclose(scaled.sdr, plain.sdr, atol=1e-3)


def test_a_window_as_long_as_the_song_gives_the_song() -> None:
    reference, estimate = song(2, 4321, seed=1), song(2, 4321, seed=2)
    found = segment_sdr(reference, estimate, rate_hz=RATE_HZ, window_s=4.321)
    assert found.sdr == pytest.approx([usdr(reference, estimate)])
    assert found.median == found.sdr[0]


def test_working_memory_is_a_window() -> None:
    peaks = []
    for seconds in (10, 100):
        reference = np.ones((2, seconds * 8000), np.float32)
        tracemalloc.start()
        segment_sdr(reference, reference, rate_hz=8000)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_shapes_and_windows_that_make_no_sense() -> None:
    for measure in (si_sdr, usdr):
        with pytest.raises(ValueError, match=r"\(2, 10\).*\(1, 10\)"):
            measure(np.zeros((2, 10), np.float32), np.zeros((1, 10), np.float32))
    with pytest.raises(ValueError, match="shape"):
        segment_sdr(np.zeros((2, 10)), np.zeros((2, 11)), rate_hz=1)
    with pytest.raises(ValueError, match="window_s: 0"):
        segment_sdr(np.zeros((2, 10)), np.zeros((2, 10)), rate_hz=1, window_s=0)
