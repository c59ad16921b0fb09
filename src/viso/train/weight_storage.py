"""Storage of weights in an exported file: as float32, float16, or int8 with a scale a row.

There are two steps with equal results. `round_weights` rounds the weights of the torch network
before the comparison. `store` then shortens the constants of the graph that hold exactly such
values. It tests the values, so it does not matter what the exporter did with a tensor (transposed
it, cut it, reordered its gates).

    float16   every tensor of 4096 values or more
    int8      matrices of that size (dense and recurrent layers); a row, the weights of one
              output, becomes ``scale * q`` with q from -127 to 127; the rest is float16

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
    """Round the weights of a network, in place, to the values that its file will have."""
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
    """Return the nearest multiples of each row's scale, which is its largest value over 127."""
    scale = weight.abs().amax(dim=1, keepdim=True) / _LARGEST
    # Round the scale up to 16 bits: then its multiples are exact in float32, and `_rows` finds it.
    mantissa, exponent = torch.frexp(scale)
    scale = torch.ldexp(torch.ceil(mantissa * 2**16) / 2**16, exponent)
    rounded = torch.round(weight / scale.clamp_min(torch.finfo(scale.dtype).tiny))
    return rounded.clamp(-_LARGEST, _LARGEST) * scale


def store(graph: onnx.ModelProto, storage: Storage) -> None:
    """Shorten the constants of a graph, in place, where this does not change their values."""
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
    """Return integers and scales whose product is exactly `values`, or None.

    Rows may be along any axis.
    """
    for axis in range(values.ndim):
        scale = np.abs(values).max(axis=axis, keepdims=True) / np.float32(_LARGEST)
        q = np.rint(values / np.where(scale > 0, scale, 1)).astype(np.int8)
        if np.array_equal(q.astype(np.float32) * scale, values):
            return q, scale
    return None
