"""Models that see whole segments: the laws, overlap, blends, files that do not fit."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.small_models import cut, segment_card, segment_network, song
from viso import Separator
from viso.errors import ConfigError, ModelError
from viso.models.blend import load
from viso.models.card import SegmentCard, card_from
from viso.models.onnx import OnnxModel
from viso.models.segments import OnnxSegmentModel
from viso.separator.estimators import SegmentEstimator

Floats = npt.NDArray[np.float32]
RATE_HZ = 44_100


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose estimate of a sample depends on the segment that holds it."""
    folder = tmp_path_factory.mktemp("segments")
    return segment_network(
        folder / "segments.onnx", of_samples=0.3, of_spectrum=0.4, is_relative=True
    )


def test_samples_and_spectrum_are_put_together(tmp_path: Path) -> None:
    model = OnnxSegmentModel(segment_network(tmp_path / "a.onnx", of_samples=0.25, of_spectrum=0.5))
    time_s = np.arange(4000) / RATE_HZ
    tone = np.sin(2 * np.pi * 1000 * time_s + np.array([[0.0], [1.0]])).astype(np.float32)
    # The network does not see the outermost frames, so the spectrum misses some at the ends.
    inside = (slice(None), slice(256, -256))
    np.testing.assert_allclose(model.estimate(tone)[0][inside], 0.75 * tone[inside], atol=1e-5)


def test_an_estimate_is_as_loud_as_its_segment(network: Path) -> None:
    model = OnnxSegmentModel(network)
    segment = song(2, 4000, seed=5)
    loud = model.estimate(segment)
    quiet = model.estimate(segment * np.float32(2**-14))
    np.testing.assert_allclose(quiet * 2**14, loud, atol=1e-6)
    assert not model.estimate(np.zeros_like(segment)).any()


class Position:
    """A model whose estimate of a sample says how far from the segment's beginning it stands."""

    card = segment_card(segment_samples=1024, overlap=0.375, n_fft=64, hop=16)
    stood: list[int]

    def __init__(self) -> None:
        self.stood = []

    def estimate(self, segment: Floats, stems: Sequence[str] = ("vocals",)) -> Floats:
        ramp = np.arange(segment.shape[1], dtype=np.float32)
        sounding = np.flatnonzero(segment[0])
        self.stood.append(int(sounding[0]) if sounding.size else -1)
        return np.broadcast_to(ramp, (len(stems), *segment.shape)).astype(np.float32)


def test_segments_overlap_as_the_card_says() -> None:
    # Compared with the definition, over the whole song at once.
    model = Position()
    n_samples, length, advance = 3000, 1024, 640
    estimator = SegmentEstimator(model, n_channels=2)
    mixture = np.ones((2, n_samples), np.float32)
    found = np.concatenate([estimator.estimate(mixture), estimator.finish()], axis=2)[0]
    window = np.minimum(np.arange(1, length + 1), np.arange(length, 0, -1)).astype(np.float64)
    total, weights = np.zeros(n_samples), np.zeros(n_samples)
    for start in range(0, n_samples, advance):
        n = min(length, n_samples - start)
        before = (length - n) // 2
        total[start : start + n] += window[:n] * (before + np.arange(n))
        weights[start : start + n] += window[:n]
    np.testing.assert_allclose(found[0], total / weights, rtol=1e-5)
    np.testing.assert_array_equal(found[0], found[1])
    # The last one is not whole: it stands in the middle of silence.
    assert model.stood == [0, 0, 0, 0, (length - 440) // 2]


@settings(max_examples=15, deadline=None)
@given(data=st.data(), n_samples=st.integers(1, 15_000))
def test_blocks_of_any_size_give_the_same_bits(
    network: Path, data: st.DataObject, n_samples: int
) -> None:
    separator = Separator(network, threads=1)
    mixture = song(2, n_samples, seed=6)
    whole = separator.separate(mixture, rate_hz=RATE_HZ)
    pairs = list(separator.stream(cut(data, mixture), rate_hz=RATE_HZ, n_channels=2))
    np.testing.assert_array_equal(np.concatenate([v for v, _ in pairs], axis=1), whole.vocals)


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 96_000])
@pytest.mark.parametrize("n_channels", [1, 2, 6])
@pytest.mark.parametrize("level", [0.9, 1e-4])
def test_shape_and_sum(network: Path, rate_hz: int, n_channels: int, level: float) -> None:
    mixture = song(n_channels, 9_001, seed=7, level=level)
    stems = Separator(network).separate(mixture, rate_hz=rate_hz)
    assert stems.vocals.shape == stems.instrumental.shape == mixture.shape
    np.testing.assert_allclose(stems.vocals + stems.instrumental, mixture, atol=1e-7)
    assert np.abs(stems.vocals).max() > 0.2 * level


