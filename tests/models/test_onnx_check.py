"""Models of strangers: what is refused before ONNX Runtime sees it, and what is not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import viso.models.session
from helpers.small_models import SMALL, build_onnx, mask_card, mdx_network, song
from viso import Separator
from viso.errors import ConfigError, ModelError
from viso.models import _onnx_check, registry
from viso.models._onnx_check import LARGEST_CARD, check_model, read_model
from viso.models._protobuf import Reader
from viso.models.card import ModelCard
from viso.models.onnx import OnnxModel

SHAPE = [1, 2, SMALL.n_bins, 24]


def model(nodes: list[onnx.NodeProto], **constants: Any) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, SHAPE)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(made, {"viso.card": mask_card().model_dump_json()})
    return made


def identity() -> onnx.ModelProto:
    return model([helper.make_node("Identity", ["x"], ["y"])])


def refused(made: onnx.ModelProto | bytes, folder: Path, reason: str) -> None:
    data = made if isinstance(made, bytes) else made.SerializeToString()
    path = folder / "theirs.onnx"
    path.write_bytes(data)
    for opener in (OnnxModel, read_model):
        with pytest.raises(ModelError, match=reason) as caught:
            opener(path)
        assert "theirs.onnx" in str(caught.value)
        assert "\n" not in str(caught.value)


def branch(inner: onnx.GraphProto | None, depth: int) -> onnx.GraphProto:
    """A graph with a branch in a branch in ..."""
    out = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
    node = helper.make_node("Identity", ["x"], ["o"])
    if depth:
        deeper = branch(inner, depth - 1)
        node = helper.make_node("If", ["flag"], ["o"], then_branch=deeper, else_branch=deeper)
    return helper.make_graph([node], f"depth {depth}", [], [out])


def test_a_plain_model_passes(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    onnx.save(identity(), path)
    assert read_model(path) == path.read_bytes()
    stems = Separator(path).separate(song(2, 9_000), rate_hz=44_100)
    assert stems.vocals.shape == (2, 9_000)


@pytest.mark.parametrize(
    "path",
    [path for path in map(registry.path_of, registry.packaged()) if path.suffix == ".onnx"],
    ids=lambda path: path.stem,
)
def test_the_packaged_pass(path: Path) -> None:
    assert read_model(path)


@pytest.mark.parametrize("place", ["/etc/passwd", "../../secret", "beside.bin"])
def test_weights_in_another_file(tmp_path: Path, place: str) -> None:
    (tmp_path / "beside.bin").write_bytes(bytes(4 * 16))
    made = model([helper.make_node("Mul", ["x", "w"], ["y"])], w=np.ones((1, 1, 1, 24), "f4"))
    weight = made.graph.initializer[0]
    onnx.external_data_helper.set_external_data(weight, location=place)
    weight.data_location = TensorProto.EXTERNAL
    weight.ClearField("raw_data")
    refused(made, tmp_path, "weights lie in another file")
    weight.data_location = TensorProto.DEFAULT
    refused(made, tmp_path, "weights lie in another file")


def test_weights_of_a_constant_in_another_file(tmp_path: Path) -> None:
    value = numpy_helper.from_array(np.ones(24, "f4"))
    onnx.external_data_helper.set_external_data(value, location="/dev/zero")
    value.data_location = TensorProto.EXTERNAL
    nodes = [
        helper.make_node("Constant", [], ["w"], value=value),
        helper.make_node("Mul", ["x", "w"], ["y"]),
    ]
    refused(model(nodes), tmp_path, "weights lie in another file")


@pytest.mark.parametrize("domain", ["com.microsoft", "ai.onnx.ml", "custom", "ai.onnx "])
def test_operators_of_others(tmp_path: Path, domain: str) -> None:
    node = helper.make_node("Gelu", ["x"], ["y"], domain=domain)
    refused(model([node]), tmp_path, f"operator 'Gelu' of '{domain}'")


def test_functions(tmp_path: Path) -> None:
    made = identity()
    body = [helper.make_node("Identity", ["a"], ["b"])]
    opset = [helper.make_opsetid("", 17)]
    made.functions.append(helper.make_function("", "Identity", ["a"], ["b"], body, opset))
    refused(made, tmp_path, "functions of its own")


def test_loops_and_scans(tmp_path: Path) -> None:
    body = helper.make_graph([helper.make_node("Identity", ["x"], ["o"])], "body", [], [])
    node = helper.make_node("Loop", ["n", "", "x"], ["y"], body=body)
    refused(model([node], n=np.int64(1 << 62)), tmp_path, "'Loop' with a graph inside")


def test_branches(tmp_path: Path) -> None:
    def branching(depth: int) -> onnx.ModelProto:
        deeper = branch(None, depth)
        node = helper.make_node("If", ["flag"], ["y"], then_branch=deeper, else_branch=deeper)
        return model([node], flag=np.array(True))

    path = tmp_path / "a.onnx"
    onnx.save(branching(1), path)
    assert OnnxModel(path).card.name == "tiny"
    refused(branching(8), tmp_path, "branches in branches")


def test_many_operators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_onnx_check, "_MOST_NODES", 20)
    nodes = [helper.make_node("Identity", ["x"], [f"o{n}"]) for n in range(30)]
    refused(model([*nodes, *identity().graph.node]), tmp_path, "more than 20 operators")


@pytest.mark.parametrize("dims", [[1 << 40], [1 << 20, 1 << 20], [-5], [25], [1 << 62, 1 << 62]])
def test_constants_that_are_not_there(tmp_path: Path, dims: list[int]) -> None:
    made = model([helper.make_node("Mul", ["x", "w"], ["y"])], w=np.ones(2, "f4"))
    made.graph.initializer[0].dims[:] = dims
    refused(made, tmp_path, "a tensor of shape")


def test_sparse_tensors(tmp_path: Path) -> None:
    values = numpy_helper.from_array(np.ones(1, "f4"), "w")
    indices = numpy_helper.from_array(np.zeros(1, np.int64))
    made = identity()
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [1 << 30]))
    refused(made, tmp_path, "sparse")


@pytest.mark.parametrize("place", ["input", "output", "value_info"])
def test_shapes_that_nothing_has(tmp_path: Path, place: str) -> None:
    for shape in ([1, 2, 1 << 33, 24], [1 << 10] * 4, [1 << 14, 1, 1 << 14, 2]):
        made = identity()
        side = helper.make_tensor_value_info("z", TensorProto.FLOAT, shape)
        sides = getattr(made.graph, place)
        sides.append(side)
        refused(made, tmp_path, "'z' of shape")
    if place != "value_info":
        del getattr(made.graph, place)[:]
        getattr(made.graph, place).append(
            helper.make_tensor_value_info("q", TensorProto.FLOAT, None)
        )
        refused(made, tmp_path, "'q' has 0 shapes")


def test_cards_that_are_long(tmp_path: Path) -> None:
    made = identity()
    long = mask_card(description="x" * LARGEST_CARD).model_dump_json()
    helper.set_model_props(made, {"viso.card": long})
    refused(made, tmp_path, "a card of")
    helper.set_model_props(made, {"viso.card": mask_card().model_dump_json(), "a": "b" * (2 << 20)})
    refused(made, tmp_path, "bytes of metadata")
    made = identity()
    made.metadata_props.append(made.metadata_props[0])
    refused(made, tmp_path, "1 graphs and 2 cards")


def test_a_card_beside_that_is_long(tmp_path: Path) -> None:
    path = mdx_network(
        tmp_path / "a.onnx", weights=np.zeros((4, 4, 1, 1), np.float32), bins=10, frames=16
    )
    path.with_suffix(".toml").write_text("#" * (LARGEST_CARD + 1))
    with pytest.raises(ModelError, match=r"a\.toml: more than"):
        OnnxModel(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"chunk_frames": 16_384, "spectral": {"n_fft": 4096}}, "more than"),
        ({"spectral": {"n_fft": 65_536, "hop": 1}}, "times hop"),
    ],
)
def test_cards_that_ask_for_much(change: dict[str, Any], reason: str) -> None:
    values = {**mask_card().model_dump(), **change}
    with pytest.raises(ConfigError, match=reason):
        ModelCard.from_mapping(values, origin="a card")


def test_files_that_are_large_or_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.onnx"
    with path.open("wb") as file:
        file.truncate(_onnx_check.LARGEST_BYTES + 1)  # a hole: it takes no space
    with pytest.raises(ModelError, match=r"a\.onnx: a model of \d+ bytes"):
        OnnxModel(path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.onnx")
        with pytest.raises(ModelError, match="no regular file"):
            OnnxModel(tmp_path / "pipe.onnx")


def test_memory_has_a_limit_while_it_runs(tmp_path: Path) -> None:
    """Twelve hundred million numbers of three: the check cannot know, the allocator does."""
    assert viso.models.session.MEMORY_BYTES == 4 << 30
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["big"]),
        helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    path = tmp_path / "a.onnx"
    onnx.save(model(nodes, s=np.array([3_000, 1_000, 1_000])), path)
    with pytest.raises(ModelError, match=r"a\.onnx: (failed while running|not a model)"):
        OnnxModel(path, device="cpu").run(np.ones(SHAPE, np.float32))


def test_a_file_of_another_format_of_the_runtime(tmp_path: Path) -> None:
    """The bytes 4 to 8 of ONNX Runtime's own format, inside of a right ONNX file."""
    made = identity()
    made.producer_name = "ORTM"
    data = made.SerializeToString()
    assert data[4:8] == b"ORTM"
    path = tmp_path / "a.onnx"
    path.write_bytes(data)
    assert OnnxModel(path).card.name == "tiny"


