"""Resampler: aligned, exact in length, the same for any blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viso.audio import Resampler, resampled_length
from viso.errors import AudioError

RATES = (8000, 11025, 44100, 48000, 96000, 192_000)


def in_blocks(audio, sizes, **rates):
    resampler = Resampler(audio.shape[0], **rates)
    out, start, turn = [], 0, 0
    while start < audio.shape[1]:
        stop = min(start + sizes[turn % len(sizes)], audio.shape[1])
        out.append(resampler.process(audio[:, start:stop], last=stop == audio.shape[1]))
        start, turn = stop, turn + 1
    return np.concatenate(out, axis=1)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(RATES),
    st.sampled_from(RATES),
    st.integers(1, 9000),
    st.lists(st.integers(1, 3000), min_size=1, max_size=5),
    st.sampled_from([1, 2, 6]),
)
def test_any_blocks_give_the_same_samples(noise, from_hz, to_hz, n, sizes, n_channels):
    audio = noise(n_channels, n)
    sizes = [*sizes, n // 20 + 1]
    whole = in_blocks(audio, [n], from_hz=from_hz, to_hz=to_hz)
    np.testing.assert_array_equal(in_blocks(audio, sizes, from_hz=from_hz, to_hz=to_hz), whole)
    assert whole.shape == (n_channels, resampled_length(n, from_hz=from_hz, to_hz=to_hz))
    assert whole.dtype == np.float32
    assert whole.flags.c_contiguous


@pytest.mark.parametrize(("from_hz", "to_hz"), [(44100, 48000), (96000, 44100), (8000, 48000)])
def test_a_sine_stays_where_it_was(from_hz, to_hz):
    n = from_hz
    sine = np.sin(2 * np.pi * 1000 * np.arange(n) / from_hz).astype(np.float32)[None]
    out = in_blocks(sine, [1000], from_hz=from_hz, to_hz=to_hz)[0]
    expected = np.sin(2 * np.pi * 1000 * np.arange(len(out)) / to_hz)
    middle = slice(len(out) // 10, -len(out) // 10)
    assert np.abs(out[middle] - expected[middle]).max() < 1e-4


def test_nothing_above_the_new_nyquist_gets_through():
    sine = np.sin(2 * np.pi * 21_000 * np.arange(44100) / 44100).astype(np.float32)[None]
    out = in_blocks(sine, [5000], from_hz=44100, to_hz=16000)
    assert np.abs(out[:, 2000:-2000]).max() < 1e-6


def test_length_is_rounded_halves_up():
    assert [resampled_length(n, from_hz=2, to_hz=1) for n in range(6)] == [0, 1, 1, 2, 2, 3]
    assert resampled_length(44117, from_hz=44100, to_hz=48000) == 48019


def test_equal_rates_pass_through(noise):
    audio = noise(2, 100)
    assert Resampler(2, from_hz=44100, to_hz=44100).process(audio) is audio


def test_misuse():
    for bad in ((0, 1, 1), (1, 0, 1), (1, 1, 0)):
        with pytest.raises(AudioError):
            Resampler(bad[0], from_hz=bad[1], to_hz=bad[2])
    resampler = Resampler(2, from_hz=44100, to_hz=48000)
    with pytest.raises(AudioError, match=r"\(1, 5\)"):
        resampler.process(np.zeros((1, 5), np.float32))
    resampler.process(np.zeros((2, 5), np.float32), last=True)
    with pytest.raises(AudioError, match="last"):
        resampler.process(np.zeros((2, 5), np.float32))
