"""The transform: same numbers as torch, exact inverse, any portions, silence stays silence."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viso.dsp.stft import Analysis, SpectralConfig, Synthesis, istft, stft
from viso.errors import ConfigError

CONFIGS = [
    SpectralConfig(n_fft=4096, hop=1024),
    SpectralConfig(n_fft=6144, hop=1024),
    SpectralConfig(n_fft=512, hop=128),
    SpectralConfig(n_fft=600, hop=200),
    SpectralConfig(n_fft=4096, hop=256, window=1024),
    SpectralConfig(n_fft=600, hop=100, window=302),
    SpectralConfig(n_fft=4096, hop=1024, window_type="rectangular"),
    SpectralConfig(n_fft=600, hop=100, window=302, window_type="rectangular"),
]


def label(config: SpectralConfig) -> str:
    return f"{config.n_fft}/{config.hop}/{config.window_length}/{config.window_type}"


WINDOWS = {
    "hann": lambda torch, length: torch.hann_window(length),
    "rectangular": lambda torch, length: torch.ones(length),
}


def noise(n_channels: int, n_samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n_channels, n_samples), np.float32)


@pytest.mark.parametrize("config", CONFIGS, ids=label)
@pytest.mark.parametrize("n_samples", [1, 127, 1000, 4096, 44_117])
def test_equals_torch(config: SpectralConfig, n_samples: int) -> None:
    torch = pytest.importorskip("torch")
    audio = noise(2, n_samples)
    expected = torch.stft(
        torch.from_numpy(audio),
        config.n_fft,
        config.hop,
        config.window_length,
        window=WINDOWS[config.window_type](torch, config.window_length),
        center=True,
        pad_mode="constant",
        return_complex=True,
    ).numpy()
    found = stft(audio, config=config)
    assert found.shape == expected.shape
    assert found.dtype == np.complex64
    assert np.abs(found - expected).max() <= 2e-6 * np.abs(expected).max()


@pytest.mark.parametrize("config", CONFIGS, ids=label)
@pytest.mark.parametrize("level", [1e-6, 1.0, 1e4])
@pytest.mark.parametrize("n_samples", [1, 200, 4095, 30_011])
def test_inverse_is_exact(config: SpectralConfig, level: float, n_samples: int) -> None:
    audio = noise(2, n_samples) * np.float32(level)
    back = istft(stft(audio, config=config), config=config, n_samples=n_samples)
    assert back.shape == audio.shape
    assert back.dtype == np.float32
    assert np.abs(back - audio).max() <= 1e-5 * np.abs(audio).max()


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 3000), max_size=8), n_channels=st.integers(1, 3))
def test_any_portions_give_the_same(cuts: list[int], n_channels: int) -> None:
    config = SpectralConfig(n_fft=512, hop=128)
    audio = noise(n_channels, 3000)
    places = [0, *sorted(cuts), 3000]
    analysis = Analysis(config, n_channels=n_channels)
    parts = [analysis.push(audio[:, a:b]) for a, b in itertools.pairwise(places)]
    frames = np.concatenate([*parts, analysis.finish()], axis=2)
    assert np.allclose(frames, stft(audio, config=config), rtol=1e-5, atol=1e-5)
    synthesis = Synthesis(config, n_channels=n_channels)
    borders = [0, *sorted(cut % frames.shape[2] for cut in cuts), frames.shape[2]]
    samples = [synthesis.push(frames[:, :, a:b]) for a, b in itertools.pairwise(borders)]
    back = np.concatenate([*samples, synthesis.finish(3000)], axis=1)
    assert np.abs(back - audio).max() < 1e-5


def test_silence_stays_silence() -> None:
    config = CONFIGS[0]
    silence = np.zeros((2, 5000), np.float32)
    assert not stft(silence, config=config).any()
    assert not istft(stft(silence, config=config), config=config, n_samples=5000).any()


def test_input_is_not_changed() -> None:
    audio = noise(1, 2000)
    before = audio.copy()
    frames = stft(audio, config=CONFIGS[2])
    kept = frames.copy()
    istft(frames, config=CONFIGS[2], n_samples=2000)
    assert np.array_equal(audio, before)
    assert np.array_equal(frames, kept)


@pytest.mark.parametrize(("n_fft", "hop"), [(1024, 512), (1023, 100), (1024, 0), (4, 1)])
def test_impossible_settings_are_refused(n_fft: int, hop: int) -> None:
    with pytest.raises(ConfigError, match=r"n_fft|hop"):
        SpectralConfig.from_mapping({"n_fft": n_fft, "hop": hop}, origin="test")
