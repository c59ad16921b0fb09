"""Masks and the split that loses nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from viso.dsp.masking import binary_mask, joint_gain, ratio_mask, split


def test_ratio_mask_by_hand() -> None:
    target, other = np.array([3.0, 0.0, 0.0, 1j]), np.array([1.0, 2.0, 0.0, -1.0])
    assert np.allclose(ratio_mask(target, other), [0.75, 0.0, 0.5, 0.5])
    assert np.allclose(ratio_mask(target, other, power=2), [0.9, 0.0, 0.5, 0.5])


@pytest.mark.parametrize("level", [1e-20, 1.0, 1e15])
def test_ratio_masks_of_both_sources_sum_to_one(level: float) -> None:
    random = np.random.default_rng(0)
    a, b = (random.standard_normal((2, 9, 7)) * level for _ in range(2))
    assert np.allclose(ratio_mask(a, b) + ratio_mask(b, a), 1.0, atol=1e-6)


def test_binary_mask_by_hand() -> None:
    mask = binary_mask(np.array([2j, 1.0, 0.0]), np.array([1.0, -2.0, 0.0]))
    assert mask.tolist() == [1.0, 0.0, 0.0]
    assert mask.dtype == np.float32


whole_24 = st.integers(-(2**23) + 1, 2**23 - 1)
samples = st.floats(-1, 1, width=32)
loud = st.floats(-1e4, 1e4, width=32)


@settings(max_examples=200)
@given(x=arrays(np.int64, 16, elements=whole_24), v=arrays(np.float32, 16, elements=samples))
def test_split_is_exact_on_24_bits(x: np.ndarray, v: np.ndarray) -> None:
    mixture = (x / 2**23).astype(np.float32)
    vocals, instrumental = split(mixture, v)
    assert np.array_equal(vocals + instrumental, mixture)
    assert np.array_equal(vocals.astype(np.float64) + instrumental, mixture.astype(np.float64))
    assert np.abs(vocals - v).max() <= 2.0**-23


@settings(max_examples=200)
@given(
    x=arrays(np.float32, 16, elements=loud),
    share=arrays(np.float32, 16, elements=st.floats(-1, 1, width=32)),
)
def test_split_is_exact_where_vocals_are_below_the_mixture(
    x: np.ndarray, share: np.ndarray
) -> None:
    x = np.where(np.abs(x) < 1e-30, np.float32(0), x)
    vocals, instrumental = split(x, x * share)
    assert np.array_equal(vocals + instrumental, x)


@settings(max_examples=200)
@given(x=arrays(np.float32, 16, elements=loud), v=arrays(np.float32, 16, elements=loud))
def test_split_of_anything_is_within_a_rounding(x: np.ndarray, v: np.ndarray) -> None:
    vocals, instrumental = split(x, v)
    largest = np.maximum(np.abs(vocals), np.abs(instrumental)).astype(np.float64)
    error = np.abs(vocals.astype(np.float64) + instrumental - x)
    assert (error <= largest * 2.0**-24 + 1e-44).all()


@pytest.mark.parametrize("bits", [16, 24])
@pytest.mark.parametrize(
    ("low", "high"), [(0, 0), (-0.5, 0.3), (-1.0, 0.9), (-0.2, 1.0), (-1.7, 1.0), (0, 40.0)]
)
def test_joint_gain_fits_the_format_and_no_more(low: float, high: float, bits: int) -> None:
    gain = joint_gain(low, high, bits=bits)
    steps = 2 ** (bits - 1)
    assert gain <= 1.0
    assert round(high * gain * steps) <= steps - 1
    assert round(low * gain * steps) >= -steps
    if gain < 1:
        assert round(max(high, -low) * gain * steps) == steps - 2
        assert high > 1 - 1 / steps or low < -1