def test_random_damage_is_an_error_or_a_model(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    path = build_onnx(
        tmp_path / "a.onnx",
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        {"w": np.ones((1, 1, 1, 24), np.float32)},
        in_shape=SHAPE,
        out_shape=SHAPE,
        card=mask_card(),
    )
    data = path.read_bytes()
    for _ in range(300):
        broken = bytearray(data)
        for at in random.integers(0, len(data), random.integers(1, 4)):
            broken[at] = random.integers(256)
        broken = broken[: random.integers(1, len(data)) if random.random() < 0.2 else None]
        try:
            check_model(bytes(broken), path)
        except ModelError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    "message",
    [b"\x08", b"\x08" + b"\xff" * 11, b"\x0a\x05abc", b"\x0d\0\0", b"\x0b", b"\x00\x01", b"\x0e"],
)
def test_messages_that_are_none(message: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        list(Reader().fields(memoryview(message)))


def test_fields_of_every_kind() -> None:
    message = b"\x08\x96\x01\x12\x02hi\x1d\1\2\3\4\x21" + bytes(8)
    found = list(Reader().fields(memoryview(message)))
    assert found[0] == (1, 150)
    assert [(n, bytes(v)) for n, v in found[1:] if isinstance(v, memoryview)] == [
        (2, b"hi"),
        (3, b"\1\2\3\4"),
        (4, bytes(8)),
    ]
    assert list(Reader().numbers(memoryview(b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))) == [
        1,
        -1,
    ]
