"""BSSEval v4: by hand, in blocks of any size, in silence, in the same memory for any length."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.small_models import song
from viso.metrics import BssScores, bss_eval, bss_eval_blocks
from viso.metrics.blocks import windows_of
from viso.metrics.projection import correlations, fast_length, filters, gram

Floats = npt.NDArray[np.float32]
RATE_HZ = 1000


def pair(n_channels: int = 2, n_samples: int = 3500) -> tuple[Floats, Floats]:
    """Two sources and flawed estimates of them."""
    references = np.stack([song(n_channels, n_samples, seed=seed) for seed in (1, 2)])
    noise = np.stack([song(n_channels, n_samples, seed=seed) for seed in (3, 4)])
    estimates = references + 0.3 * references[::-1] + 0.1 * noise
    estimates[:, :, 3:] += 0.2 * references[:, :, :-3]
    return references, estimates


def assert_equal(first: BssScores, second: BssScores) -> None:
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_four_ratios_by_hand() -> None:
    one, two, three = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1.0]])
    references = np.array([[one], [2 * two]])
    estimates = np.array([[0.5 * one + 0.25 * two + 0.125 * three], [2 * two]])
    scores = bss_eval(references, estimates, rate_hz=4, taps=1)
    expected = [1 / (0.25 + 0.0625 + 0.015625), 1 / 0.25, 0.25 / 0.0625, 0.3125 / 0.015625]
    assert [10 ** (score[0, 0] / 10) for score in scores] == pytest.approx(expected)
    assert scores.sdr[1, 0] == math.inf
    assert all(score[1, 0] > 250 for score in scores)


def test_what_filters_can_make_is_no_artefact() -> None:
    references, _ = pair(1)
    references[:, :, -6:] = 0
    estimates = np.zeros_like(references)
    estimates[:, :, 6:] = references[:, :, :-6]
    reach = bss_eval(references, estimates, rate_hz=RATE_HZ, window_s=math.inf, taps=7)
    short = bss_eval(references, estimates, rate_hz=RATE_HZ, window_s=math.inf, taps=6)
    assert reach.sar.min() > 150
    assert reach.sir.min() > 150
    assert short.sar.max() < 5
    assert reach.isr.max() < 5


def test_swapped_channels_are_a_spatial_fault_alone() -> None:
    references, _ = pair(2)
    scores = bss_eval(references, references[:, ::-1], rate_hz=RATE_HZ, taps=4)
    assert scores.isr.max() < 5
    assert scores.sir.min() > 150
    assert scores.sar.min() > 150


def test_a_single_source_has_no_interference() -> None:
    references, estimates = pair()
    scores = bss_eval(references[:1], estimates[:1], rate_hz=RATE_HZ, taps=8)
    assert (scores.sir == math.inf).all()
    assert np.isfinite(scores.sar).all()


def test_filters_by_least_squares() -> None:
    """Against the normal equations' own definition: delayed copies in a matrix."""
    references, estimates = pair(2, 300)
    taps = 9
    both = np.stack([references, estimates]).astype(np.float64)
    correlated, n_samples = correlations([both], taps=taps)
    assert n_samples == 300
    rows = correlated.reshape(2, 4, 4, taps)
    padded = np.pad(both.reshape(2, 4, 300), ((0, 0), (0, 0), (0, taps - 1)))
    delayed = np.stack([np.roll(padded[0], k, axis=1) for k in range(taps)], axis=1)
    design = delayed.reshape(4 * taps, -1).T
    np.testing.assert_allclose(gram(rows[0]), design.T @ design, atol=1e-12)
    expected = np.linalg.lstsq(design, padded[1].T, rcond=None)[0]
    found = filters(rows[0], rows[1])
    np.testing.assert_allclose(found.transpose(0, 2, 1).reshape(-1, 4), expected, atol=1e-9)


def test_equations_that_rounding_makes_singular() -> None:
    same = np.full((1, 1, 2), 1e3)
    found = filters(same, same)
    assert found.shape == (1, 1, 2)
    assert found.sum() == pytest.approx(1)


