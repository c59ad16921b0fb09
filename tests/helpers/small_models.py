"""Small networks and small songs for the tests, all made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from viso.dsp.stft import SpectralConfig
from viso.models.card import ModelCard, SegmentCard

CARD_KEY = "viso.card"
SMALL = SpectralConfig(rate_hz=44_100, n_fft=512, hop=128)


def build_onnx(
    path: Path,
    nodes: list[onnx.NodeProto],
    constants: dict[str, npt.NDArray[Any]],
    *,
    in_shape: list[int],
    out_shape: list[int],
    card: ModelCard | None,
    in_type: int = TensorProto.FLOAT,
) -> Path:
    """Write a graph from ``x`` to ``y``; with a card inside if one is given."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", in_type, in_shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out_shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if card is not None:
        helper.set_model_props(model, {CARD_KEY: card.model_dump_json()})
    onnx.save(model, path)
    return path


def mask_card(**changes: Any) -> ModelCard:
    """The card of `mask_model`, with changes."""
    values: dict[str, Any] = {
        "name": "tiny",
        "spectral": SMALL,
        "basis": "mid-side",
        "chunk_frames": 24,
        "context_frames": 4,
        "licence": "MIT",
        "trained_on": ("nothing",),
    }
    return ModelCard(**{**values, **changes})


def mdx_network(path: Path, *, weights: npt.NDArray[np.float32], bins: int, frames: int) -> Path:
    """A convolution over 4 channels of complex spectrum, as MDX-Net files have them, no card."""
    shape = [1, 4, bins, frames]
    pad = weights.shape[2] // 2
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[pad, pad, pad, pad])
    return build_onnx(path, [node], {"w": weights}, in_shape=shape, out_shape=shape, card=None)


def song(
    n_channels: int = 2, n_samples: int = 44_100, *, seed: int = 0, level: float = 0.1
) -> npt.NDArray[np.float32]:
    """Coloured noise on the grid of 24 bits, so that sums of stems can be exact."""
    random = np.random.default_rng(seed)
    noise = random.standard_normal((n_channels, n_samples))
    noise = np.cumsum(noise, axis=1) * 0.02 + noise
    noise -= noise.mean(axis=1, keepdims=True)
    noise *= level / max(1e-9, float(np.abs(noise).max()))
    return (np.rint(noise * 2**23) / 2**23).astype(np.float32)


def segment_card(**changes: Any) -> SegmentCard:
    """The card of `segment_network`, with changes."""
    values: dict[str, Any] = {
        "name": "segments",
        "segment_samples": 4000,
        "n_fft": 256,
        "hop": 64,
        "inputs": ("wave", "spectrum"),
        "outputs": ("waves", "spectra"),
        "licence": "MIT",
    }
    return SegmentCard(**{**values, **changes})


def segment_network(
    path: Path,
    *,
    of_samples: float = 0.0,
    of_spectrum: float = 0.5,
    card: SegmentCard | None = None,
    inside: bool = True,
    is_relative: bool = False,
) -> Path:
    """Write a graph whose vocals are shares of the samples and of the spectrum that it is given.

    With `is_relative` the share of the samples falls with the segment's level, as in a network
    that hears the whole segment. The other stems get a half, a quarter, an eighth of that.
    """
    card = card or segment_card()
    samples = [1, card.channels, card.segment_samples]
    spectrum = [1, 2 * card.channels, card.n_fft // 2, card.n_frames]
    others = iter(0.5 ** np.arange(1, len(card.stems) + 1))
    parts = [1.0 if stem == "vocals" else next(others) for stem in card.stems]
    of_stems = np.array(parts, np.float32).reshape(1, -1, 1, 1)
    constants = {
        "a": of_stems * np.float32(of_samples),
        "b": of_stems[..., None] * np.float32(of_spectrum),
        "axis": np.array([1], np.int64),
    }
    wave, waves = "wave", [1, len(card.stems), *samples[1:]]
    nodes = []
    if is_relative:
        nodes = [
            helper.make_node("Abs", ["wave"], ["loud"]),
            helper.make_node("ReduceMax", ["loud"], ["most"], keepdims=1),
            helper.make_node("Div", ["wave", "most"], ["relative"]),
        ]
        wave = "relative"
    nodes += [
        helper.make_node("Unsqueeze", [wave, "axis"], ["wave4"]),
        helper.make_node("Mul", ["wave4", "a"], ["waves"]),
        helper.make_node("Unsqueeze", ["spectrum", "axis"], ["spectrum5"]),
        helper.make_node("Mul", ["spectrum5", "b"], ["spectra"]),
    ]
    spectra = [1, len(card.stems), *spectrum[1:]]

    def side(name: str, shape: list[int]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes,
        "segments",
        [side("wave", samples), side("spectrum", spectrum)],
        [side("waves", waves), side("spectra", spectra)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if inside:
        helper.set_model_props(model, {CARD_KEY: card.model_dump_json()})
    onnx.save(model, path)
    return path


def cut(
    data: st.DataObject, mixture: npt.NDArray[np.float32], *, most: int = 6
) -> list[npt.NDArray[np.float32]]:
    """Cut a song [shape=(channels, n)] into blocks at places that hypothesis draws."""
    n_samples = mixture.shape[1]
    places = sorted(data.draw(st.lists(st.integers(0, n_samples), max_size=most)))
    return [mixture[:, a:b] for a, b in zip([0, *places], [*places, n_samples], strict=True)]
