"""Model files: ours with a card inside, other people's with one beside, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper

from helpers.small_models import SMALL, build_onnx, mask_card, mdx_network, song
from viso import Separator
from viso.audio import write
from viso.dsp.stft import istft, stft
from viso.errors import ConfigError, ModelError
from viso.models import registry
from viso.models import session as sessions
from viso.models.blend import load, load_blend
from viso.models.card import ModelCard
from viso.models.masknet import apply_graph
from viso.models.onnx import OnnxModel
from viso.models.session import Device

ORT = sessions._runtime()

MDX_CARD = """
name = "my-mdx"
input = "complex"
output = "complex"
target = "{target}"
n_bins = {bins}
chunk_frames = 64
context_frames = 8
gain = {gain}
licence = "ask its author"

[spectral]
n_fft = 768
hop = 128
"""


def mdx(folder: Path, *, weights: np.ndarray, target: str = "vocals", gain: float = 1.0) -> Path:
    bins = 300
    path = mdx_network(folder / "model.onnx", weights=weights, bins=bins, frames=64)
    card = MDX_CARD.format(target=target, bins=bins, gain=gain)
    path.with_suffix(".toml").write_text(card, encoding="utf-8")
    return path


def test_an_mdx_network_that_halves(tmp_path: Path) -> None:
    half = np.eye(4, dtype=np.float32)[:, :, None, None] * np.float32(0.5)
    separator = Separator(mdx(tmp_path, weights=half, gain=1.2))
    mixture = song(2, 50_000)
    stems = separator.separate(mixture, rate_hz=44_100)
    frames = stft(mixture, config=separator.card.spectral)
    frames[:, 300:] = 0  # the network does not see them, so they are not vocals
    expected = istft(frames * np.float32(0.6), config=separator.card.spectral, n_samples=50_000)
    assert np.abs(stems.vocals - expected).max() < 1e-6
    assert np.array_equal(stems.vocals + stems.instrumental, mixture)


def test_an_mdx_network_of_the_instrumental(tmp_path: Path) -> None:
    whole = np.eye(4, dtype=np.float32)[:, :, None, None]
    separator = Separator(mdx(tmp_path, weights=whole, target="instrumental"))
    mixture = song(2, 30_000)
    stems = separator.separate(mixture, rate_hz=44_100)
    # All of what it sees is instrumental, and so is what it does not see.
    assert np.abs(stems.vocals).max() < 1e-6


def test_channels_of_a_complex_spectrum_come_in_order(tmp_path: Path) -> None:
    """Left real, left imaginary, right real, right imaginary: swap them and the sides swap."""
    swap = np.zeros((4, 4, 1, 1), np.float32)
    for output, source in enumerate((2, 3, 0, 1)):
        swap[output, source] = 1
    mixture = song(2, 30_000)
    stems = Separator(mdx(tmp_path, weights=swap)).separate(mixture, rate_hz=44_100)
    frames = stft(mixture, config=Separator(tmp_path / "model.onnx").card.spectral)
    frames[:, 300:] = 0
    back = istft(frames, config=Separator(tmp_path / "model.onnx").card.spectral, n_samples=30_000)
    assert np.abs(stems.vocals - back[::-1]).max() < 1e-5


def test_an_mdx_network_with_a_field_of_view_streams_exactly(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).standard_normal((4, 4, 3, 3)).astype(np.float32) * 0.1
    separator = Separator(mdx(tmp_path, weights=weights), threads=1)
    mixture = song(2, 120_000)
    whole = separator.separate(mixture, rate_hz=44_100)
    blocks = np.array_split(mixture, 7, axis=1)
    parts = list(separator.stream(blocks, rate_hz=44_100, n_channels=2))
    assert np.array_equal(np.concatenate([v for v, _ in parts], axis=1), whole.vocals)
    assert np.array_equal(whole.vocals + whole.instrumental, mixture)


def test_dynamic_batch_and_time_axes_are_accepted(tmp_path: Path) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    path = build_onnx(
        tmp_path / "free.onnx",
        [node],
        {},
        in_shape=["batch", 2, SMALL.n_bins, "time"],  # type: ignore[list-item]
        out_shape=["batch", 2, SMALL.n_bins, "time"],  # type: ignore[list-item]
        card=mask_card(),
    )
    assert OnnxModel(path).card.name == "tiny"


def test_a_mask_may_leave_its_context_out(tmp_path: Path) -> None:
    card = mask_card()
    nodes = [helper.make_node("Slice", ["x", "start", "end", "axis"], ["y"])]
    constants = {
        "start": np.array([card.context_frames]),
        "end": np.array([card.chunk_frames - card.context_frames]),
        "axis": np.array([3]),
    }
    shape = [1, 2, SMALL.n_bins, card.chunk_frames]
    short = [1, 2, SMALL.n_bins, card.step_frames]
    path = build_onnx(
        tmp_path / "short.onnx", nodes, constants, in_shape=shape, out_shape=short, card=card
    )
    chunk = np.ones((2, SMALL.n_bins, card.chunk_frames), np.complex64)
    assert OnnxModel(path).estimate(chunk).shape == (2, SMALL.n_bins, card.step_frames)


def test_the_hash_is_the_files(mask_model: Path) -> None:
    import hashlib

    assert OnnxModel(mask_model).sha256 == hashlib.sha256(mask_model.read_bytes()).hexdigest()


def test_packaged_models_are_found_by_name_and_fit_their_cards() -> None:
    assert registry.DEFAULT in registry.packaged()
    for name in registry.packaged():
        blend = load_blend(name)
        assert blend.name == name
        for model in blend.models:
            assert isinstance(model, OnnxModel)
            assert model.card.licence != "unknown"
            assert model.card.trained_on
            assert model.card.scores
            assert model.path.stat().st_size <= 25e6
        assert blend.card is None or blend.card.scores


# What is refused


def refused(path: Path, reason: str, **how: object) -> None:
    with pytest.raises(ModelError, match=reason) as caught:
        load(path, **how)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value) or path.with_suffix(".toml").name in str(caught.value)


def test_no_such_name() -> None:
    with pytest.raises(ModelError, match=r"no packaged model.*viso-cnn"):
        load("viso-huge")


def test_no_such_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.onnx", "cannot be read")


def test_a_folder(tmp_path: Path) -> None:
    refused(tmp_path, "cannot be read")


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x09" * 500])
def test_no_model_at_all(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    refused(path, "empty" if not content else "not a model")


def test_a_cut_model(tmp_path: Path, mask_model: Path) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(mask_model.read_bytes()[:200])
    refused(path, "not a model|no model card")


def test_no_card(tmp_path: Path) -> None:
    weights_ = np.zeros((4, 4, 1, 1), np.float32)
    path = mdx_network(tmp_path / "bare.onnx", weights=weights_, bins=10, frames=16)
    refused(path, "no model card inside and no bare.toml")


@pytest.mark.parametrize(
    ("card", "reason"),
    [
        ("name = ", "TOML"),
        ("name = 'x'", "chunk_frames"),
        ("name = 'x'\nchunk_frames = 16\ncontext_frames = 8", "context_frames"),
        ("name = 'x'\nchunk_frames = 16\nunheard_of = 1", "unheard_of"),
        ("name = 'x'\nchunk_frames = 16", "does not fit"),
        ("name = '../x'\nchunk_frames = 16", "name"),
    ],
)
def test_a_card_beside_that_does_not_fit(tmp_path: Path, card: str, reason: str) -> None:
    weights_ = np.zeros((4, 4, 1, 1), np.float32)
    path = mdx_network(tmp_path / "bare.onnx", weights=weights_, bins=10, frames=16)
    path.with_suffix(".toml").write_text(card, encoding="utf-8")
    refused(path, reason)


@pytest.mark.parametrize(
    "change",
    [
        {"chunk_frames": 25},
        {"channels": 1, "basis": "left-right"},
        {"spectral": {"n_fft": 1024, "hop": 128}},
        {"input": "complex"},
        {"output": "complex"},
        {"n_bins": 100},
    ],
)
def test_a_card_inside_that_does_not_fit(
    tmp_path: Path, mask_model: Path, change: dict[str, object]
) -> None:
    values = {**mask_card().model_dump(), **change}
    model = onnx.load(mask_model)
    helper.set_model_props(model, {"viso.card": ModelCard(**values).model_dump_json()})
    path = tmp_path / "other.onnx"
    onnx.save(model, path)
    refused(path, "does not fit")


def test_a_damaged_card_inside(tmp_path: Path, mask_model: Path) -> None:
    model = onnx.load(mask_model)
    for text in ("{", json.dumps([1]), json.dumps({"name": "x"})):
        helper.set_model_props(model, {"viso.card": text})
        path = tmp_path / "other.onnx"
        onnx.save(model, path)
        refused(path, r"damaged|card: ")


def test_a_model_of_integers(tmp_path: Path) -> None:
    shape = [1, 2, SMALL.n_bins, 24]
    node = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)
    path = build_onnx(
        tmp_path / "int.onnx",
        [node],
        {},
        in_shape=shape,
        out_shape=shape,
        card=mask_card(),
        in_type=TensorProto.INT32,
    )
    refused(path, "not float32")


class OtherRuntime:
    """ONNX Runtime as a package with another device has it; `starts` says whether it does."""

    def __init__(self, provider: str, *, starts: bool = True) -> None:
        self._provider, self._starts = provider, starts

    def __getattr__(self, name: str) -> Any:
        return getattr(ORT, name)

    def get_available_providers(self) -> list[str]:
        return [self._provider, "CPUExecutionProvider"]

    def InferenceSession(self, data: bytes, options: Any, providers: list[str]) -> Any:  # noqa: N802
        session = ORT.InferenceSession(data, options, ["CPUExecutionProvider"])
        started = providers if self._starts else ["CPUExecutionProvider"]
        session.get_providers = lambda: started
        return session


@pytest.mark.parametrize(
    ("device", "provider"),
    [
        ("cuda", "CUDAExecutionProvider"),
        ("coreml", "CoreMLExecutionProvider"),
        ("directml", "DmlExecutionProvider"),
        ("migraphx", "MIGraphXExecutionProvider"),
    ],
)
def test_a_device_is_the_one_that_was_asked_for(
    mask_model: Path, monkeypatch: pytest.MonkeyPatch, device: Device, provider: str
) -> None:
    monkeypatch.setattr(sessions, "_runtime", lambda: OtherRuntime(provider))
    assert load(mask_model, device=device).device == device
    assert load(mask_model, device="cpu").device == "cpu"
    # The others were never measured, so only CUDA is taken unasked.
    assert load(mask_model).device == ("cuda" if device == "cuda" else "cpu")
    monkeypatch.setattr(sessions, "_runtime", lambda: OtherRuntime(provider, starts=False))
    refused(mask_model, "did not start", device=device)
    monkeypatch.undo()
    if provider not in ORT.get_available_providers():
        refused(mask_model, f"device {device} asked for", device=device)


def test_cuda_is_never_silently_something_else(mask_model: Path) -> None:
    if "CUDAExecutionProvider" in ORT.get_available_providers():
        assert load(mask_model, device="cuda").device == "cuda"
    else:
        refused(mask_model, "cuda", device="cuda")
        assert load(mask_model, device="auto").device == "cpu"


def test_a_card_survives_toml(tmp_path: Path) -> None:
    card = mask_card(scores={"vocals": 4.0}, teacher="somebody")
    path = tmp_path / "card.toml"
    path.write_text(card.to_toml(), encoding="utf-8")
    assert ModelCard.from_toml(path) == card


def test_settings_errors_name_file_and_key(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read"):
        ModelCard.from_toml(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not a TOML file"):
        ModelCard.from_toml(path)


@pytest.mark.parametrize("axes", ["bins-frames", "frames-bins"])
@pytest.mark.parametrize("basis", ["left-right", "mid-side"])
@pytest.mark.parametrize("kind", ["magnitude", "complex"])
@pytest.mark.parametrize("gain", [1.0, 1.5])
def test_what_a_network_sees_and_what_its_mask_does(
    axes: str, basis: str, kind: str, gain: float
) -> None:
    """By the definitions, written out: rotate, look, multiply, rotate back."""
    n_seen = SMALL.n_bins - 57
    card = mask_card(axes=axes, basis=basis, input=kind, gain=gain, n_bins=n_seen, chunk_frames=77)
    random = np.random.default_rng(0)
    chunk = (random.standard_normal((2, 77, SMALL.n_bins, 2)) @ [1, 1j]).astype(np.complex64)
    chunk = chunk.transpose(0, 2, 1)
    mask = random.random((2, n_seen, card.step_frames), np.float32)
    turn = np.array([[1, 1], [1, -1]]) / np.sqrt(2) if basis == "mid-side" else np.eye(2)
    seen = []

    def graph(features: npt.NDArray[np.float32], /) -> npt.NDArray[np.float32]:
        seen.append(features)
        return mask[None] if axes == "bins-frames" else mask.transpose(0, 2, 1)[None]

    before = chunk.copy()
    estimate = apply_graph(graph, chunk, card=card)
    rotated = np.einsum("ij,jbt->ibt", turn, chunk)
    parts = [part for each in rotated for part in (each.real, each.imag)]
    wanted = np.stack(parts) if kind == "complex" else np.abs(rotated)
    wanted = wanted[:, :n_seen] if axes == "bins-frames" else wanted[:, :n_seen].swapaxes(1, 2)
    assert seen[0].flags.c_contiguous
    np.testing.assert_allclose(seen[0][0], wanted, rtol=1e-5, atol=1e-5)
    full = np.concatenate([mask, np.repeat(mask[:, -1:], SMALL.n_bins - n_seen, axis=1)], axis=1)
    expected = np.einsum("ij,jbt->ibt", turn, full * rotated[:, :, 4:-4]) * gain
    np.testing.assert_allclose(estimate, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(chunk, before)


def test_a_model_is_nobodys_business(tmp_path: Path) -> None:
    """ONNX Runtime's telemetry begins with a file among the temporary ones."""
    code = "from viso.models.blend import load; load('viso')"
    # No more than this: it is silent by itself where a CI is named.
    environment = {"TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert not list(tmp_path.iterdir())


# How loud the output is


def scaled(path: Path, factor: float, **changes: Any) -> Path:
    """A mask of one number for all bins."""
    card = mask_card(**changes)
    shape = [1, 2 * (1 + (card.input == "complex")), SMALL.n_bins, card.chunk_frames]
    nodes = [
        helper.make_node("Mul", ["x", "zero"], ["silence"]),
        helper.make_node("Add", ["silence", "factor"], ["y"]),
    ]
    if card.output == "complex":
        nodes = [helper.make_node("Mul", ["x", "factor"], ["y"])]
    constants = {"zero": np.float32(0), "factor": np.float32(factor)}
    arrays = {name: np.asarray(value) for name, value in constants.items()}
    return build_onnx(path, nodes, arrays, in_shape=shape, out_shape=shape, card=card)


COMPLEX = {"input": "complex", "output": "complex"}


@pytest.mark.parametrize("card", [{}, COMPLEX], ids=["mask", "complex"])
@pytest.mark.parametrize("factor", [1e30, -1e6, np.nan, np.inf])
def test_outputs_that_no_separator_has(tmp_path: Path, factor: float, card: dict[str, Any]) -> None:
    path = scaled(tmp_path / "loud.onnx", factor, **card)
    with pytest.raises(ModelError, match=r"loud\.onnx: its output is (NaN|.*times as loud)"):
        Separator(path).separate(song(2, 30_000), rate_hz=44_100)


def test_a_gain_counts_as_the_mask_does(tmp_path: Path) -> None:
    path = scaled(tmp_path / "loud.onnx", 900, gain=2.0)
    with pytest.raises(ModelError, match=r"1\.8e\+03 times as loud"):
        Separator(path).separate(song(2, 30_000), rate_hz=44_100)


@pytest.mark.parametrize("card", [{}, COMPLEX], ids=["mask", "complex"])
@pytest.mark.parametrize("level", [0.0, 1e-6, 0.5, 3e4])
def test_loud_and_negative_outputs_are_no_damage(
    tmp_path: Path, level: float, card: dict[str, Any]
) -> None:
    mixture = song(2, 30_000, level=level or 1.0) * np.float32(level > 0)
    for factor in (10.0, -3.0):
        path = scaled(tmp_path / "loud.onnx", factor, **card)
        stems = Separator(path).separate(mixture, rate_hz=44_100)
        assert np.abs(stems.vocals - mixture * np.float32(factor)).max() <= 1e-4 * level


def test_a_loud_mask_ends_the_command(tmp_path: Path) -> None:
    write(tmp_path / "song.wav", song(2, 30_000), rate_hz=44_100)
    path = scaled(tmp_path / "loud.onnx", 1e30)
    command = [sys.executable, "-c", "from viso.cli import main; main()", "separate", "song.wav"]
    done = subprocess.run(
        [*command, "--model", str(path)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "1e+30 times as loud" in done.stderr
    assert not list(tmp_path.rglob("vocals*"))
