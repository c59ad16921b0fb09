"""Blends: how they are said, and that they are the weighted mean of what their models say."""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.small_models import mask_card, song
from viso import Separator
from viso.audio import write
from viso.audio.tags import read_tags
from viso.dsp.stft import SpectralConfig
from viso.errors import ConfigError, ModelError, VisoError
from viso.models.blend import load_blend, parts_of, shares_of

Floats = npt.NDArray[np.float32]
Complexes = npt.NDArray[np.complex64]

OTHERS = [
    SpectralConfig(rate_hz=44_100, n_fft=512, hop=128),
    SpectralConfig(rate_hz=44_100, n_fft=1024, hop=256),
    SpectralConfig(rate_hz=22_050, n_fft=512, hop=100),
]


class Share:
    """A model that takes the same share of everything: what comes out can be calculated."""

    def __init__(self, share: float, **card: object) -> None:
        self.card = mask_card(**card)
        self._share = np.complex64(share)

    def estimate(self, chunk: Complexes) -> Complexes:
        context = self.card.context_frames
        return chunk[:, :, context : context + self.card.step_frames] * self._share


class Ratio(Share):
    """A mask that depends on what stands around a bin in time and frequency."""

    def estimate(self, chunk: Complexes) -> Complexes:
        size = np.abs(chunk)
        mask = size / (size + np.roll(size, 3, axis=1) + np.roll(size, 1, axis=2) + 1e-6)
        return super().estimate((chunk * mask).astype(np.complex64))


# How they are said


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("viso", [("viso", None)]),
        ("viso+viso-cnn", [("viso", None), ("viso-cnn", None)]),
        ("viso*0.25+viso-cnn*0.75", [("viso", 0.25), ("viso-cnn", 0.75)]),
        ("viso*3+x.onnx*1", [("viso", 3.0), ("x.onnx", 1.0)]),
        ("a+b+c", [("a", None), ("b", None), ("c", None)]),
        ("", [("", None)]),
    ],
)
def test_parts(text: str, parts: list[tuple[str, float | None]]) -> None:
    assert parts_of(text) == parts


def test_names_that_have_a_plus_or_a_star_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a+b.onnx", "c*2.onnx", "a"):
        (tmp_path / name).touch()
    assert parts_of("a+b.onnx") == [("a+b.onnx", None)]
    assert parts_of("a+a+b.onnx+viso") == [("a", None), ("a+b.onnx", None), ("viso", None)]
    assert parts_of("c*2.onnx*3+a+b.onnx*4") == [("c*2.onnx", 3.0), ("a+b.onnx", 4.0)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("viso*3+viso-cnn", "has one weight"),
        ("viso+viso-cnn*3", "has one weight"),
        ("viso*1", "has one weight"),
        ("viso*x+viso-cnn*1", "'x' is no weight; say it like viso"),
        ("viso*+viso-cnn*1", "'' is no weight"),
        ("viso+", "a model is missing"),
        ("+viso", "a model is missing"),
        ("*1+viso*2", "a model is missing"),
        ("viso*-1+viso-cnn*2", "positive"),
        ("viso*0+viso-cnn*2", "positive"),
        ("viso*nan+viso-cnn*2", "positive"),
        ("viso*inf+viso-cnn*2", "positive"),
    ],
)
def test_what_makes_no_sense(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load_blend(text, device="cpu", threads=1)


def test_a_part_that_is_not_there() -> None:
    with pytest.raises(ModelError, match="nobody: no packaged model"):
        load_blend("viso+nobody", device="cpu", threads=1)


@given(st.text("ab+*0.1-e", max_size=12))
def test_any_text_is_taken_apart_or_refused(text: str) -> None:
    try:
        parts = parts_of(text)
    except VisoError:
        return
    said = [name if weight is None else f"{name}*" for name, weight in parts]
    assert all(text.count(name) for name in said)


@given(st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=5))
def test_shares_add_up_to_one(weights: list[float]) -> None:
    shares = shares_of(len(weights), weights)
    assert math.fsum(shares) == pytest.approx(1, abs=1e-12)
    assert shares[0] * weights[-1] == pytest.approx(shares[-1] * weights[0], rel=1e-9)


@pytest.mark.parametrize(
    ("models", "weights"),
    [([], None), (["viso"], [1, 2]), (["viso", "viso"], [1]), ("viso*1+viso*2", [1, 2])],
)
def test_weights_that_do_not_fit(models: str | Sequence[str], weights: list[float] | None) -> None:
    with pytest.raises(ConfigError):
        load_blend(models, weights=weights, device="cpu", threads=1)


# What comes out


@pytest.mark.parametrize("n_channels", [1, 2, 3, 6])
@pytest.mark.parametrize("second", OTHERS)
@pytest.mark.parametrize("target", ["vocals", "instrumental"])
def test_shares_of_a_song(n_channels: int, second: SpectralConfig, target: str) -> None:
    """Chunks, contexts, channels, transforms and rates may differ."""
    mixture = song(n_channels, 30_001)
    if second.rate_hz != 44_100:
        # Nothing that half the rate could not carry.
        mixture[:, 1::2] = mixture[:, :-1:2]
        spectrum = np.fft.rfft(mixture)
        spectrum[:, 6000:] = 0
        mixture = np.fft.irfft(spectrum, mixture.shape[1]).astype(np.float32)
        mixture *= np.hanning(mixture.shape[1]).astype(np.float32)
    models = [
        Share(0.2),
        Share(
            0.6 if target == "vocals" else 0.4,
            spectral=second,
            target=target,
            channels=1,
            basis="left-right",
            chunk_frames=61,
            context_frames=0,
        ),
    ]
    stems = Separator(models, weights=[1, 3]).separate(mixture, rate_hz=44_100)
    assert stems.vocals.shape == mixture.shape
    assert np.abs(stems.vocals - 0.5 * mixture).max() < 1e-5
    # Resampled samples have bits that float32 stems of them need not have.
    assert np.abs(stems.vocals + stems.instrumental - mixture).max() < 2.0**-26


