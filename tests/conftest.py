"""A small model for every test that needs one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from helpers.small_models import SMALL, build_onnx, mask_card


@pytest.fixture(scope="session")
def mask_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mask that depends on its surroundings in time and frequency: x / (x + mean around x)."""
    card = mask_card()
    shape = [1, 2, SMALL.n_bins, card.chunk_frames]
    nodes = [
        helper.make_node(
            "AveragePool", ["x"], ["m"], kernel_shape=[5, 7], pads=[2, 3, 2, 3], strides=[1, 1]
        ),
        helper.make_node("Add", ["x", "m"], ["s"]),
        helper.make_node("Add", ["s", "e"], ["t"]),
        helper.make_node("Div", ["x", "t"], ["y"]),
    ]
    constants = {"e": np.array(1e-6, np.float32)}
    path = tmp_path_factory.mktemp("models") / "tiny.onnx"
    return build_onnx(path, nodes, constants, in_shape=shape, out_shape=shape, card=card)