def test_files_sum_to_the_song(network: Path, tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    soundfile.write(path, song(2, 30_000, level=0.8).T, RATE_HZ, subtype="PCM_16")
    targets = {stem: tmp_path / f"{stem}.wav" for stem in ("vocals", "instrumental")}
    Separator(network).to_files(path, targets, bit_depth="16").run()
    vocals, music, mixture = (
        soundfile.read(file, dtype="int16")[0].astype(int) for file in (*targets.values(), path)
    )
    np.testing.assert_array_equal(vocals + music, mixture)


def test_a_blend_with_a_model_of_frames(network: Path, mask_model: Path) -> None:
    mixture = song(2, 12_000, seed=8)

    def vocals(*models: Path, **options: float) -> Floats:
        found: Floats = Separator(list(models), **options).separate(mixture, rate_hz=RATE_HZ).vocals
        return found

    both = vocals(network, mask_model, weights=[3, 1])
    alone = 0.75 * vocals(network) + 0.25 * vocals(mask_model)
    np.testing.assert_allclose(both, alone, atol=2e-6)
    filtered = vocals(network, mask_model, wiener=1)
    assert filtered.shape == mixture.shape and not np.allclose(filtered, both)
    assert vocals(network, wiener=1).shape == mixture.shape


def test_another_process_opens_the_file_again(network: Path) -> None:
    model = pickle.loads(pickle.dumps(load(network)))
    assert isinstance(model, OnnxSegmentModel)
    segment = song(2, 4000)
    np.testing.assert_array_equal(model.estimate(segment), load(network).estimate(segment))


def test_each_kind_is_opened_as_its_card_says(network: Path, mask_model: Path) -> None:
    assert isinstance(load(mask_model), OnnxModel)
    with pytest.raises(ModelError, match="whole segments"):
        OnnxModel(network)
    with pytest.raises(ModelError, match="sees frames"):
        OnnxSegmentModel(mask_model)


def test_a_card_beside_the_file(tmp_path: Path) -> None:
    path = segment_network(tmp_path / "beside.onnx", inside=False)
    path.with_suffix(".toml").write_text(segment_card(name="beside").to_toml())
    assert load(path).card.name == "beside"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"stems": ("drums", "bass")}, "vocals"),
        ({"n_fft": 250}, "n_fft"),
        ({"segment_samples": 1 << 30}, "segment_samples"),
        ({"overlap": 1.0}, "overlap"),
        ({"overlap": 0.9999}, "overlap"),
        ({"chunk_frames": 3}, "chunk_frames"),
    ],
)
def test_cards_that_make_no_sense(changes: dict[str, object], why: str) -> None:
    values = {**segment_card().model_dump(), **changes}
    with pytest.raises(ConfigError, match=why):
        card_from(values, origin="a card")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"segment_samples": 5000}, r"is tensor\(float\) \[1, 2, 4000\]"),
        ({"outputs": ("waves", "none")}, "has no 'none'"),
        ({"stems": ("vocals", "other")}, "does not fit"),
        ({"n_fft": 512}, "does not fit"),
    ],
)
def test_a_card_of_another_graph(tmp_path: Path, changes: dict[str, object], why: str) -> None:
    path = segment_network(tmp_path / "other.onnx", inside=False)
    path.with_suffix(".toml").write_text(segment_card(**changes).to_toml())
    with pytest.raises(ModelError, match=why):
        load(path)


@pytest.mark.parametrize("share", [float("nan"), 1e9])
def test_an_output_that_is_no_sound(tmp_path: Path, share: float) -> None:
    path = segment_network(tmp_path / "broken.onnx", of_samples=share)
    with pytest.raises(ModelError, match=r"broken\.onnx: its output is"):
        Separator(path).separate(song(2, 4000), rate_hz=RATE_HZ)


def test_memory_does_not_grow_with_the_song() -> None:
    estimator = SegmentEstimator(Position(), n_channels=2)
    block = np.ones((2, 700), np.float32)
    for _ in range(50):
        estimator.estimate(block)
        assert estimator._waiting.shape[1] < 1024 + 700
        assert estimator._sum.shape == (1, 2, 1024)


def test_the_card_goes_with_the_graph(network: Path) -> None:
    card = load(network).card
    assert isinstance(card, SegmentCard) and card.advance_samples == 3000
    assert SegmentCard.from_mapping(card.model_dump(), origin="again") == card
    onnx.checker.check_model(onnx.load(network))