@given(cuts=st.lists(st.integers(0, 3500), max_size=8))
@settings(max_examples=20, deadline=None)
def test_blocks_of_any_size_give_the_same_bits(cuts: list[int]) -> None:
    references, estimates = pair()
    references[1, :, 1000:2000] = 0
    edges = [0, *sorted(cuts), 3500]

    def blocks() -> Iterator[tuple[Floats, Floats]]:
        for first, last in itertools.pairwise(edges):
            yield references[:, :, first:last], estimates[:, :, first:last]

    found = bss_eval_blocks(blocks, rate_hz=RATE_HZ, taps=16)
    assert_equal(found, bss_eval(references, estimates, rate_hz=RATE_HZ, taps=16))


def test_blocks_of_a_sample() -> None:
    references, estimates = pair(1, 1700)

    def blocks() -> Iterator[tuple[Floats, Floats]]:
        for n in range(1700):
            yield references[:, :, n : n + 1], estimates[:, :, n : n + 1]

    found = bss_eval_blocks(blocks, rate_hz=RATE_HZ, taps=16)
    assert_equal(found, bss_eval(references, estimates, rate_hz=RATE_HZ, taps=16))


@given(
    n=st.integers(1, 60),
    size=st.integers(1, 20),
    hop=st.integers(1, 30),
    step=st.integers(1, 25),
)
@settings(deadline=None)
def test_windows_are_slices(n: int, size: int, hop: int, step: int) -> None:
    signal = np.arange(1.0, n + 1)[None]
    blocks = [signal[:, first : first + step] for first in range(0, n, step)]
    found = [window.copy() for window in windows_of(blocks, size=size, hop=hop)]
    expected = [signal[:, first : first + size] for first in range(0, n - size + 1, hop)]
    assert len(found) == len(expected)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_overlapping_windows_hold_those_that_do_not_overlap() -> None:
    references, estimates = pair(2, 5300)
    apart = bss_eval(references, estimates, rate_hz=RATE_HZ, taps=8)
    overlapping = bss_eval(references, estimates, rate_hz=RATE_HZ, hop_s=0.25, taps=8)
    assert overlapping.sdr.shape == (2, 18)
    assert_equal(apart, BssScores(*(score[:, ::4] for score in overlapping)))


