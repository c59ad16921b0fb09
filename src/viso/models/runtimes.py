"""Opens a model's file with the runtime of a device: ONNX Runtime, or OpenVINO."""

from __future__ import annotations

from pathlib import Path

from viso.models.openvino import OpenVinoSession
from viso.models.session import Device, OnnxSession, Session

__all__ = ["open_session"]


def open_session(path: Path, *, device: Device = "auto", threads: int = 0) -> Session:
    """Open a model's file.

    Parameters
    ----------
    path : Path
    device : str
        One of `viso.models.session.DEVICES`.
        "auto" uses CUDA if ONNX Runtime offers it, else the CPU. Any other device raises if it is
        not available.
    threads : int
        CPU threads of the session; 0 takes all cores.

    Raises
    ------
    ModelError
        See `OnnxSession` and `OpenVinoSession`.
    """
    if device == "openvino":
        return OpenVinoSession(path, threads=threads)
    return OnnxSession(path, device=device, threads=threads)
