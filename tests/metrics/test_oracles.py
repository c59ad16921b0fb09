"""The multichannel Wiener oracle: what it must give whatever the sound is."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.small_models import SMALL, song
from viso.dsp.masking import binary_mask, ratio_mask
from viso.dsp.stft import istft, stft
from viso.metrics import oracle, oracle_wiener, usdr

Floats = npt.NDArray[np.float32]


def test_ideal_masks_of_all_kinds() -> None:
    vocals, music = song(2, 9000, seed=1), song(2, 9000, seed=2)
    scores = {
        name: usdr(vocals, oracle(vocals, music, config=SMALL, mask_of=mask_of))
        for name, mask_of in {
            "binary": binary_mask,
            "magnitude": ratio_mask,
            "power": partial(ratio_mask, power=2),
        }.items()
    }
    assert min(scores.values()) > usdr(vocals, vocals + music) + 3
    assert len(set(scores.values())) == 3


def test_one_channel_gives_the_ratio_mask_of_power_two() -> None:
    vocals, music = song(1, 9000, seed=1), song(1, 9000, seed=2)
    found = oracle_wiener(vocals, music, config=SMALL)
    expected = oracle(vocals, music, config=SMALL, mask_of=partial(ratio_mask, power=2))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_by_the_formula() -> None:
    vocals, music = song(3, 5000, seed=1), song(3, 5000, seed=2)
    spectra = [stft(x, config=SMALL).astype(np.complex128) for x in (vocals, music)]
    powers = [np.mean(np.abs(s) ** 2, axis=0) for s in spectra]
    places = [
        np.einsum("aft,bft->fab", s, s.conj()) / v.sum(axis=1)[:, None, None]
        for s, v in zip(spectra, powers, strict=True)
    ]
    parts = [
        v[:, :, None, None] * r[:, None] for v, r in zip(powers, places, strict=True)
    ]  # [bins, frames, channels, channels]
    mixture = (spectra[0] + spectra[1]).transpose(1, 2, 0)[..., None]
    filtered = parts[0] @ np.linalg.solve(parts[0] + parts[1], mixture)
    frames = filtered[..., 0].transpose(2, 0, 1).astype(np.complex64)
    expected = istft(frames, config=SMALL, n_samples=5000)
    np.testing.assert_allclose(oracle_wiener(vocals, music, config=SMALL), expected, atol=1e-6)


def panned(sound: Floats, left: float, right: float) -> Floats:
    return (sound * np.array([[left], [right]])).astype(np.float32)


@pytest.mark.parametrize("places", [((1, 0), (0, 1)), ((1, 0.5), (0.2, 1)), ((1, 1), (1, -1))])
def test_two_mono_sources_in_different_places_are_found_whole(
    places: tuple[tuple[float, float], tuple[float, float]],
) -> None:
    vocals, music = (panned(song(1, 9000, seed=seed), *place) for seed, place in enumerate(places))
    assert usdr(vocals, oracle_wiener(vocals, music, config=SMALL)) > 60


def test_two_mono_sources_in_one_place_are_masked() -> None:
    vocals, music = (panned(song(1, 9000, seed=seed), 1, 1) for seed in (1, 2))
    found = oracle_wiener(vocals, music, config=SMALL)
    expected = oracle(vocals, music, config=SMALL, mask_of=partial(ratio_mask, power=2))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_places_help() -> None:
    vocals = panned(song(1, 20_000, seed=1), 1, 0.7) + 0.1 * song(2, 20_000, seed=3)
    music = panned(song(1, 20_000, seed=2), 0.4, 1) + 0.3 * song(2, 20_000, seed=4)
    masked = oracle(vocals, music, config=SMALL, mask_of=partial(ratio_mask, power=2))
    found = usdr(vocals, oracle_wiener(vocals, music, config=SMALL))
    assert found > usdr(vocals, masked) + 3


@given(
    n_channels=st.integers(1, 4),
    n_samples=st.integers(600, 4000),
    exponent=st.integers(-30, 30),
    seed=st.integers(0, 9),
)
@settings(deadline=None, max_examples=25)
def test_both_sources_add_up_at_any_level(
    n_channels: int, n_samples: int, exponent: int, seed: int
) -> None:
    gain = np.float32(2.0**exponent)
    vocals, music = (gain * song(n_channels, n_samples, seed=seed + k) for k in (0, 50))
    found = oracle_wiener(vocals, music, config=SMALL)
    other = oracle_wiener(music, vocals, config=SMALL)
    assert found.dtype == np.float32
    assert found.shape == vocals.shape
    np.testing.assert_allclose(found + other, vocals + music, atol=1e-6 * float(gain))
    plain = oracle_wiener(vocals / gain, music / gain, config=SMALL)
    np.testing.assert_allclose(found, gain * plain, atol=1e-6 * float(gain))


def test_silence() -> None:
    sound, silence = song(2, 3000), np.zeros((2, 3000), np.float32)
    np.testing.assert_allclose(oracle_wiener(sound, silence, config=SMALL), sound, atol=1e-6)
    assert not oracle_wiener(silence, sound, config=SMALL).any()
    assert not oracle_wiener(silence, silence, config=SMALL).any()


def test_the_arrays_are_not_changed() -> None:
    vocals, music = song(2, 3000, seed=1), song(2, 3000, seed=2)
    for array in (vocals, music):
        array.setflags(write=False)
    oracle_wiener(vocals, music, config=SMALL)
