"""Sessions: a checked ONNX file, the device it runs on, named arrays in and out.

`OnnxSession` runs a file with ONNX Runtime; `viso.models.runtimes` chooses the runtime.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, get_args

import numpy as np
import numpy.typing as npt

from viso.config import load_toml, parse_json
from viso.errors import ConfigError, ModelError
from viso.models import registry
from viso.models._onnx_check import LARGEST_CARD, read_model
from viso.models.card import ModelCard, SegmentCard, card_from

__all__ = [
    "CARD_KEY",
    "DEVICES",
    "MEMORY_BYTES",
    "Device",
    "OnnxSession",
    "Session",
    "Side",
    "card_of",
]

CARD_KEY = "viso.card"
MEMORY_BYTES = 4 << 30
"""CPU memory for all models together that are not in the package."""

Device = Literal["auto", "cpu", "cuda", "coreml", "directml", "migraphx", "openvino"]
DEVICES: tuple[Device, ...] = get_args(Device)

_PROVIDERS = {
    "cuda": ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "coreml": ("CoreMLExecutionProvider", "onnxruntime for macOS"),
    "directml": ("DmlExecutionProvider", "onnxruntime-directml"),
    "migraphx": ("MIGraphXExecutionProvider", "onnxruntime-migraphx"),
}
"""ONNX Runtime's name of each device, and the package that has it."""

Floats = npt.NDArray[np.float32]

_AS_REQUESTED = 1  # memory grows by what is needed; by default it doubles


class Side(NamedTuple):
    """An input or output of a graph; a size of its shape that is not fixed is not an integer."""

    name: str
    shape: list[Any]
    type: str


class Session(Protocol):
    """A network in an ONNX file, opened on a device.

    Attributes
    ----------
    path : Path
    options : (str, int)
        The device and threads that were requested.
    device : str
        The device that it really runs on.
    sha256 : str
        Hash of the file, in hexadecimal.
    inputs, outputs : list of Side
    """

    path: Path
    options: tuple[Device, int]
    device: str
    sha256: str
    inputs: list[Side]
    outputs: list[Side]

    def card(self) -> ModelCard | SegmentCard:
        """Read the model's card: inside the file, or in a TOML file beside it.

        Raises
        ------
        ModelError
            If there is none, or it is wrong.
        """
        ...

    def run(
        self, feeds: Mapping[str, Floats], outputs: Sequence[str] | None = None
    ) -> list[Floats]:
        """Run the graph on arrays by name; return the outputs of these names, or all.

        Raises
        ------
        ModelError
            If the runtime fails.
        """
        ...


class OnnxSession:
    """A network in an ONNX file, opened by ONNX Runtime.

    Parameters
    ----------
    path : Path
        The ONNX file.
    device : {"auto", "cpu", "cuda", "coreml", "directml", "migraphx"}
        "auto" uses CUDA if ONNX Runtime offers it, else the CPU. Any other raises if ONNX Runtime
        does not offer it.
    threads : int
        CPU threads of the session; 0 lets ONNX Runtime take all cores.

    Attributes
    ----------
    path : Path
    options : (str, int)
        The device and threads that were requested.
    device : str
        The device that the session runs on: "cpu", or another that was requested or found.
    sha256 : str
        Hash of the file, in hexadecimal.
    inputs, outputs : list of Side

    Raises
    ------
    ModelError
        If the file is missing, is no ONNX model, or holds what `viso.models._onnx_check` refuses;
        if the device is not there.
    """

    def __init__(self, path: Path, *, device: Device = "auto", threads: int = 0) -> None:
        data = read_model(path)
        self.path = path
        self.options: tuple[Device, int] = (device, threads)
        self.sha256 = hashlib.sha256(data).hexdigest()
        self._session = _session(data, path, device=device, threads=threads)
        first = self._session.get_providers()[0]
        names = {provider: name for name, (provider, _) in _PROVIDERS.items()}
        self.device = names.get(first, "cpu")
        self.inputs = [Side(s.name, s.shape, s.type) for s in self._session.get_inputs()]
        self.outputs = [Side(s.name, s.shape, s.type) for s in self._session.get_outputs()]

    def card(self) -> ModelCard | SegmentCard:
        """See `Session.card`."""
        try:
            metadata = self._session.get_modelmeta().custom_metadata_map
        except UnicodeDecodeError as error:
            raise ModelError(f"{self.path}: the card inside is damaged ({error!s:.160})") from error
        return card_of(metadata, self.path)

    def run(
        self, feeds: Mapping[str, Floats], outputs: Sequence[str] | None = None
    ) -> list[Floats]:
        """See `Session.run`."""
        try:
            results: list[Floats] = self._session.run(outputs, dict(feeds))
        except Exception as error:  # ONNX Runtime raises a family of private types
            raise ModelError(f"{self.path}: failed while running ({_reason(error)})") from error
        return results


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
    ort.create_and_register_allocator(
        where, ort.OrtArenaCfg({"max_mem": MEMORY_BYTES, "arena_extend_strategy": _AS_REQUESTED})
    )