@pytest.mark.parametrize("second", OTHERS)
@pytest.mark.parametrize("rate_hz", [44_100, 48_000])
def test_the_mean_of_what_each_model_gives(second: SpectralConfig, rate_hz: int) -> None:
    mixture = song(2, 40_000)
    models = [Ratio(1.0), Ratio(0.5, spectral=second, chunk_frames=50, context_frames=7)]
    alone = [Separator(model).separate(mixture, rate_hz=rate_hz).vocals for model in models]
    both = Separator(models, weights=[0.7, 0.3]).separate(mixture, rate_hz=rate_hz)
    expected = 0.7 * alone[0] + 0.3 * alone[1]
    # Twice resampled on the way to the lower rate.
    tolerance = 1e-6 if second.rate_hz == 44_100 else 1e-4
    assert np.abs(both.vocals - expected).max() < tolerance
    assert np.array_equal(both.vocals + both.instrumental, mixture)


def test_a_model_with_itself() -> None:
    mixture = song(2, 30_000)
    alone = Separator(Ratio(1.0)).separate(mixture, rate_hz=44_100).vocals
    twice = Separator([Ratio(1.0)] * 2).separate(mixture, rate_hz=44_100).vocals
    assert np.array_equal(alone, twice)


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 60_000), min_size=1, max_size=5),
    second=st.sampled_from(OTHERS),
    wiener=st.integers(0, 1),
    rate_hz=st.sampled_from([44_100, 32_000]),
)
def test_any_blocks_give_the_same_bits(
    sizes: list[int], second: SpectralConfig, wiener: int, rate_hz: int
) -> None:
    models = [Ratio(1.0), Ratio(0.5, spectral=second, chunk_frames=50, context_frames=7)]
    separator = Separator(models, wiener=wiener, wiener_window_s=0.5)
    mixture = song(2, sum(sizes), seed=len(sizes))
    whole = separator.separate(mixture, rate_hz=rate_hz)
    places = np.cumsum([0, *sizes])
    blocks = [mixture[:, a:b] for a, b in itertools.pairwise(places)]
    parts = list(separator.stream(iter(blocks), rate_hz=rate_hz, n_channels=2))
    assert np.array_equal(np.concatenate([v for v, _ in parts], axis=1), whole.vocals)
    assert np.array_equal(np.concatenate([i for _, i in parts], axis=1), whole.instrumental)
    assert np.array_equal(whole.vocals + whole.instrumental, mixture)


def test_a_file_gives_what_its_array_gives(tmp_path: Path) -> None:
    mixture = song(2, 150_000)
    write(tmp_path / "song.wav", mixture, rate_hz=44_100)
    models = [Ratio(1.0), Ratio(0.5, spectral=OTHERS[1], chunk_frames=50)]
    separator = Separator(models, wiener=1, wiener_window_s=1.0)
    from_array = separator.separate(mixture, rate_hz=44_100)
    from_file = separator.separate(tmp_path / "song.wav")
    assert np.array_equal(from_file.vocals, from_array.vocals)


def test_a_network_that_gives_nan_is_an_error() -> None:
    with pytest.raises(ModelError, match="NaN"):
        Separator([Share(0.5), Share(float("nan"))]).separate(song(), rate_hz=44_100)


# What is said of them


def test_names(mask_model: Path, tmp_path: Path) -> None:
    other = shutil.copy(mask_model, tmp_path / "other.onnx")
    both = Separator([mask_model, other], device="cpu", threads=1)
    assert both.name == "tiny+tiny"
    assert both.device == "cpu"
    assert len(both.sha256) == 129
    assert Separator([mask_model, other], weights=[1, 3]).name == "tiny*0.25+tiny*0.75"
    said = Separator(f"{mask_model}*1+{other}*3", device="cpu", threads=1)
    assert said.name == "tiny*0.25+tiny*0.75"
    assert Separator([Share(1, name="a"), Share(1, name="b")], weights=[1, 2]).sha256 == ""


def test_all_parts_are_in_the_tags(mask_model: Path, tmp_path: Path) -> None:
    write(tmp_path / "song.wav", song(2, 20_000), rate_hz=44_100)
    models = [mask_model, Share(0.5, name="half", version="2", licence="CC0")]
    separator = Separator(models, weights=[1, 3], threads=1)
    targets = {stem: tmp_path / f"{stem}.flac" for stem in ("vocals", "instrumental")}
    report = separator.to_files(tmp_path / "song.wav", targets).run()
    assert report.model == "tiny*0.25+half*0.75"
    tags = read_tags(targets["vocals"])
    assert tags["viso_model"] == "tiny 1 * 0.25 + half 2 * 0.75"
    assert tags["viso_model_licence"] == "MIT; CC0"
    assert tags["viso_model_sha256"] == separator.sha256
    assert "viso_wiener" not in tags


def test_what_a_model_of_somebody_elses_runs_on_is_not_guessed(mask_model: Path) -> None:
    class OnCard(Share):
        device = "cuda"

    assert load_blend(Share(0.5)).device == "unknown"
    assert load_blend(OnCard(0.5)).device == "cuda"
    assert load_blend([OnCard(0.5), str(mask_model)]).device == "cpu+cuda"
