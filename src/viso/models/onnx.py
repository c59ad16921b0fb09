"""A model: frames of a mixture in, frames of its target out.

`Model` is the protocol of two members that the separator needs. `OnnxModel` implements it with
one ONNX Runtime session; the card is in the file, or in a file beside it.
"""

from __future__ import annotations

import hashlib
import math
import os
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from viso.config import parse_json
from viso.errors import ConfigError, ModelError
from viso.models import registry
from viso.models._onnx_check import LARGEST_CARD, read_model
from viso.models.card import ModelCard
from viso.models.masknet import apply_graph

__all__ = ["CARD_KEY", "LOUDEST", "MEMORY_BYTES", "Model", "OnnxModel", "apply_graph", "load"]

CARD_KEY = "viso.card"
MEMORY_BYTES = 4 << 30
"""CPU memory for all models together that are not in the package."""

LOUDEST = 1000
"""The peak of a model's output may be this many times that of the mixture (60 dB).

The masks of all models that come with viso stay below 1.01 for music, noise, silence and clipped
waves (measured). Masks of other models exceed 1 where vocals and instrumental cancel each other.
"""

Device = Literal["auto", "cpu", "cuda"]
Complexes = npt.NDArray[np.complex64]
Floats = npt.NDArray[np.float32]


class Model(Protocol):
    """What the separator needs from a model."""

    @property
    def card(self) -> ModelCard:
        """How to run the model, and where it comes from."""
        ...

    def estimate(self, chunk: Complexes) -> Complexes:
        """Return the target's spectrum in the `card.step_frames` middle frames of `chunk`.

        Parameters
        ----------
        chunk : complex64 array [shape=(card.channels, bins, card.chunk_frames)]

        Returns
        -------
        complex64 array [shape=(card.channels, bins, card.step_frames)]
        """
        ...


class OnnxModel:
    """A network in an ONNX file, run by ONNX Runtime.

    A pickle holds only the path and the hash of the file; unpickling opens the file again.

    Parameters
    ----------
    path : Path
        The ONNX file.
    device : {"auto", "cpu", "cuda"}
        "auto" uses CUDA if ONNX Runtime offers it, else the CPU; "cuda" raises without CUDA.
    threads : int
        CPU threads of the session; 0 lets ONNX Runtime use all cores.

    Attributes
    ----------
    card : ModelCard
    device : str
        "cpu" or "cuda": the device that it really runs on.
    sha256 : str
        Hash of the file, in hexadecimal.

    Raises
    ------
    ModelError
        If the file is missing, is not an ONNX model, or is refused by `viso.models._onnx_check`;
        if it has no card or its card does not fit; if the device is not available.
    """

    def __init__(self, path: Path, *, device: Device = "auto", threads: int = 0) -> None:
        data = read_model(path)
        self.path = path
        self._asked: tuple[Device, int] = (device, threads)
        self.sha256 = hashlib.sha256(data).hexdigest()
        self._session = _session(data, path, device=device, threads=threads)
        self.card = _card_of(self._session, path)
        on_cuda = self._session.get_providers()[0] == "CUDAExecutionProvider"
        self.device = "cuda" if on_cuda else "cpu"
        self._input = self._session.get_inputs()[0].name
        _check_shapes(self._session, self.card, path)

    def __reduce__(self) -> tuple[Any, ...]:
        # A session cannot be pickled; another process opens the same file.
        return _reloaded, (self.path.absolute(), self.sha256, *self._asked)

    def run(self, features: Floats, /) -> Floats:
        """Run the bare graph on one input array with the layout in the card."""
        try:
            result: Floats = self._session.run(None, {self._input: features})[0]
        except Exception as error:  # ONNX Runtime raises several private types
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
        self._check_level(features, result)
        return result

    def _check_level(self, features: Floats, result: Floats) -> None:
        """Raise if the output is not finite, or so loud that its gain would silence both stems."""
        peak = _peak(result) * self.card.gain
        if self.card.output == "mask":
            reference = 1.0
        else:
            # For a silent chunk, the reference is the spectrum of a full-scale constant.
            reference = max(_peak(features), self.card.spectral.n_fft / 2)
        if not peak <= LOUDEST * reference:  # also true for NaN
            loud = f"{peak / reference:.3g} times as loud as the mixture"
            raise ModelError(
                f"{self.path}: its output is {loud if math.isfinite(peak) else 'NaN or infinite'}; "
                f"more than {LOUDEST} times is refused: the file is damaged, or its card does not "
                "fit (output, gain)"
            )

    def estimate(self, chunk: Complexes) -> Complexes:
        """See `Model.estimate`."""
        return apply_graph(self.run, chunk, card=self.card)


