"""A model: frames of a mixture in, frames of the vocals out.

`Model` is what the separator asks for, two members; `OnnxModel` keeps that promise with one
ONNX Runtime session, from a file of ours (card inside) or of somebody else's (card beside).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from viso import weights
from viso.config import ModelCard
from viso.errors import ConfigError, ModelError

__all__ = ["CARD_KEY", "Model", "OnnxModel", "apply_graph", "load"]

CARD_KEY = "viso.card"

Device = Literal["auto", "cpu", "cuda"]
Complexes = npt.NDArray[np.complex64]
Floats = npt.NDArray[np.float32]


class Model(Protocol):
    """What the separator needs of a model."""

    @property
    def card(self) -> ModelCard:
        """How to feed it, and where it comes from."""
        ...

    def estimate(self, chunk: Complexes) -> Complexes:
        """Return the target's part of the `card.step_frames` middle frames of `chunk`.

        Parameters
        ----------
        chunk : complex64 array [shape=(card.channels, bins, card.chunk_frames)]

        Returns
        -------
        complex64 array [shape=(card.channels, bins, card.step_frames)]
        """
        ...


class Graph(Protocol):
    """A network as a function of one float32 array."""

    def __call__(self, features: Floats, /) -> Floats:
        """Return the network's output for one batch."""
        ...


# Frames worked on at a time outside the network: so many stay in the cache.
_PORTION = 32
_HALF_POWER = np.float32(np.sqrt(0.5))


def _portions(n_frames: int) -> Iterator[slice]:
    return (slice(first, min(n_frames, first + _PORTION)) for first in range(0, n_frames, _PORTION))


def _rotated(frames: Complexes) -> Complexes:
    """Left and right to mid and side, or back: the matrix is its own inverse."""
    rotated = np.empty_like(frames)
    np.add(frames[0], frames[1], out=rotated[0])
    np.subtract(frames[0], frames[1], out=rotated[1])
    rotated *= _HALF_POWER
    return rotated


def _features(seen: Complexes, card: ModelCard) -> Floats:
    """Return the graph's input for a chunk [shape=(channels, bins, frames)]."""
    is_complex = card.input == "complex"
    n_channels, n_bins, n_frames = seen.shape
    features = np.empty((n_channels * (1 + is_complex), n_frames, n_bins), np.float32)
    if card.axes == "bins-frames":
        features = np.empty((len(features), n_bins, n_frames), np.float32).transpose(0, 2, 1)
    for part in _portions(n_frames):
        frames = seen[:, :, part].transpose(0, 2, 1)
        if card.basis == "mid-side":
            frames = _rotated(frames)
        if is_complex:
            features[0::2, part], features[1::2, part] = frames.real, frames.imag
        else:
            np.abs(frames, out=features[:, part])
    return features if card.axes == "frames-bins" else features.transpose(0, 2, 1)


def _above(factor: Floats, card: ModelCard) -> Floats:
    """Return the factor of the bins that the network does not see [shape=(channels, 1, frames)]."""
    if card.above == "average":
        average: Floats = factor.mean(axis=1, keepdims=True)
        return average
    highest = factor[:, -1:]
    return highest if card.above == "highest" else np.zeros_like(highest)


def _masked(frames: Complexes, mask: Floats, card: ModelCard) -> Complexes:
    """Multiply frames [shape=(channels, bins, frames)] with a mask of their lowest bins.

    A mask of mid and one of side are, for left and right, a factor for the channel itself and
    one for the other: half their sum and half their difference.
    """
    estimate = np.empty_like(frames)
    bins = mask.shape[1]
    if card.gain != 1.0:
        mask = mask * np.float32(card.gain)
    for part in _portions(frames.shape[2]):
        now, out, factor = frames[:, :, part], estimate[:, :, part], mask[:, :, part]
        if card.basis == "mid-side":
            factor = np.stack([factor[0] + factor[1], factor[0] - factor[1]]) * np.float32(0.5)
        for own, above in ((slice(bins), factor), (slice(bins, None), _above(factor, card))):
            if card.basis == "mid-side":
                np.multiply(now[:, own], above[:1], out=out[:, own])
                out[:, own] += now[::-1, own] * above[1:]
            else:
                np.multiply(now[:, own], above, out=out[:, own])
    return estimate


