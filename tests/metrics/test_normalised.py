"""GNSDR: better than the mixture by how much, through the best filter."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.small_models import song
from viso.metrics import gnsdr, nsdr, sdr_v3, si_sdr

VOICE, MUSIC = song(1, 4000, seed=1), song(1, 4000, seed=2)
MIXTURE = VOICE + MUSIC


def test_sdr_by_hand() -> None:
    one, two = np.array([[1, 1, 1, 1.0]]), np.array([[1, -1, 1, -1.0]])
    assert sdr_v3(one, 0.5 * one + 0.25 * two, taps=1) == pytest.approx(10 * math.log10(4))
    assert nsdr(one, one + 0.25 * two, one + two, taps=1) == pytest.approx(10 * math.log10(16))


@given(share=st.floats(0.01, 10))
@settings(deadline=None, max_examples=20)
def test_with_one_tap_and_channel_it_is_the_scale_invariant_one(share: float) -> None:
    estimate = VOICE + np.float32(share) * MUSIC
    assert sdr_v3(VOICE, estimate, taps=1) == pytest.approx(si_sdr(VOICE, estimate), abs=1e-6)


def test_a_filtered_voice_is_right() -> None:
    voice = VOICE.copy()
    voice[:, -2:] = 0
    filtered = np.convolve(voice[0], [0.5, 0.3, -0.1])[None, :4000]
    assert sdr_v3(voice, filtered, taps=3) > 120
    assert sdr_v3(voice, filtered, taps=2) < 30


@given(exponent=st.integers(-3, 20))
@settings(deadline=None, max_examples=10)
def test_levels_do_not_matter(exponent: int) -> None:
    estimate = VOICE + 0.3 * MUSIC
    gain = np.float32(2.0**exponent)
    plain = nsdr(VOICE, estimate, MIXTURE, taps=16)
    assert nsdr(gain * VOICE, estimate, MIXTURE, taps=16) == pytest.approx(plain, abs=1e-6)
    assert nsdr(VOICE, gain * estimate, MIXTURE, taps=16) == pytest.approx(plain, abs=1e-6)


def test_the_mixture_is_no_better_than_itself() -> None:
    assert nsdr(VOICE, MIXTURE, MIXTURE, taps=16) == 0
    assert nsdr(VOICE, VOICE + 0.1 * MUSIC, MIXTURE, taps=16) > 15


def test_silence() -> None:
    silence = np.zeros_like(VOICE)
    assert math.isnan(nsdr(silence, VOICE, MIXTURE, taps=4))
    assert math.isnan(sdr_v3(silence, silence, taps=4))
    assert sdr_v3(VOICE, silence, taps=4) == -math.inf
    assert nsdr(VOICE, silence, MIXTURE, taps=4) == -math.inf


def test_global_mean_by_hand() -> None:
    assert gnsdr([2.0, 8.0], [100, 200]) == 6.0
    assert gnsdr([2.0, math.nan, 8.0], [100, 999, 200]) == 6.0
    assert gnsdr([2.0, -math.inf], [100, 200]) == -math.inf
    assert math.isnan(gnsdr([], []))
    assert math.isnan(gnsdr([math.nan], [100]))


@given(songs=st.lists(st.tuples(st.floats(-50, 50), st.integers(1, 10**8)), min_size=1, max_size=9))
def test_global_mean_is_within_its_songs_and_has_no_unit_of_length(
    songs: list[tuple[float, int]],
) -> None:
    scores, lengths = zip(*songs, strict=True)
    found = gnsdr(scores, lengths)
    assert min(scores) - 1e-9 <= found <= max(scores) + 1e-9
    assert gnsdr(scores, [7 * n for n in lengths]) == pytest.approx(found, abs=1e-9)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="shapes"):
        nsdr(VOICE, VOICE, MIXTURE[:, :-1])
    with pytest.raises(ValueError, match="shapes"):
        sdr_v3(VOICE[0], VOICE[0])
    with pytest.raises(ValueError, match="taps"):
        sdr_v3(VOICE, VOICE, taps=0)
    with pytest.raises(ValueError, match="no samples"):
        sdr_v3(VOICE[:, :0], VOICE[:, :0])
    with pytest.raises(ValueError, match="n_samples: 0"):
        gnsdr([1.0], [0])
    with pytest.raises(ValueError, match="shorter"):
        gnsdr([1.0, 2.0], [10])
