"""The multichannel Wiener filter: the reference implementation's figures, and laws of its own."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.checkout import ROOT
from helpers.small_models import song
from viso.audio import read
from viso.dsp import masking
from viso.dsp.stft import SpectralConfig, stft
from viso.dsp.wiener import expectation_maximisation

with warnings.catch_warnings():
    # It imports a name of SciPy from where that will not stay.
    warnings.simplefilter("ignore", DeprecationWarning)
    import norbert

Array = npt.NDArray[Any]
CONFIG = SpectralConfig(rate_hz=44_100, n_fft=1024, hop=256)


def wiener(magnitudes: Array, mixture: Array, *, iterations: int = 1) -> Array:
    """Filter estimates that ratio masks of these magnitudes give."""
    total = np.finfo(np.float64).eps + magnitudes.sum(axis=0, dtype=np.float64)
    estimates = np.asarray(magnitudes / total * mixture, mixture.dtype)
    return expectation_maximisation(estimates, mixture, iterations=iterations)


def by_norbert(magnitudes: Array, mixture: Array, iterations: int, **how: bool) -> Array:
    """Its axes are frames, bins, channels, sources, and it changes the mixture that it is given."""
    x = np.array(mixture.transpose(2, 1, 0), np.complex128)
    v = np.array(magnitudes.transpose(3, 2, 1, 0), np.float64)
    return norbert.wiener(v, x, iterations, **how).transpose(3, 2, 1, 0)


def noise(*shape: int, seed: int = 0) -> Array:
    random = np.random.default_rng(seed)
    return random.standard_normal(shape) + 1j * random.standard_normal(shape)


def difference(found: Array, expected: Array, mixture: Array) -> float:
    """Relative to the loudest bin of the mixture."""
    return float(np.abs(found - expected).max() / np.abs(mixture).max())


def record(seed: int = 0, n_samples: int = 60_000) -> tuple[Array, Array]:
    """Mixture and magnitudes of two sources as music has them.

    A tone with harmonics in the middle with some room around it, against a wider sound.
    """
    t = np.arange(n_samples) / 44_100
    tone = sum(np.sin(2 * np.pi * 220 * k * t + k) / k for k in range(1, 30)) * np.hanning(len(t))
    voice = np.stack([0.3 * tone, 0.27 * tone]) + 0.02 * song(2, n_samples, seed=seed)
    music = song(2, n_samples, seed=seed + 1, level=0.5)
    music[1] = 0.6 * music[0] + 0.4 * music[1]
    spectra = np.stack([stft(s.astype(np.float32), config=CONFIG) for s in (voice, music)])
    guess = np.abs(spectra) * np.random.default_rng(seed).uniform(0.5, 1.5, spectra.shape)
    return spectra.sum(axis=0), guess


# The reference implementation


@given(
    n_sources=st.integers(1, 4),
    n_channels=st.integers(1, 3),
    n_bins=st.integers(1, 9),
    n_frames=st.integers(10, 40),
    iterations=st.integers(0, 3),
    exponent=st.integers(-12, 12),
    is_shared=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=150)
def test_as_norbert_on_noise(
    n_sources: int,
    n_channels: int,
    n_bins: int,
    n_frames: int,
    iterations: int,
    exponent: int,
    is_shared: bool,
    seed: int,
) -> None:
    shape = n_channels, n_bins, n_frames
    mixture = 10.0**exponent * noise(*shape, seed=seed)
    magnitudes = np.random.default_rng(seed).random((n_sources, *shape)) ** 4
    magnitudes *= 10.0**exponent
    if is_shared:
        magnitudes = magnitudes[:, :1]
    found = wiener(magnitudes, mixture, iterations=iterations)
    assert found.shape == (n_sources, *shape)
    assert found.dtype == np.complex128
    assert difference(found, by_norbert(magnitudes, mixture, iterations), mixture) < 1e-6


@pytest.mark.parametrize("iterations", [1, 2, 3])
@pytest.mark.parametrize("seed", [0, 10])
def test_as_norbert_on_what_sounds_like_music(iterations: int, seed: int) -> None:
    mixture, magnitudes = record(seed)
    expected = by_norbert(magnitudes, mixture, iterations)
    wide = wiener(magnitudes, mixture.astype(np.complex128), iterations=iterations)
    assert difference(wide, expected, mixture) < 1e-6
    found = wiener(magnitudes, mixture, iterations=iterations)
    assert found.dtype == np.complex64
    assert difference(found, expected, mixture) < 1e-6


@pytest.mark.parametrize("iterations", [1, 2])
def test_as_norbert_on_a_song(iterations: int) -> None:
    samples, _ = read(ROOT / "examples" / "demo.mp3")
    mixture = stft(samples[:, 200_000:330_000], config=CONFIG).astype(np.complex128)
    middle = np.abs(mixture.sum(axis=0)) / 2
    sides = np.abs(mixture[0] - mixture[1]) / 2
    magnitudes = np.stack([middle, sides])[:, None]
    expected = by_norbert(magnitudes, mixture, iterations)
    assert difference(wiener(magnitudes, mixture, iterations=iterations), expected, mixture) < 1e-6


def test_as_norbert_from_magnitudes_with_the_phase_of_the_mixture() -> None:
    mixture, magnitudes = record()
    estimates = (magnitudes * np.exp(1j * np.angle(mixture))).astype(np.complex128)
    found = expectation_maximisation(estimates, mixture.astype(np.complex128), iterations=2)
    expected = by_norbert(magnitudes, mixture, 2, use_softmask=False)
    assert difference(found, expected, mixture) < 1e-6


def test_ratio_masks_without_an_iteration() -> None:
    mixture, magnitudes = record()
    found = wiener(magnitudes, mixture, iterations=0)
    mask = masking.ratio_mask(magnitudes[0], magnitudes[1])
    np.testing.assert_allclose(found[0], mask * mixture, rtol=1e-5, atol=1e-5)


# Laws


@given(
    n_sources=st.integers(1, 3),
    n_channels=st.integers(1, 3),
    iterations=st.integers(1, 3),
    exponent=st.integers(2, 30),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=50)
def test_sources_add_up_and_loudness_does_not_matter(
    n_sources: int, n_channels: int, iterations: int, exponent: int, seed: int
) -> None:
    mixture = 100 * noise(n_channels, 9, 30, seed=seed).astype(np.complex64)
    shares = np.random.default_rng(seed).dirichlet(np.ones(n_sources), mixture.shape)
    estimates = (np.moveaxis(shares, -1, 0) * mixture).astype(np.complex64)
    found = expectation_maximisation(estimates, mixture, iterations=iterations)
    assert difference(found.sum(axis=0), mixture, mixture) < 1e-5
    gain = np.float32(2.0**exponent)
    louder = expectation_maximisation(gain * estimates, gain * mixture, iterations=iterations)
    # To the last bit, but for what is so small that float32 has fewer bits for it.
    smallest = gain * np.finfo(np.float32).smallest_subnormal
    np.testing.assert_allclose(louder.real, gain * found.real, rtol=0, atol=smallest)
    np.testing.assert_allclose(louder.imag, gain * found.imag, rtol=0, atol=smallest)


def test_no_order_matters() -> None:
    mixture, magnitudes = record()
    found = wiener(magnitudes, mixture)
    others = wiener(magnitudes[::-1], mixture)[::-1]
    assert difference(others, found, mixture) < 1e-6
    sides = wiener(magnitudes[:, ::-1], mixture[::-1])[:, ::-1]
    assert difference(sides, found, mixture) < 1e-6
    bins = wiener(magnitudes[:, :, ::-1], mixture[:, ::-1])[:, :, ::-1]
    assert difference(bins, found, mixture) < 1e-6
    frames = wiener(magnitudes[..., ::-1], mixture[..., ::-1])[..., ::-1]
    assert difference(frames, found, mixture) < 1e-6


def test_one_channel_gives_the_power_ratio() -> None:
    mixture, magnitudes = record()
    one, powers = mixture[:1].astype(np.complex128), magnitudes[:, :1] ** 2
    found = wiener(magnitudes[:, :1], one)
    assert difference(found[0], powers[0] / powers.sum(axis=0) * one, one) < 1e-5


def test_twice_the_same_channel_gives_what_one_gives() -> None:
    """R and the covariance of the mixture have no inverse then, but for the floor."""
    mixture, magnitudes = record()
    one = wiener(magnitudes[:, :1], mixture[:1], iterations=2)
    both = wiener(magnitudes[:, [0, 0]], mixture[[0, 0]].astype(np.complex128), iterations=2)
    # The floor is half as high for two channels, which is 98 dB below the loudest bin.
    for channel in (0, 1):
        assert difference(both[:, channel], one[:, 0], mixture) < 1e-5


def test_sources_in_two_places_are_found_whole() -> None:
    """Estimates that are only right in the mean are enough to learn where the sources stand."""
    places = np.array([[1, 0.2], [0.3, 1]])
    sources = noise(2, 9, 4000)
    images = places[:, :, None, None] * sources[:, None]
    # In a frame one source is louder than the other, and the estimate knows it roughly.
    levels = np.where(np.arange(4000) // 50 % 2, 1.0, 0.05)
    images *= np.stack([levels, 1.05 - levels])[:, None, None]
    mixture = images.sum(axis=0)
    magnitudes = np.stack([levels, 1.05 - levels])[:, None, None] * np.ones(mixture.shape)
    errors = [
        np.abs(wiener(magnitudes, mixture, iterations=n)[0] - images[0]).mean() for n in (0, 1, 5)
    ]
    assert errors[1] < errors[0] / 2
    assert errors[2] < errors[1]


@pytest.mark.parametrize("n_channels", [1, 2, 3])
def test_silence_stays_silent(n_channels: int) -> None:
    nothing = np.zeros((n_channels, 5, 8), np.complex64)
    assert not wiener(np.zeros((2, *nothing.shape)), nothing, iterations=2).any()
    sound = 50 * noise(n_channels, 5, 8)
    sound[:, 2] = 0
    magnitudes = np.stack([np.abs(sound), np.zeros(sound.shape)])
    found = wiener(magnitudes, sound, iterations=2)
    assert np.isfinite(found).all()
    assert not found[1].any()
    assert not found[:, :, 2].any()
    assert difference(found[0], sound, sound) < 1e-6


@pytest.mark.parametrize("shape", [(2, 0, 5), (2, 5, 0), (2, 1, 1)])
def test_hardly_anything(shape: tuple[int, ...]) -> None:
    assert wiener(np.ones((2, *shape)), np.ones(shape, np.complex64)).shape == (2, *shape)


def test_only_the_first_sources() -> None:
    mixture, magnitudes = record()
    estimates = (magnitudes / magnitudes.sum(axis=0) * mixture).astype(np.complex64)
    found = expectation_maximisation(estimates, mixture, iterations=2, n_wanted=1)
    assert found.shape == (1, *mixture.shape)
    np.testing.assert_array_equal(
        found, expectation_maximisation(estimates, mixture, iterations=2)[:1]
    )


def test_the_loudest_bin_may_be_said() -> None:
    """Bins of which the whole is split up are filtered as the whole is."""
    mixture, magnitudes = record()
    estimates = (magnitudes / magnitudes.sum(axis=0) * mixture).astype(np.complex64)
    whole = expectation_maximisation(estimates, mixture)
    loudest = float(np.abs(mixture).max())
    parts = [
        expectation_maximisation(
            estimates[:, :, first : first + 100], mixture[:, first : first + 100], loudest=loudest
        )
        for first in range(0, mixture.shape[1], 100)
    ]
    assert difference(np.concatenate(parts, axis=2), whole, mixture) < 1e-6


def test_the_arrays_are_not_changed() -> None:
    mixture, magnitudes = record()
    estimates = (magnitudes / magnitudes.sum(axis=0) * mixture).astype(np.complex64)
    for array in (mixture, magnitudes, estimates):
        array.setflags(write=False)
    wiener(magnitudes, mixture, iterations=2)
    expectation_maximisation(estimates, mixture, iterations=2)