def apply_graph(graph: Graph, chunk: Complexes, *, card: ModelCard) -> Complexes:
    """Run one chunk through a network the way its card says.

    Parameters
    ----------
    graph : callable
        float32 array in, float32 array out, leading batch axis of 1.
    chunk : complex64 array [shape=(channels, bins, chunk_frames)]
    card : ModelCard

    Returns
    -------
    complex64 array [shape=(channels, bins, step_frames)]
        The target's spectrum in the chunk's middle frames.
    """
    bins, context = card.used_bins, card.context_frames
    result = graph(_features(chunk[:, :bins], card)[None])[0]
    if card.axes == "frames-bins":
        result = result.transpose(0, 2, 1)
    if result.shape[-1] == card.chunk_frames:
        result = result[..., context : context + card.step_frames]
    middle = chunk[:, :, context : context + card.step_frames]
    if card.output == "mask":
        return _masked(middle, result, card)
    estimate = np.zeros(middle.shape, np.complex64)
    estimate[:, :bins].real = result[0::2]
    estimate[:, :bins].imag = result[1::2]
    estimate[:, :bins] *= np.float32(card.gain)
    if card.basis == "mid-side":
        estimate[:, :bins] = _rotated(estimate[:, :bins])
    if card.target == "instrumental":
        # What the network does not see is no voice.
        estimate[:, bins:] = middle[:, bins:]
    return estimate


class OnnxModel:
    """A network in an ONNX file, run by ONNX Runtime.

    Parameters
    ----------
    path : Path
        The ONNX file.
    device : {"auto", "cpu", "cuda"}
        "auto" takes CUDA where ONNX Runtime offers it, else the CPU; "cuda" insists.
    threads : int
        CPU threads of the session; 0 lets ONNX Runtime take all cores.

    Attributes
    ----------
    card : ModelCard
    device : str
        "cpu" or "cuda": what it runs on in fact.
    sha256 : str
        Hash of the file, in hexadecimal.

    Raises
    ------
    ModelError
        If the file is missing, is no ONNX model, has no card or one that does not fit, or
        the device is not there.
    """

    def __init__(self, path: Path, *, device: Device = "auto", threads: int = 0) -> None:
        data = _file_bytes(path)
        self.path = path
        self.sha256 = hashlib.sha256(data).hexdigest()
        self._session = _session(data, path, device=device, threads=threads)
        self.card = _card_of(self._session, path)
        on_cuda = self._session.get_providers()[0] == "CUDAExecutionProvider"
        self.device = "cuda" if on_cuda else "cpu"
        self._input = self._session.get_inputs()[0].name
        _check_shapes(self._session, self.card, path)

    def run(self, features: Floats, /) -> Floats:
        """Run the bare graph on one input array, laid out as the card says."""
        try:
            result: Floats = self._session.run(None, {self._input: features})[0]
        except Exception as error:  # ONNX Runtime raises a family of private types
            raise ModelError(f"{self.path}: failed while running ({_reason(error)})") from error
        frames, bins = (3, 2) if self.card.axes == "bins-frames" else (2, 3)
        if (
            result.ndim != 4
            or result.shape[bins] != features.shape[bins]
            or result.shape[frames] not in (self.card.chunk_frames, self.card.step_frames)
        ):
            raise ModelError(
                f"{self.path}: gave an output of shape {result.shape} for {features.shape}, "
                "which its card does not allow"
            )
        return result

    def estimate(self, chunk: Complexes) -> Complexes:
        """See `Model.estimate`."""
        return apply_graph(self.run, chunk, card=self.card)


