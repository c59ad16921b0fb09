"""More stems than two: what a model offers, and that they add up to the song."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from helpers.small_models import SMALL, build_onnx, cut, segment_network, song
from viso import ConfigError, Separator
from viso.models.blend import estimated_by
from viso.models.card import ModelCard
from viso.separator.stem_family import StemFamily, family_of, offered_stems, requested_stems

Floats = npt.NDArray[np.float32]
RATE_HZ = 44_100
FOUR = ("vocals", "drums", "bass", "other")
LEFT = ("other", "instrumental")
BAND = StemFamily(FOUR[:3])


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stems")
    return segment_network(folder / "band.onnx", of_samples=0.2, of_spectrum=0.3, is_relative=True)


def frames_network(path: Path, **changes: object) -> Path:
    """A network on frames: vocals get half of the spectrum, drums a quarter."""
    values: dict[str, object] = {
        "name": "frames",
        "spectral": SMALL,
        "input": "complex",
        "output": "complex",
        "chunk_frames": 24,
        "context_frames": 4,
        "stems": ("drums", "vocals"),
        "licence": "MIT",
    }
    card = ModelCard.from_mapping({**values, **changes}, origin="test")
    n_stems = len(card.estimated)
    shares = np.array([0.25, 0.5, 0.125][:n_stems], np.float32).repeat(4).reshape(1, -1, 1, 1)
    nodes = [
        helper.make_node("Concat", ["x"] * n_stems, ["all"], axis=1),
        helper.make_node("Mul", ["all", "w"], ["y"]),
    ]
    shape = [1, 4, SMALL.n_bins, card.chunk_frames]
    return build_onnx(
        path,
        nodes,
        {"w": shares},
        in_shape=shape,
        out_shape=[1, 4 * n_stems, *shape[2:]],
        card=card,
    )


@pytest.mark.parametrize(
    ("estimated", "offered"),
    [
        ([("vocals",)], ("vocals", "instrumental")),
        ([("drums", "bass", "other", "vocals")], (*FOUR, "instrumental")),
        ([("vocals", "instrumental")], ("vocals", "instrumental")),
        ([("vocals", "drums")], ("vocals", "drums", *LEFT)),
        (
            [("drums", "bass", "vocals"), ("vocals", "bass")],
            ("vocals", "bass", "other", "instrumental"),
        ),
        ([("drums", "vocals"), ("vocals",)], ("vocals", "instrumental")),
    ],
)
def test_a_blend_offers_what_all_its_models_estimate(
    estimated: list[tuple[str, ...]], offered: tuple[str, ...]
) -> None:
    assert offered_stems(estimated) == offered


def test_only_what_is_requested_is_estimated() -> None:
    offered = (*FOUR, "instrumental")
    assert family_of(["instrumental"], offered).estimated == ("vocals",)
    assert family_of(["drums"], offered).estimated == ("vocals", "drums", "bass")
    assert requested_stems(["all"], offered) == FOUR
    assert requested_stems(["all"], ("vocals", "instrumental")) == ("vocals", "instrumental")
    assert requested_stems(["bass", "all", "bass"], offered) == ("bass", "vocals", "drums", "other")
    for wrong in ([], ["guitar"]):
        with pytest.raises(ConfigError, match="no such stem"):
            requested_stems(wrong, offered)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    level=st.sampled_from([1e-5, 1e-2, 0.3, 1.0]),
    over=st.sampled_from([0.5, 1.0, 3.0]),
    bits=st.sampled_from([None, 16, 24]),
)
def test_the_parts_add_up_whatever_the_estimates_are(
    seed: int, level: float, over: float, bits: int | None
) -> None:
    random = np.random.default_rng(seed)
    grid = 2.0 ** ((bits or 24) - 1)
    mixture = (np.rint(random.uniform(-level, level, (2, 500)) * grid) / grid).astype(np.float32)
    estimates = random.uniform(-level, level, (3, 2, 500)).astype(np.float32) * np.float32(over)
    stems = BAND.split(mixture, estimates, step=None if bits is None else 1 / grid)
    assert tuple(stems) == (*FOUR, "instrumental")
    exact = np.sum([stems[name] for name in FOUR], axis=0, dtype=np.float64)
    # Beyond 2, float32 has no steps of 24 bits; such stems are lowered before they are written.
    is_exact = bits is not None and max(np.abs(stem).max() for stem in stems.values()) <= 2
    tolerance = 0.0 if is_exact else 4 * max(1, over) * level * 2.0**-22
    np.testing.assert_allclose(exact, mixture, rtol=0, atol=tolerance)
    np.testing.assert_allclose(BAND.sum(stems), mixture, rtol=0, atol=tolerance)
    both = stems["vocals"].astype(np.float64) + stems["instrumental"]
    np.testing.assert_allclose(both, mixture, rtol=0, atol=tolerance)
    if is_exact:
        for stem in stems.values():
            np.testing.assert_array_equal(stem * grid, np.rint(stem * grid))


def test_each_stem_is_what_the_model_says(tmp_path: Path) -> None:
    network = segment_network(tmp_path / "a.onnx", of_samples=0.25, of_spectrum=0.25)
    time_s = np.arange(12_000) / RATE_HZ
    tone = (0.3 * np.sin(2 * np.pi * 1000 * time_s + np.array([[0.0], [1.0]]))).astype(np.float32)
    stems = Separator(network).separate(tone, rate_hz=RATE_HZ, stems=FOUR)
    inside = (slice(None), slice(4000, 8000))
    # The card's order is drums, bass, other, vocals; "other" is what the rest leave.
    for name, share in {"vocals": 0.5, "drums": 0.25, "bass": 0.125, "other": 0.125}.items():
        np.testing.assert_allclose(stems[name][inside], share * tone[inside], atol=3e-3)


@settings(max_examples=8, deadline=None)
@given(data=st.data(), n_samples=st.integers(1, 15_000))
def test_blocks_of_any_size_give_the_same_bits(
    network: Path, data: st.DataObject, n_samples: int
) -> None:
    separator = Separator(network, threads=1)
    mixture = song(2, n_samples, seed=6)
    whole = separator.separate(mixture, rate_hz=RATE_HZ, stems=["all"])
    parts = separator.stream(
        cut(data, mixture), rate_hz=RATE_HZ, n_channels=2, stems=["drums", "other"]
    )
    drums, other = (np.concatenate(stem, axis=1) for stem in zip(*parts, strict=True))
    np.testing.assert_array_equal(drums, whole["drums"])
    np.testing.assert_array_equal(other, whole["other"])


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 96_000])
@pytest.mark.parametrize("n_channels", [1, 2, 6])
@pytest.mark.parametrize("level", [0.9, 1e-4])
def test_shape_and_sum(network: Path, rate_hz: int, n_channels: int, level: float) -> None:
    mixture = song(n_channels, 9_001, seed=7, level=level)
    separator = Separator(network)
    stems = separator.separate(mixture, rate_hz=rate_hz, stems=["all"])
    assert {stem.shape for stem in stems.values()} == {mixture.shape}
    total = np.sum([stems[name] for name in FOUR], axis=0, dtype=np.float64)
    np.testing.assert_allclose(total, mixture, atol=2e-7)
    assert np.abs(stems["bass"]).max() > 0.02 * level
    two = separator.separate(mixture, rate_hz=rate_hz)
    assert list(two) == ["vocals", "instrumental"]
    # The vocals do not depend on which other stems are made.
    np.testing.assert_allclose(two.vocals, stems.vocals, atol=1e-7)


@pytest.mark.parametrize(("suffix", "bits"), [("wav", 16), ("flac", 24)])
@pytest.mark.parametrize("level", [0.5, 0.999])
def test_files_sum_to_the_song(
    network: Path, tmp_path: Path, suffix: str, bits: int, level: float
) -> None:
    path = tmp_path / "song.wav"
    mixture = np.rint(song(2, 30_000, level=level) * 2**15) / 2**15
    # A square wave at full scale: estimates of parts of it overshoot.
    mixture[:, 10_000:20_000] = level * np.sign(np.sin(np.arange(10_000) / 20.0))
    soundfile.write(path, mixture.T, RATE_HZ, subtype="PCM_16")
    mixture = soundfile.read(path)[0]
    names = (*FOUR, "instrumental")
    targets = {stem: tmp_path / f"{stem}.{suffix}" for stem in names}
    report = Separator(network).to_files(path, targets, bit_depth=str(bits)).run()
    stems = {stem: soundfile.read(file)[0] for stem, file in targets.items()}
    gain = 10 ** (report.gain_db / 20)
    error = sum(stems[name] for name in FOUR) - gain * mixture
    assert np.abs(error).max() <= (0 if report.gain_db == 0 else 2.0 ** (1 - bits))
    error = stems["vocals"] + stems["instrumental"] - gain * mixture
    assert np.abs(error).max() <= (0 if report.gain_db == 0 else 2.0 ** (1 - bits))
    assert report.parts == FOUR and set(report.outputs) == set(names)


def test_a_stem_does_not_depend_on_which_are_written(network: Path, tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    soundfile.write(path, song(2, 20_000, level=0.9).T, RATE_HZ, subtype="PCM_16")
    separator = Separator(network)
    alone, together = tmp_path / "alone", tmp_path / "together"
    separator.to_files(path, {"drums": alone / "drums.wav"}).run()
    separator.to_files(path, {stem: together / f"{stem}.wav" for stem in FOUR}).run()
    assert (alone / "drums.wav").read_bytes() == (together / "drums.wav").read_bytes()


def test_saved_stems_add_up(network: Path, tmp_path: Path) -> None:
    mixture = song(2, 9000, level=0.5)
    stems = Separator(network).separate(mixture, rate_hz=RATE_HZ, stems=["drums"])
    stems.save(tmp_path)
    assert sorted(file.stem for file in tmp_path.iterdir()) == sorted(FOUR)
    total = sum(soundfile.read(tmp_path / f"{stem}.wav")[0] for stem in FOUR)
    np.testing.assert_array_equal(total, mixture.T)
    stems.save(tmp_path / "two", stems=["vocals", "instrumental"])
    assert sorted(file.stem for file in (tmp_path / "two").iterdir()) == ["instrumental", "vocals"]


def test_a_model_of_frames_with_stems(tmp_path: Path) -> None:
    path = frames_network(tmp_path / "frames.onnx")
    separator = Separator(path)
    assert separator.stems == ("vocals", "drums", "other", "instrumental")
    assert estimated_by(str(path)) == [("drums", "vocals")]
    mixture = song(6, 30_000, seed=3)
    stems = separator.separate(mixture, rate_hz=RATE_HZ, stems=["all"])
    for name, share in {"vocals": 0.5, "drums": 0.25, "other": 0.25}.items():
        np.testing.assert_allclose(stems[name], share * mixture, atol=1e-6)


def test_a_blend_of_stems(network: Path, tmp_path: Path, mask_model: Path) -> None:
    frames = frames_network(tmp_path / "frames.onnx")
    mixture = song(2, 20_000, seed=9)

    def drums(*models: Path, **options: object) -> Floats:
        separator = Separator(list(models), **options)  # type: ignore[arg-type]
        return separator.separate(mixture, rate_hz=RATE_HZ, stems=["drums"])["drums"]

    both = drums(network, frames, weights=[1, 3])
    np.testing.assert_allclose(both, 0.25 * drums(network) + 0.75 * drums(frames), atol=2e-6)
    with pytest.raises(ConfigError, match=r"tiny.*no such stem: drums"):
        drums(network, mask_model)
    with pytest.raises(ConfigError, match="Wiener filter"):
        drums(network, wiener=1)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"stems": ("drums", "bass")}, "vocals"),
        ({"stems": ("vocals", "vocals")}, "each once"),
        ({"stems": ("vocals", "../drums")}, "names of small letters"),
        ({"output": "mask"}, "output"),
        ({"target": "instrumental"}, "target"),
    ],
)
def test_cards_with_impossible_stems(tmp_path: Path, changes: dict[str, object], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        frames_network(tmp_path / "a.onnx", **changes)
