"""Weights in a file: rounded first, found again whatever the exporter made of them."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from viso.train.weight_storage import round_weights, store


class Layers(nn.Module):
    """A convolution, a dense and a recurrent layer, a vector and what is too small."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 16, (5, 7))
        self.dense = nn.Linear(80, 64)
        self.lstm = nn.LSTM(64, 32, bidirectional=True)
        self.vector = nn.Parameter(torch.randn(5000))
        self.small = nn.Linear(8, 8)


@pytest.fixture
def layers():
    torch.manual_seed(0)
    return Layers()


def state_of(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def graph_of(**constants):
    """A graph that gives its constants back."""
    made = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    outputs = [
        helper.make_tensor_value_info(f"{name}.out", TensorProto.FLOAT, values.shape)
        for name, values in constants.items()
    ]
    nodes = [helper.make_node("Identity", [name], [f"{name}.out"]) for name in constants]
    graph = helper.make_graph(nodes, "test", [], outputs, made)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def constants_of(graph):
    return {c.name: numpy_helper.to_array(c) for c in graph.graph.initializer}


def run(graph):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options)
    names = [output.name.removesuffix(".out") for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {}), strict=True))


def test_float32_is_left_alone(layers):
    before = state_of(layers)
    round_weights(layers, "float32")
    assert all(torch.equal(value, before[name]) for name, value in state_of(layers).items())
    graph = graph_of(w=before["dense.weight"].numpy())
    whole = graph.SerializeToString()
    store(graph, "float32")
    assert graph.SerializeToString() == whole


@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_only_wide_weights_are_rounded(layers, storage):
    before = state_of(layers)
    round_weights(layers, storage)
    changed = {name for name, value in state_of(layers).items() if not value.equal(before[name])}
    assert changed == {
        "conv.weight", "dense.weight", "vector", "lstm.weight_ih_l0", "lstm.weight_hh_l0",
        "lstm.weight_ih_l0_reverse", "lstm.weight_hh_l0_reverse",
    }  # fmt: skip
    assert layers.conv.weight.equal(before["conv.weight"].half().float())
    assert layers.vector.equal(before["vector"].half().float())
    if storage == "int8":
        rows, exact = layers.dense.weight.detach(), before["dense.weight"]
        scale = rows.abs().amax(dim=1, keepdim=True) / 127
        torch.testing.assert_close(rows / scale, (rows / scale).round(), rtol=0, atol=1e-4)
        assert ((rows - exact).abs() <= 0.501 * scale).all()
        # Rows have scales of their own.
        assert scale.unique().numel() > 50


@pytest.mark.parametrize("level", [1e-20, 1e-6, 0.3, 1e5])
def test_rows_are_found_again_however_they_lie(layers, level):
    with torch.no_grad():
        layers.dense.weight *= level * torch.rand(64, 1) ** 3
        layers.dense.weight[5] = 0
    round_weights(layers, "int8")
    weight = layers.dense.weight.detach().numpy()
    recurrent = np.stack([layers.lstm.weight_ih_l0.detach(), layers.lstm.weight_ih_l0.detach()])
    kept = {
        "rows": weight, "turned": np.ascontiguousarray(weight.T), "shuffled": weight[::-1].copy(),
        "both": recurrent,
    }  # fmt: skip
    graph = graph_of(**kept)
    store(graph, "int8")
    onnx.checker.check_model(graph)
    stored = constants_of(graph)
    for name, values in kept.items():
        assert stored[f"{name}.int8"].dtype == np.int8
        assert stored[f"{name}.int8"].shape == values.shape
        assert stored[f"{name}.scale"].size == values.size // values.shape[name != "turned"] or (
            name == "both"
        )
    # To the bit.
    for name, values in run(graph).items():
        np.testing.assert_array_equal(values, kept[name])


def test_what_was_not_rounded_is_kept_as_it_is():
    values = np.random.default_rng(0).standard_normal((80, 64)).astype(np.float32)
    half, few = values.astype(np.float16).astype(np.float32), values[:8]
    for storage in ("float16", "int8"):
        graph = graph_of(values=values, half=half, few=few)
        store(graph, storage)
        stored = constants_of(graph)
        assert stored["values"].dtype == stored["few"].dtype == np.float32
        assert stored["half.half"].dtype == np.float16
        found = run(graph)
        for name, expected in (("values", values), ("half", half), ("few", few)):
            np.testing.assert_array_equal(found[name], expected)


def test_a_byte_a_weight(layers):
    round_weights(layers, "int8")
    graph = graph_of(w=layers.dense.weight.detach().numpy())
    store(graph, "int8")
    assert len(graph.SerializeToString()) < layers.dense.weight.numel() + 4 * 64 + 600
