"""OpenVINO as a second runtime on the CPU: it computes in bfloat16 where the processor does.

The same ONNX file, checked in the same way. bfloat16 takes about half the time on processors with
AVX-512 BF16 or AMX. Its estimates differ from float32's; docs/use/models.md says by how much.
Needs the extra ``[openvino]``.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from viso.errors import ModelError, how_to_install
from viso.models._onnx_check import metadata_of, read_model
from viso.models.card import ModelCard, SegmentCard
from viso.models.session import Device, Side, card_of

__all__ = ["OpenVinoSession"]

Floats = npt.NDArray[np.float32]

_TELEMETRY = "openvino_telemetry"


class OpenVinoSession:
    """A network in an ONNX file, opened by OpenVINO; see `viso.models.session.Session`.

    Parameters
    ----------
    path : Path
        The ONNX file.
    threads : int
        CPU threads; 0 takes all cores.

    Attributes
    ----------
    device : str
        "openvino-bf16" or "openvino-f32": what it computes in.

    Raises
    ------
    ModelError
        If OpenVINO is not installed or cannot open the file, or `viso.models._onnx_check` refuses
        it.
    """

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        openvino = _openvino(path)
        data = read_model(path)
        self.path = path
        self.options: tuple[Device, int] = ("openvino", threads)
        self.sha256 = hashlib.sha256(data).hexdigest()
        self._metadata = metadata_of(data)
        core = openvino.Core()
        has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self.device = "openvino-bf16" if has_bf16 else "openvino-f32"
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "bf16" if has_bf16 else "f32"}
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            self._compiled = core.compile_model(core.read_model(data, b""), "CPU", options)
        except Exception as error:  # OpenVINO raises RuntimeError and its own types
            raise ModelError(
                f"{path}: not a model that OpenVINO can run ({_reason(error)}); use --device cpu"
            ) from error
        self.inputs = [_side(port) for port in self._compiled.inputs]
        self.outputs = [_side(port) for port in self._compiled.outputs]

    def card(self) -> ModelCard | SegmentCard:
        """See `Session.card`."""
        return card_of(self._metadata, self.path)

    def run(
        self, feeds: Mapping[str, Floats], outputs: Sequence[str] | None = None
    ) -> list[Floats]:
        """See `Session.run`."""
        try:
            results = self._compiled(dict(feeds))
            names = outputs or [side.name for side in self.outputs]
            # The arrays are the runtime's own, which the next call overwrites.
            return [np.array(results[name], np.float32) for name in names]
        except Exception as error:
            raise ModelError(f"{self.path}: failed while running ({_reason(error)})") from error


def _openvino(path: Path) -> Any:
    """Import OpenVINO without its telemetry, which would report the import to its makers."""
    is_loaded = _TELEMETRY in sys.modules
    if not is_loaded:
        # OpenVINO does without the package where it is missing; None stands for a missing one.
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        import openvino
    except ImportError as error:
        raise ModelError(
            f"{path}: device openvino asked for, but OpenVINO is not installed; it needs the "
            f"extra [openvino]: {how_to_install('openvino')}"
        ) from error
    finally:
        if not is_loaded:
            del sys.modules[_TELEMETRY]
    return openvino


def _side(port: Any) -> Side:
    shape = [size.get_length() if size.is_static else None for size in port.get_partial_shape()]
    kind = port.get_element_type().get_type_name()
    return Side(port.get_any_name(), shape, "tensor(float)" if kind == "f32" else kind)


def _reason(error: Exception) -> str:
    """Return a message of OpenVINO without its source files, at most 160 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    words = [line for line in lines if not line.startswith(("Exception from", "Check "))]
    return (words or lines or [type(error).__name__])[0][:160]