def _session(data: bytes, path: Path, *, device: Device, threads: int) -> Any:
    ort = _runtime()
    available = ort.get_available_providers()
    wanted = ["CPUExecutionProvider"]
    provider, package = _PROVIDERS.get("cuda" if device == "auto" else device, ("", ""))
    if provider in available:
        wanted.insert(0, provider)
    elif device not in ("auto", "cpu"):
        raise ModelError(
            f"{path}: device {device} asked for, but this ONNX Runtime has none; "
            f"use --device cpu, or put {package} in its place (docs/use/models.md says how)"
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.use_deterministic_compute = True
    # Spinning threads would take cores that the rest of the program needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # By default a buffer waits, unused, for a later array of its shape: 1.5 GB from the first
    # layers of HTDemucs to its last. An arena gives freed buffers to arrays of any shape.
    options.enable_mem_reuse = False
    options.enable_mem_pattern = False
    # The file was checked as ONNX, so ONNX Runtime must not read it as another format.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    if path.resolve().parent != registry.PACKAGED:
        # A few numbers in a graph can require any amount of memory.
        _limit_memory()
        options.add_session_config_entry("session.use_env_allocators", "1")
    try:
        session = ort.InferenceSession(data, options, providers=wanted)
    except Exception as error:  # ONNX Runtime raises a family of private types
        raise ModelError(
            f"{path}: not a model that ONNX Runtime can run ({_reason(error)})"
        ) from error
    if device not in ("auto", "cpu") and session.get_providers()[0] != provider:
        raise ModelError(
            f"{path}: device {device} asked for, but it did not start; use --device cpu"
        )
    # It keeps the file's bytes, to build itself anew on another device where one fails.
    session.disable_fallback()
    vars(session).update(_model_bytes=None)
    return session


def _reason(error: Exception) -> str:
    """Return the first line of a library's message, at most 160 characters."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:160]


def card_of(metadata: Mapping[str, str], path: Path) -> ModelCard | SegmentCard:
    """Return the card in a model's metadata, or in a TOML file beside it.

    Raises
    ------
    ModelError
        If there is none, or it is wrong.
    """
    beside = path.with_suffix(".toml")
    try:
        inside = metadata.get(CARD_KEY)
        if inside is not None:
            return card_from(parse_json(inside), origin=f"{path}: card")
        if beside.is_file():
            if beside.stat().st_size > LARGEST_CARD:
                raise ModelError(f"{beside}: more than {LARGEST_CARD} bytes; no card is so long")
            return card_from(load_toml(beside), origin=str(beside))
    except ValueError as error:
        raise ModelError(f"{path}: the card inside is damaged ({error!s:.160})") from error
    except ConfigError as error:
        raise ModelError(str(error)) from error
    raise ModelError(f"{path}: no model card inside and no {beside.name} beside it; write one")
