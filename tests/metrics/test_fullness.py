"""Bleedless and fullness: the figures of librosa, and what they mean."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from viso.metrics.fullness import fullness, mel_filters

Floats = npt.NDArray[np.float32]


def signals(rate_hz: int) -> tuple[Floats, Floats]:
    """A reference of two tones in noise, and an estimate with more noise and a gap."""
    random = np.random.default_rng(5)
    n = 2 * rate_hz
    t = np.arange(n) / rate_hz
    tones = [
        np.sin(2 * np.pi * 220 * t) * 0.3 * np.hanning(n),
        np.sin(2 * np.pi * 330 * t) * 0.2,
    ]
    reference = np.stack(tones) + 0.01 * random.standard_normal((2, n))
    estimate = 0.9 * reference + 0.02 * random.standard_normal((2, n))
    estimate[:, n // 2 : n // 2 + rate_hz // 4] = 0
    return reference.astype(np.float32), estimate.astype(np.float32)


@pytest.mark.parametrize(
    ("rate_hz", "bleedless", "full", "area"),
    [(44_100, 11.660453, 7.526222, 47.536896), (32_000, 11.702450, 7.101474, 65.530594)],
)
def test_the_figures_of_librosa(rate_hz: int, bleedless: float, full: float, area: float) -> None:
    """Taken from librosa 0.11: stft, filters.mel, decibels with a range of 80."""
    found = fullness(*signals(rate_hz), rate_hz=rate_hz)
    assert found == pytest.approx((bleedless, full), rel=1e-5)
    assert mel_filters(rate_hz, n_fft=4096, n_mels=512).sum() == pytest.approx(area, rel=1e-5)


def test_a_perfect_estimate_has_a_hundred_of_both() -> None:
    reference, _ = signals(44_100)
    assert fullness(reference, reference, rate_hz=44_100) == (100.0, 100.0)


def test_more_is_bleed_and_less_is_a_hole() -> None:
    reference, _ = signals(44_100)
    noise = np.random.default_rng(1).standard_normal(reference.shape).astype(np.float32)
    louder = fullness(reference, reference + 0.05 * noise, rate_hz=44_100)
    softer = fullness(reference, 0.5 * reference, rate_hz=44_100)
    assert louder.bleedless < softer.bleedless == 100.0
    assert softer.fullness < louder.fullness
    # 6.02 dB less in every band that is not at the floor of the range.
    assert softer.fullness == pytest.approx(100 / (1 + 20 * np.log10(2)), rel=0.02)


def test_shapes_must_agree() -> None:
    reference, _ = signals(44_100)
    with pytest.raises(ValueError, match="differ"):
        fullness(reference, reference[:, :-1], rate_hz=44_100)
