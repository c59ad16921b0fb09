"""The loudness meter: figures of pyloudnorm, silence, short sounds."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pyloudnorm
import pytest

from helpers.small_models import song
from viso.dsp.loudness import LoudnessMeter, integrated_loudness

Floats = npt.NDArray[np.float32]


def passages(rate_hz: int) -> tuple[Floats, Floats]:
    """Loud and quiet passages, so that both gates have something to do; a hum below 50 Hz."""
    random = np.random.default_rng(rate_hz)
    envelope = np.repeat([1.0, 0.1, 0.001, 0.0, 0.5], rate_hz)
    hum = np.sin(2 * np.pi * 45 * np.arange(len(envelope)) / rate_hz)
    noise = (0.2 * random.standard_normal((2, len(envelope))) * envelope).astype(np.float32)
    return noise, np.stack([0.3 * hum, 0.1 * hum]).astype(np.float32)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000, 96_000])
def test_loudness_is_that_of_the_standard(rate_hz: int) -> None:
    noise, hum = passages(rate_hz)
    signals = np.stack([noise + hum, noise, hum])
    meter = LoudnessMeter(rate_hz=rate_hz, n_channels=2, n_signals=3)
    for start_sample in range(0, signals.shape[2], 30_000):
        meter.push(signals[:, :, start_sample : start_sample + 30_000])
    found = meter.finish()
    assert found is not None
    # The standard's own coefficients; the library's default filters are 0.04 dB off.
    judge = pyloudnorm.Meter(rate_hz, filter_class="DeMan")
    for level, sound in zip(found, signals, strict=True):
        assert level == pytest.approx(judge.integrated_loudness(sound.T), abs=0.02)
        assert integrated_loudness(sound, rate_hz=rate_hz) == pytest.approx(level, abs=1e-6)


def test_a_full_scale_sine_of_1_khz() -> None:
    sine = np.sin(2 * np.pi * 997 * np.arange(48_000 * 2) / 48_000).astype(np.float32)[None]
    assert integrated_loudness(sine, rate_hz=48_000) == pytest.approx(-3.01, abs=0.01)


def test_silence_and_short_sounds_have_no_loudness() -> None:
    sound = song(1, 8000)[None]
    meter = LoudnessMeter(rate_hz=8000, n_channels=1, n_signals=2)
    meter.push(np.concatenate([np.zeros_like(sound), sound]))
    found = meter.finish()
    assert found is not None
    assert found[0] == -math.inf
    assert math.isfinite(found[1])
    assert integrated_loudness(np.zeros((1, 3199), np.float32), rate_hz=8000) is None
    assert LoudnessMeter(rate_hz=8000, n_channels=1).finish() is None


def test_more_channels_have_other_weights() -> None:
    with pytest.raises(ValueError, match="6 channels"):
        LoudnessMeter(rate_hz=8000, n_channels=6)
