"""Sound and files for the tests of viso.audio: all made here, from fixed seeds."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

_LAYOUTS = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1", "7.1")
Noise = Callable[..., Any]


def make_noise(n_channels: int, n_samples: int, *, seed: int = 0, peak: float = 0.5) -> Any:
    """Low-passed noise, another one in each channel, that every codec can carry."""
    rng = np.random.default_rng(seed)
    window = np.hanning(19)
    white = rng.standard_normal((n_channels, n_samples + 18))
    smooth = np.stack([np.convolve(c, window / window.sum(), "valid") for c in white])
    return (smooth * peak / max(1e-9, np.abs(smooth).max())).astype(np.float32)


def offset_of(copy: Any, original: Any) -> int:
    """By how many samples `copy` lies later than `original`, by cross-correlation."""
    n = 1 << (len(copy) + len(original)).bit_length()
    spectrum = np.conj(np.fft.rfft(original, n)) * np.fft.rfft(copy, n)
    peak = int(np.argmax(np.fft.irfft(spectrum, n)))
    return peak if peak < n // 2 else peak - n


def encode_with_av(
    path: Path,
    audio: Any,
    *,
    rate_hz: int,
    codec: str,
    form: str,
    options: dict[str, str] | None = None,
    layout: str | None = None,
) -> None:
    """Encode through PyAV and nothing of ours."""
    import av

    layout = layout or _LAYOUTS[audio.shape[0] - 1]
    with av.open(str(path), "w", format=form, options=options or {}) as container:
        stream: Any = container.add_stream(codec, rate=rate_hz)
        stream.layout = layout
        stream.bit_rate = 96_000 * audio.shape[0]
        for start in range(0, audio.shape[1], 1024):
            packed = np.ascontiguousarray(audio[:, start : start + 1024].T).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate_hz, start, Fraction(1, rate_hz)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.fixture(scope="session")
def noise() -> Noise:
    return make_noise


@pytest.fixture
def offset() -> Callable[[Any, Any], int]:
    return offset_of


@pytest.fixture
def av_encode() -> Callable[..., None]:
    return encode_with_av
