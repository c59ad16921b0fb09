"""Separators that label songs without stems: `build_teacher` makes one by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from viso import Separator
from viso.errors import VisoError

__all__ = ["RATE_HZ", "Teacher", "build_teacher"]

RATE_HZ = 44_100
Floats = npt.NDArray[np.float32]


class Teacher(Protocol):
    """What labels songs: float32 arrays [shape=(2, n)] at 44.1 kHz in and out."""

    def heard(self, mixture: Floats) -> Floats:
        """Return the mixture up to the highest frequency that the teacher hears."""
        ...

    def vocals(self, mixture: Floats) -> Floats:
        """Return the vocals."""
        ...


def build_teacher(name: str, *, engine: str = "onnxruntime") -> Teacher:
    """Return the teacher of a name.

    Parameters
    ----------
    name : str
        ``spleeter``, the path of ``htdemucs.onnx``, or any model that `viso.Separator` takes.
    engine : {"onnxruntime", "openvino"}
        What runs HTDemucs.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    if name == "spleeter":
        from teachers.spleeter import Spleeter

        return Spleeter()
    if Path(name).name == "htdemucs.onnx":
        from teachers.htdemucs import HtDemucs

        return HtDemucs(Path(name), engine=engine)
    try:
        return _Model(Separator(name))
    except VisoError as error:
        raise ValueError(str(error)) from error


class _Model:
    def __init__(self, separator: Separator) -> None:
        self._separator = separator

    def heard(self, mixture: Floats) -> Floats:
        return mixture

    def vocals(self, mixture: Floats) -> Floats:
        vocals: Floats = self._separator.separate(mixture, rate_hz=RATE_HZ).vocals
        return vocals
