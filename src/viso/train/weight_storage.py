"""How weights lie in an exported file: as they are, as float16, or as int8 with a scale a row.

Rounding is done twice and agrees: `round_weights` in the torch network, before anything is
compared, and `store` in the graph, for constants that hold exactly such values. Whatever the
exporter did with a tensor (turned it, cut it, put gates in another order) is found by looking.

    float16   every tensor of 4096 values and more
    int8      matrices of that size (dense and recurrent layers), a row of which, the weights of
              one output, becomes ``scale * q`` with q from -127 to 127; the rest as float16

The graph widens them when it is loaded: it computes in float32, as fast as before.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

__all__ = ["Storage", "round_weights", "store"]

Storage = Literal["float32", "float16", "int8"]

_WIDE = 4096  # smaller tensors are not worth a cast
_LARGEST = 127


def round_weights(network: nn.Module, storage: Storage) -> None:
    """Give a network, in place, the weights that its file will have."""
    if storage == "float32":
        return
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.numel() < _WIDE:
                continue
            if storage == "int8" and parameter.ndim == 2:
                parameter.copy_(_as_int8(parameter))
            else:
                parameter.copy_(parameter.half().float())


def _as_int8(weight: Tensor) -> Tensor:
    """Return the nearest multiples of each row's scale, 127 of which are its largest value."""
    scale = weight.abs().amax(dim=1, keepdim=True) / _LARGEST
    # With 16 bits, up, every multiple is exact in float32, and the scale can be found again.
    mantissa, exponent = torch.frexp(scale)
    scale = torch.ldexp(torch.ceil(mantissa * 2**16) / 2**16, exponent)
    rounded = torch.round(weight / scale.clamp_min(torch.finfo(scale.dtype).tiny))
    return rounded.clamp(-_LARGEST, _LARGEST) * scale


def store(graph: onnx.ModelProto, storage: Storage) -> None:
    """Make the constants small that can be without a change, in place."""
    if storage == "float32":
        return
    widening: list[NodeProto] = []
    added: list[TensorProto] = []
    for constant in graph.graph.initializer:
        values = numpy_helper.to_array(constant)
        if constant.data_type != TensorProto.FLOAT or values.size < _WIDE:
            continue
        name = constant.name
        half = values.astype(np.float16)
        quantised = _rows(values) if storage == "int8" else None
        if quantised is not None:
            q, scale = quantised
            constant.CopyFrom(numpy_helper.from_array(q, f"{name}.int8"))
            added.append(numpy_helper.from_array(scale, f"{name}.scale"))
            widening += [
                helper.make_node("Cast", [f"{name}.int8"], [f"{name}.q"], to=TensorProto.FLOAT),
                helper.make_node("Mul", [f"{name}.q", f"{name}.scale"], [name]),
            ]
        elif np.array_equal(half.astype(np.float32), values):
            constant.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
            widening.append(
                helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT)
            )
    graph.graph.initializer.extend(added)
    nodes = [*widening, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


def _rows(
    values: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]] | None:
    """Return integers and scales whose product is `values` to the bit, or None.

    Rows may lie along any axis.
    """
    for axis in range(values.ndim):
        scale = np.abs(values).max(axis=axis, keepdims=True) / np.float32(_LARGEST)
        q = np.rint(values / np.where(scale > 0, scale, 1)).astype(np.int8)
        if np.array_equal(q.astype(np.float32) * scale, values):
            return q, scale
    return None