def load(model: str | PathLike[str], *, device: Device = "auto", threads: int = 0) -> OnnxModel:
    """Load a model by name, or an ONNX file by path; `viso.models.blend` loads several as one.

    Raises
    ------
    ModelError
        See `OnnxModel`; also for an unknown name, and for the name of a blend.
    """
    path = Path(model)
    if str(model) in registry.available() or not (path.suffix or path.exists()):
        path = registry.path_of(str(model))
    if path.suffix.lower() == ".toml":
        raise ModelError(f"{path}: is no model but a card; name its ONNX file, or a single model")
    return OnnxModel(path, device=device, threads=threads)


def _reloaded(path: Path, sha256: str, device: Device, threads: int) -> OnnxModel:
    """Open a pickled model's file again.

    Raises
    ------
    ModelError
        See `OnnxModel`; also if the file has changed.
    """
    model = OnnxModel(path, device=device, threads=threads)
    if model.sha256 != sha256:
        raise ModelError(f"{path}: is another file than when it was pickled; load it anew")
    return model


def _peak(values: Floats) -> float:
    """Return the largest magnitude, or NaN if a value is NaN."""
    return max(float(values.max()), -float(values.min()))  # fastest, because it makes no copy


@cache
def _runtime() -> Any:
    """Load ONNX Runtime without telemetry: from 1.29 on it reports loaded models to its makers."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


@cache
def _limit_memory() -> None:
    """Register an allocator with a limit, once per process, for sessions that request it."""
    ort = _runtime()
    where = ort.OrtMemoryInfo(
        "Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT
    )
    ort.create_and_register_allocator(where, ort.OrtArenaCfg({"max_mem": MEMORY_BYTES}))


def _session(data: bytes, path: Path, *, device: Device, threads: int) -> Any:
    ort = _runtime()
    available = ort.get_available_providers()
    wanted = ["CPUExecutionProvider"]
    if device == "cuda" and "CUDAExecutionProvider" not in available:
        raise ModelError(
            f"{path}: device cuda asked for, but this ONNX Runtime has none; "
            "use --device cpu, or put onnxruntime-gpu in its place (docs/use/models.md says how)"
        )
    if device != "cpu" and "CUDAExecutionProvider" in available:
        wanted.insert(0, "CUDAExecutionProvider")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.use_deterministic_compute = True
    # Spinning threads would take cores that the rest of the program needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The file was checked as ONNX, so ONNX Runtime must not read it as another format.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    if path.resolve().parent != registry.PACKAGED:
        # A few numbers in a graph can require any amount of memory.
        _limit_memory()
        options.add_session_config_entry("session.use_env_allocators", "1")
    try:
        session = ort.InferenceSession(data, options, providers=wanted)
    except Exception as error:  # ONNX Runtime raises several private types
        raise ModelError(
            f"{path}: not a model that ONNX Runtime can run ({_reason(error)})"
        ) from error
    if device == "cuda" and session.get_providers()[0] != "CUDAExecutionProvider":
        raise ModelError(f"{path}: device cuda asked for, but it did not start; use --device cpu")
    return session


def _reason(error: Exception) -> str:
    """Return the first line of a library's message, at most 160 characters."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:160]


def _card_of(session: Any, path: Path) -> ModelCard:
    beside = path.with_suffix(".toml")
    try:
        inside = session.get_modelmeta().custom_metadata_map.get(CARD_KEY)
        if inside is not None:
            return ModelCard.from_mapping(parse_json(inside), origin=f"{path}: card")
        if beside.is_file():
            if beside.stat().st_size > LARGEST_CARD:
                raise ModelError(f"{beside}: more than {LARGEST_CARD} bytes; no card is so long")
            return ModelCard.from_toml(beside)
    except ValueError as error:
        raise ModelError(f"{path}: the card inside is damaged ({error!s:.160})") from error
    except ConfigError as error:
        raise ModelError(str(error)) from error
    raise ModelError(f"{path}: no model card inside and no {beside.name} beside it; write one")


def _check_shapes(session: Any, card: ModelCard, path: Path) -> None:
    """Raise if the graph's declared shapes differ from those in the card."""
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