@given(exponent=st.integers(-4, 20))
@settings(max_examples=10, deadline=None)
def test_levels_do_not_matter(exponent: int) -> None:
    references, estimates = (2 * x for x in pair())
    gain = np.float32(2.0**exponent)
    found = bss_eval(gain * references, gain * estimates, rate_hz=RATE_HZ, taps=16)
    plain = bss_eval(references, estimates, rate_hz=RATE_HZ, taps=16)
    for a, b in zip(found, plain, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_two_equal_channels_score_as_one() -> None:
    references, estimates = pair(1)
    once = bss_eval(references, estimates, rate_hz=RATE_HZ, taps=16)
    twice = bss_eval(
        np.repeat(references, 2, axis=1), np.repeat(estimates, 2, axis=1), rate_hz=RATE_HZ, taps=16
    )
    for a, b in zip(once, twice, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_channel_that_mixes_the_others_changes_no_filter() -> None:
    rows = np.random.default_rng(0).standard_normal((2, 1, 3, 500))
    rows[0, 0, 2] = rows[0, 0, 0] - 0.3 * rows[0, 0, 1]
    correlated, _ = correlations([rows], taps=5)
    auto, cross = correlated[:, 0, :, 0]
    found = filters(auto, cross)
    assert not found[2].any()
    np.testing.assert_array_equal(found[:2], filters(auto[:2, :2], cross[:, :2]))


def test_silence_is_undefined_for_all_sources() -> None:
    references, estimates = pair(2, 4000)
    references[0, :, :1000] = 0
    estimates[1, :, 2000:3000] = 0
    scores = bss_eval(references, estimates, rate_hz=RATE_HZ, taps=8)
    for score in scores:
        assert np.isnan(score).tolist() == [[True, False, True, False]] * 2
    medians = scores.medians()
    assert medians.sdr == pytest.approx(np.nanmedian(scores.sdr, axis=1))
    assert medians.sar.shape == (2,)


@pytest.mark.parametrize("which", [0, 1])
def test_a_source_that_is_never_heard(which: int) -> None:
    arrays = pair()
    arrays[which][0] = 0
    scores = bss_eval(*arrays, rate_hz=RATE_HZ, taps=8)
    assert all(np.isnan(score).all() for score in scores)
    assert np.isnan(scores.medians().isr).all()


def test_a_song_shorter_than_a_window_is_one_window() -> None:
    references, estimates = pair(2, 700)
    scores = bss_eval(references, estimates, rate_hz=RATE_HZ, taps=8)
    assert scores.sdr.shape == (2, 1)
    assert np.isfinite(scores.sdr).all()


def test_the_arrays_are_not_changed() -> None:
    arrays = pair()
    for array in arrays:
        array.setflags(write=False)
    bss_eval(*arrays, rate_hz=RATE_HZ, taps=8)


def test_memory_does_not_grow_with_the_song() -> None:
    noise = np.random.default_rng(0).standard_normal((2, 2, 2, 4000)).astype(np.float32)

    def peak(n_blocks: int) -> int:
        def blocks() -> Iterator[tuple[Floats, Floats]]:
            for _ in range(n_blocks):
                yield noise[0], noise[0] + noise[1]

        tracemalloc.start()
        scores = bss_eval_blocks(blocks, rate_hz=8000, taps=32)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert scores.sdr.shape == (2, n_blocks // 2)
        return found

    assert peak(160) < 1.05 * peak(16)


def test_what_makes_no_sense_is_refused() -> None:
    references, estimates = pair()
    with pytest.raises(ValueError, match="estimates"):
        bss_eval(references, estimates[:, :1], rate_hz=RATE_HZ)
    with pytest.raises(ValueError, match="sources, channels, samples"):
        bss_eval(references[0], estimates[0], rate_hz=RATE_HZ)
    with pytest.raises(ValueError, match="no samples"):
        bss_eval(references[:, :, :0], estimates[:, :, :0], rate_hz=RATE_HZ)
    with pytest.raises(ValueError, match="taps: 0"):
        bss_eval(references, estimates, rate_hz=RATE_HZ, taps=0)
    for name in ("window_s", "hop_s"):
        with pytest.raises(ValueError, match=f"{name}: 0"):
            bss_eval(references, estimates, rate_hz=RATE_HZ, **{name: 0.0})
        with pytest.raises(ValueError, match=f"{name}: nan"):
            bss_eval(references, estimates, rate_hz=RATE_HZ, **{name: math.nan})
    estimates[1, 0, 77] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        bss_eval(references, estimates, rate_hz=RATE_HZ, taps=8)


def test_a_second_pass_that_differs_is_refused() -> None:
    references, estimates = pair()
    once = iter([(references, estimates)])
    with pytest.raises(ValueError, match="0 windows in the second pass, 3 in the first"):
        bss_eval_blocks(lambda: once, rate_hz=RATE_HZ, taps=8)
    passes = iter([(references, estimates), (references[:, :1], estimates[:, :1])])
    with pytest.raises(ValueError, match="second pass"):
        bss_eval_blocks(lambda: [next(passes)], rate_hz=RATE_HZ, taps=8)
    with pytest.raises(ValueError, match="after"):
        bss_eval_blocks(
            lambda: [(references, estimates), (references[:1], estimates[:1])],
            rate_hz=RATE_HZ,
            taps=8,
        )


@pytest.mark.parametrize(("n", "expected"), [(1, 2), (11, 12), (22, 24), (44_611, 44_800)])
def test_fast_lengths(n: int, expected: int) -> None:
    assert fast_length(n) == expected
