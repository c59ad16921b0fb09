"""A session holds the arrays that its graph needs next, not those of layers before and after."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

N_SHAPES = 16
N_BYTES = 16 << 20  # of each array


def up_and_down(path: Path) -> Path:
    """A chain of arrays of one size in as many shapes, and then of the same shapes backwards.

    A U-Net has such shapes. Each array is averaged and dropped, so two at a time are enough.
    """
    shapes = [(2**number, (N_BYTES >> number) // 4) for number in range(N_SHAPES)]
    nodes, last = [], "x"
    for number, shape in enumerate([*shapes, *reversed(shapes)]):
        sizes = numpy_helper.from_array(np.array(shape, np.int64))
        nodes += [
            helper.make_node("Constant", [], [f"shape{number}"], value=sizes),
            helper.make_node("Expand", [last, f"shape{number}"], [f"array{number}"]),
            helper.make_node("ReduceMean", [f"array{number}"], [f"x{number}"], keepdims=1),
        ]
        last = f"x{number}"
    side = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1])
    end = helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, 1])
    graph = helper.make_graph(nodes, "up and down", [side], [end])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="the peak is read from resource")
def test_a_buffer_does_not_wait_for_a_later_layer(tmp_path: Path) -> None:
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from viso.models.session import OnnxSession\n"
        "session = OnnxSession(Path(sys.argv[1]), device='cpu', threads=1)\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "[end] = session.run({'x': np.ones((1, 1), np.float32)})\n"
        "assert abs(end.item() - 1) < 1e-3, end\n"
        "print((peak() - before) * (1 if sys.platform == 'darwin' else 1024))\n"
    )
    path = up_and_down(tmp_path / "up-and-down.onnx")
    ran = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert int(ran.stdout) < 4 * N_BYTES