def load(model: str | PathLike[str], *, device: Device = "auto", threads: int = 0) -> OnnxModel:
    """Load a packaged model by name, or any ONNX file by path.

    Raises
    ------
    ModelError
        See `OnnxModel`; also for a name that is neither packaged nor a file.
    """
    path = Path(model)
    if str(model) in weights.available() or not (path.suffix or path.exists()):
        path = weights.path_of(str(model))
    return OnnxModel(path, device=device, threads=threads)


def _file_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: model cannot be read ({error.strerror})") from error
    if not data:
        raise ModelError(f"{path}: model file is empty")
    return data


def _session(data: bytes, path: Path, *, device: Device, threads: int) -> Any:
    import onnxruntime as ort

    available = ort.get_available_providers()
    wanted = ["CPUExecutionProvider"]
    if device == "cuda" and "CUDAExecutionProvider" not in available:
        raise ModelError(
            f"{path}: device cuda asked for, but this ONNX Runtime has none; "
            "install onnxruntime-gpu or use --device cpu"
        )
    if device != "cpu" and "CUDAExecutionProvider" in available:
        wanted.insert(0, "CUDAExecutionProvider")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.use_deterministic_compute = True
    # Threads that spin while the rest of the story runs take the cores it needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = ort.InferenceSession(data, options, providers=wanted)
    except Exception as error:  # ONNX Runtime raises a family of private types
        raise ModelError(
            f"{path}: not a model that ONNX Runtime can run ({_reason(error)})"
        ) from error
    if device == "cuda" and session.get_providers()[0] != "CUDAExecutionProvider":
        raise ModelError(f"{path}: device cuda asked for, but it did not start; use --device cpu")
    return session


def _reason(error: Exception) -> str:
    """First line of a library's message, at most 160 characters."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:160]


def _card_of(session: Any, path: Path) -> ModelCard:
    beside = path.with_suffix(".toml")
    inside = session.get_modelmeta().custom_metadata_map.get(CARD_KEY)
    try:
        if inside is not None:
            return ModelCard.from_mapping(json.loads(inside), origin=f"{path}: card")
        if beside.is_file():
            return ModelCard.from_toml(beside)
    except json.JSONDecodeError as error:
        raise ModelError(f"{path}: the card inside is damaged ({error})") from error
    except ConfigError as error:
        raise ModelError(str(error)) from error
    raise ModelError(f"{path}: no model card inside and no {beside.name} beside it; write one")


def _check_shapes(session: Any, card: ModelCard, path: Path) -> None:
    """Compare the graph's declared shapes with what the card promises."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(
            f"{path}: has {len(inputs)} inputs and {len(outputs)} outputs; need one of each"
        )
    for side in (inputs[0], outputs[0]):
        if side.type != "tensor(float)":
            raise ModelError(f"{path}: {side.name} is {side.type}, not float32")
    sides = (
        ("input", inputs[0].shape, card.input, {card.chunk_frames}),
        ("output", outputs[0].shape, card.output, {card.chunk_frames, card.step_frames}),
    )
    for side, shape, kind, frames in sides:
        channels = card.channels * (2 if kind == "complex" else 1)
        expected: list[set[int]] = [{1}, {channels}, {card.used_bins}, frames]
        if card.axes == "frames-bins":
            expected[2:] = expected[:1:-1]
        free = [size if isinstance(size, int) and size > 0 else None for size in shape]
        fits = len(free) == 4 and all(
            size is None or size in allowed for size, allowed in zip(free, expected, strict=True)
        )
        if not fits:
            wanted = [" or ".join(map(str, sorted(allowed))) for allowed in expected]
            raise ModelError(
                f"{path}: card does not fit: the graph's {side} is {list(shape)}, "
                f"the card says [{', '.join(wanted)}]"
            )
