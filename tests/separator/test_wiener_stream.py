"""The Wiener filter on songs of any length: windows at the same places, faded into one another."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.small_models import SMALL, mask_card, song
from viso import Separator
from viso.audio import write
from viso.audio.tags import read_tags
from viso.dsp.stft import istft, stft
from viso.dsp.wiener import expectation_maximisation
from viso.errors import ConfigError, ModelError
from viso.separator.align import StreamAligner
from viso.separator.wiener_stream import WienerFilter, WienerStream

Floats = npt.NDArray[np.float32]
Complexes = npt.NDArray[np.complex64]

# Frames of a window and of the part of it that the next one shares.
WINDOW_S = 0.58
LENGTH, OVERLAP = 200, 25


def frames(n: int, *, n_channels: int = 2, seed: int = 0) -> tuple[Complexes, Complexes]:
    """A mixture and vocals that are part of it."""
    random = np.random.default_rng(seed)
    parts = random.standard_normal((2, n_channels, SMALL.n_bins, n), np.float32)
    mixture = (parts[0] + 1j * parts[1]).astype(np.complex64)
    return mixture, mixture * random.random(mixture.shape, np.float32)


def stream(n_channels: int = 2, *, iterations: int = 1) -> WienerStream:
    settings = WienerFilter(iterations, WINDOW_S)
    return WienerStream(settings, config=SMALL, n_channels=n_channels)


def through(mixture: Complexes, vocals: Complexes, sizes: list[int] | None = None) -> Complexes:
    """Push frames in portions of some sizes, over and over."""
    filtered = stream(len(mixture))
    n, parts, first = mixture.shape[2], [], 0
    for size in itertools.cycle(sizes or [n]):
        part = slice(first, first + size)
        parts.append(filtered.push(mixture[:, :, part], vocals[:, :, part]))
        first += size
        if first >= n:
            break
    return np.concatenate([*parts, filtered.finish()], axis=2)


def filtered_alone(mixture: Complexes, vocals: Complexes) -> Complexes:
    estimates = np.stack([vocals, mixture - vocals])
    loudest = float(np.abs(mixture).max())
    return expectation_maximisation(estimates, mixture, loudest=loudest)[0]


# Windows


@pytest.mark.parametrize(
    "n", [1, 3, 25, 26, 199, 200, 201, 374, 375, 376, 399, 400, 401, 550, 551, 999]
)
def test_windows_of_songs_of_any_length(n: int) -> None:
    mixture, vocals = frames(n)
    found = through(mixture, vocals)
    expected = np.zeros_like(vocals)
    step = LENGTH - OVERLAP
    fade = (np.arange(OVERLAP, dtype=np.float32) + np.float32(0.5)) / OVERLAP
    for first in range(0, max(1, n - OVERLAP), step):
        part = slice(first, min(n, first + LENGTH))
        weight = np.ones(part.stop - first, np.float32)
        if first:
            weight[:OVERLAP] = fade
        if part.stop < n:
            weight[-OVERLAP:] = 1 - fade
        expected[:, :, part] += weight * filtered_alone(mixture[:, :, part], vocals[:, :, part])
    assert found.shape == vocals.shape
    np.testing.assert_allclose(found, expected, atol=2e-6)


@settings(max_examples=20, deadline=None)
@given(
    n=st.integers(1, 700),
    sizes=st.lists(st.integers(1, 450), min_size=1, max_size=4),
    n_channels=st.sampled_from([1, 2, 3]),
)
def test_any_portions_give_the_same_bits(n: int, sizes: list[int], n_channels: int) -> None:
    mixture, vocals = frames(n, n_channels=n_channels, seed=n)
    found = through(mixture, vocals, sizes)
    assert np.array_equal(found, through(mixture, vocals))


def test_pairs_are_filtered_together_and_others_alone() -> None:
    mixture, vocals = frames(120, n_channels=5)
    found = through(mixture, vocals)
    for group in ([0, 1], [2], [3, 4]):
        alone = through(mixture[group], vocals[group])
        assert np.array_equal(found[group], alone)


def test_frames_are_passed_on_before_the_song_ends() -> None:
    filtered = stream()
    n_out = 0
    for number in range(20):
        mixture, vocals = frames(100, seed=number)
        n_out += filtered.push(mixture, vocals).shape[2]
        assert 100 * (number + 1) - n_out < LENGTH


def test_the_arrays_are_not_changed() -> None:
    mixture, vocals = frames(250)
    before = mixture.copy(), vocals.copy()
    through(mixture, vocals)
    assert np.array_equal(mixture, before[0])
    assert np.array_equal(vocals, before[1])


@pytest.mark.parametrize(
    ("iterations", "window_s"), [(-1, 10), (1, 0.4), (1, 601), (1, float("nan"))]
)
def test_impossible_settings(iterations: int, window_s: float) -> None:
    with pytest.raises(ConfigError, match="Wiener"):
        Separator(Share(), wiener=iterations, wiener_window_s=window_s)


# StreamAligner


@given(
    pieces=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), max_size=9)
)
def test_streams_come_back_in_step(pieces: list[tuple[int, int, int]]) -> None:
    together, counts, taken = StreamAligner[np.float32](3), [0, 0, 0], 0
    for sizes in pieces:
        new = [
            np.arange(count, count + n, dtype=np.float32)[None]
            for count, n in zip(counts, sizes, strict=True)
        ]
        counts = [count + n for count, n in zip(counts, sizes, strict=True)]
        for found in together.step(*new):
            assert found[0].tolist() == list(range(taken, min(counts)))
        taken = min(counts)


# The separator


class Share:
    """A model that gives a part of each bin to the vocals, a changing one."""

    def __init__(self, **card: object) -> None:
        self.card = mask_card(**card)

    def estimate(self, chunk: Complexes) -> Complexes:
        context = self.card.context_frames
        middle = chunk[:, :, context : context + self.card.step_frames]
        mask = np.abs(middle.real) / (np.abs(middle.real) + np.abs(middle.imag) + 1e-30)
        return (middle * mask).astype(np.complex64)


@pytest.mark.parametrize("n_channels", [1, 2, 3, 6])
@pytest.mark.parametrize("n_samples", [1, 511, 60_001])
@pytest.mark.parametrize("rate_hz", [44_100, 48_000])
def test_same_shape_and_nothing_lost(n_channels: int, n_samples: int, rate_hz: int) -> None:
    mixture = song(n_channels, n_samples)
    stems = Separator(Share(), wiener=1, wiener_window_s=0.5).separate(mixture, rate_hz=rate_hz)
    assert stems.vocals.shape == stems.instrumental.shape == mixture.shape
    assert stems.vocals.dtype == np.float32
    assert np.array_equal(stems.vocals + stems.instrumental, mixture)


def test_a_short_song_is_filtered_whole() -> None:
    mixture = song(2, 50_000)
    spectrum = stft(mixture, config=SMALL)
    vocals = stft(Separator(Share()).separate(mixture, rate_hz=44_100).vocals, config=SMALL)
    model = Share(chunk_frames=500, context_frames=0)
    mask = model.estimate(np.pad(spectrum, ((0, 0), (0, 0), (0, 500)))[:, :, :500])
    frames = filtered_alone(spectrum, mask[:, :, : spectrum.shape[2]])
    expected = istft(frames, config=SMALL, n_samples=50_000)
    found = Separator(Share(), wiener=1).separate(mixture, rate_hz=44_100)
    assert np.abs(found.vocals - expected).max() < 1e-6
    assert np.abs(found.vocals - istft(vocals, config=SMALL, n_samples=50_000)).max() > 1e-3


@pytest.mark.parametrize("exponent", [-17, -8, 8, 30])
def test_level_does_not_matter(exponent: int) -> None:
    mixture, gain = song(2, 30_000), np.float32(2.0**exponent)
    separator = Separator(Share(), wiener=2)
    plain = separator.separate(mixture, rate_hz=44_100).vocals
    other = separator.separate(gain * mixture, rate_hz=44_100).vocals
    assert np.abs(other / gain - plain).max() < 1e-6


def test_silence_and_a_song_that_is_silent_in_part() -> None:
    separator = Separator(Share(), wiener=1, wiener_window_s=0.5)
    stems = separator.separate(np.zeros((2, 90_000), np.float32), rate_hz=44_100)
    assert not stems.vocals.any()
    mixture = song(2, 90_000)
    mixture[:, 20_000:70_000] = 0
    stems = separator.separate(mixture, rate_hz=44_100)
    assert np.isfinite(stems.vocals).all()
    assert not stems.vocals[:, 21_000:69_000].any()


def test_both_sides_alike_give_what_one_side_gives() -> None:
    mono = song(1, 40_000)
    separator = Separator(Share(), wiener=2, wiener_window_s=0.5)
    one = separator.separate(mono, rate_hz=44_100).vocals
    two = separator.separate(np.concatenate([mono, mono]), rate_hz=44_100).vocals
    assert np.abs(two - one).max() < 1e-5 * np.abs(mono).max()


@settings(max_examples=15, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 90_000), min_size=1, max_size=5),
    n_channels=st.sampled_from([1, 2]),
)
def test_any_blocks_give_the_same_bits(mask_model: Path, sizes: list[int], n_channels: int) -> None:
    separator = Separator(mask_model, wiener=1, wiener_window_s=0.7, device="cpu", threads=1)
    mixture = song(n_channels, sum(sizes), seed=len(sizes))
    whole = separator.separate(mixture, rate_hz=44_100)
    places = np.cumsum([0, *sizes])
    blocks = [mixture[:, a:b] for a, b in itertools.pairwise(places)]
    parts = list(separator.stream(iter(blocks), rate_hz=44_100, n_channels=n_channels))
    assert np.array_equal(np.concatenate([v for v, _ in parts], axis=1), whole.vocals)


def test_none_is_what_it_was_before(mask_model: Path) -> None:
    mixture = song(2, 40_000)
    plain, none = Separator(mask_model), Separator(mask_model, wiener=0, wiener_window_s=3)
    expected = plain.separate(mixture, rate_hz=44_100)
    assert np.array_equal(none.separate(mixture, rate_hz=44_100).vocals, expected.vocals)


def test_a_network_that_gives_nan_is_an_error() -> None:
    class Broken(Share):
        def estimate(self, chunk: Complexes) -> Complexes:
            return super().estimate(chunk) * np.complex64("nan")

    with pytest.raises(ModelError, match="NaN"):
        Separator(Broken(), wiener=1).separate(song(), rate_hz=44_100)


def test_tags_report_and_confidence(mask_model: Path, tmp_path: Path) -> None:
    write(tmp_path / "song.wav", song(2, 100_000), rate_hz=44_100)
    targets = {stem: tmp_path / f"{stem}.flac" for stem in ("vocals", "instrumental")}
    table = tmp_path / "confidence.csv"
    separator = Separator(mask_model, wiener=2, wiener_window_s=1)
    report = separator.to_files(tmp_path / "song.wav", targets, confidence=table).run()
    assert report.wiener == separator.wiener == 2
    assert len(report.confidence) == 3
    assert table.exists()
    tags = read_tags(targets["vocals"])
    assert tags["viso_wiener"] == "2 iterations, windows of 1 s"
    assert tags["viso_model"] == "tiny 1"
