"""Checks an untrusted ONNX file before ONNX Runtime loads it.

The check refuses what a separator does not need: data in other files, operators that are not
ONNX's own, functions, loops and sparse tensors. It also refuses sizes that no separator has.
"""

from __future__ import annotations

import math
import stat
from pathlib import Path

from viso.errors import ModelError
from viso.models._protobuf import Reader, Value

__all__ = [
    "LARGEST_BYTES",
    "LARGEST_CARD",
    "LARGEST_TENSOR",
    "check_model",
    "metadata_of",
    "read_model",
]

LARGEST_BYTES = 512 << 20
"""The most bytes of a model's file."""
LARGEST_CARD = 64 << 10
"""The most bytes of a card, in a model or in a file beside it."""
LARGEST_TENSOR = 1 << 28
"""The most values of a tensor that a graph declares: 1 GiB of float32."""

_LARGEST_METADATA = 1 << 20
_MOST_NODES = 50_000
_DEEPEST = 4  # levels of nested branches
_DOMAINS = {"", "ai.onnx"}
_EXTERNAL = 1
# The fields of TensorProto that hold values.
_VALUES = {4, 5, 6, 7, 9, 10, 11}


def read_model(path: Path) -> bytes:
    """Read a model's file and check it.

    Raises
    ------
    ModelError
        If the file cannot be read, is empty or larger than `LARGEST_BYTES`, or fails `check_model`.
    """
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise ModelError(f"{path}: model cannot be read (no regular file)")
        if about.st_size > LARGEST_BYTES:
            raise ModelError(
                f"{path}: a model of {about.st_size} bytes; at most {LARGEST_BYTES} are read"
            )
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: model cannot be read ({error.strerror})") from error
    if not data:
        raise ModelError(f"{path}: model file is empty")
    check_model(data, path)
    return data


def check_model(data: bytes, path: Path, *, card_key: str = "viso.card") -> None:
    """Raise if a model holds anything that the module's docstring excludes.

    Parameters
    ----------
    data : bytes
        Content of the whole file.
    path : Path
        For error messages.
    card_key : str
        Key of the card in the metadata.

    Raises
    ------
    ModelError
        The message names the reason.
    """
    try:
        _Check(card_key).model(memoryview(data))
    except _Refusal as refusal:
        raise ModelError(f"{path}: refused: {refusal}") from refusal
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not a model that ONNX Runtime can run ({error})") from error


def metadata_of(data: bytes) -> dict[str, str]:
    """Return the metadata of a model that `check_model` has accepted."""
    reader = Reader()
    entries = (_message(value) for number, value in reader.fields(memoryview(data)) if number == 14)
    texts = ({n: _text(value) for n, value in reader.fields(entry)} for entry in entries)
    return {text.get(1, ""): text.get(2, "") for text in texts}


class _Refusal(Exception):  # noqa: N818
    """The reason for refusing a model, without the file's name."""


class _Check:
    """Checks one model; the field numbers are those of onnx.proto."""

    def __init__(self, card_key: str) -> None:
        self._reader = Reader()
        self._card_key = card_key
        self._n_nodes = 0

    def model(self, model: memoryview) -> None:
        n_metadata = n_cards = n_graphs = 0
        for number, value in self._reader.fields(model):
            if number == 7:
                n_graphs += 1
                self._graph(_message(value), depth=0)
            elif number == 14:
                key, size = self._entry(_message(value))
                n_metadata += size
                n_cards += key == self._card_key
                if key == self._card_key and size > LARGEST_CARD:
                    raise _Refusal(f"a card of {size} bytes; {LARGEST_CARD} are enough")
            elif number == 20:
                raise _Refusal("it holds what training needs; export it for inference")
            elif number == 25:
                raise _Refusal("it holds functions of its own; export it with them inlined")
        if not n_graphs:
            raise ValueError("no graph in it")
        if max(n_graphs, n_cards) > 1:
            raise _Refusal(f"{n_graphs} graphs and {n_cards} cards; one of each will do")
        if n_metadata > _LARGEST_METADATA:
            raise _Refusal(f"{n_metadata} bytes of metadata; at most {_LARGEST_METADATA}")

    def _entry(self, entry: memoryview) -> tuple[str, int]:
        """Return the key and the size of a metadata entry."""
        key = ""
        for number, value in self._reader.fields(entry):
            key = _text(value) if number == 1 else key
        return key, len(entry)

    def _graph(self, graph: memoryview, *, depth: int) -> None:
        if depth > _DEEPEST:
            raise _Refusal(f"branches in branches, {depth} deep; at most {_DEEPEST}")
        nodes = []
        for number, value in self._reader.fields(graph):
            if number == 1:
                nodes.append(_message(value))
            elif number == 5:
                self._tensor(_message(value))
            elif number in (11, 12, 13):
                # A branch's output need not state its shape; an output of the main graph must.
                self._declared(_message(value), needs_shape=number != 13 and not depth)
            elif number == 15:
                raise _Refusal("a sparse tensor; export it dense")
        self._n_nodes += len(nodes)
        if self._n_nodes > _MOST_NODES:
            raise _Refusal(f"more than {_MOST_NODES} operators")
        for node in nodes:
            self._node(node, depth=depth)

    def _node(self, node: memoryview, *, depth: int) -> None:
        operator, domain, attributes = "", "", []
        for number, value in self._reader.fields(node):
            if number == 4:
                operator = _text(value)
            elif number == 5:
                attributes.append(_message(value))
            elif number == 7:
                domain = _text(value)
        if domain not in _DOMAINS:
            raise _Refusal(
                f"operator {operator[:40]!r} of {domain[:40]!r}, not of ONNX; "
                "export it without operators of others"
            )
        for attribute in attributes:
            self._attribute(attribute, operator, depth=depth)

    def _attribute(self, attribute: memoryview, operator: str, *, depth: int) -> None:
        n_messages = 0
        for number, value in self._reader.fields(attribute):
            if number in (6, 11):  # a graph, graphs
                n_messages += number == 6
                if operator != "If":
                    raise _Refusal(f"operator {operator[:40]!r} with a graph inside; unroll it")
                self._graph(_message(value), depth=depth + 1)
            elif number in (5, 10):  # a tensor, tensors
                n_messages += number == 5
                self._tensor(_message(value))
            elif number in (22, 23):
                raise _Refusal("a sparse tensor; export it dense")
        if n_messages > 1:  # protobuf would join them
            raise _Refusal("an attribute with two values")

    def _tensor(self, tensor: memoryview) -> None:
        """Check that a constant has the values for its shape, inside this file."""
        dims: list[int] = []
        n_bytes = 0
        for number, value in self._reader.fields(tensor):
            if number == 1:
                dims += self._reader.numbers(value)
            elif number == 13 or (number == 14 and value == _EXTERNAL):
                raise _Refusal("its weights lie in another file; save them inside")
            elif number in _VALUES:
                n_bytes += 8 if isinstance(value, int) else max(1, len(value))
        # The smallest numbers have 4 bits, two per byte.
        if min(dims, default=0) < 0 or math.prod(dims) > 2 * n_bytes:
            raise _Refusal(f"a tensor of shape {dims[:8]} with {n_bytes} bytes of values")

    def _declared(self, side: memoryview, *, needs_shape: bool) -> None:
        """Check the declared shape of an input, an output or an intermediate value."""
        dims: list[int] | None = None
        name, n_shapes = "", 0
        for number, value in self._reader.fields(side):
            name = _text(value) if number == 1 else name
            if number != 2:
                continue
            for kind, of_kind in self._reader.fields(_message(value)):
                if kind != 1:
                    continue
                for part, shape in self._reader.fields(_message(of_kind)):
                    if part == 2:
                        n_shapes += 1
                        dims = self._dims(_message(shape))
        if (dims is None and needs_shape) or n_shapes > 1:
            raise _Refusal(f"{name[:40]!r} has {n_shapes} shapes; declare one")
        self._check_size(dims or [], name)

    def _dims(self, shape: memoryview) -> list[int]:
        """Return the fixed sizes of a shape."""
        dims: list[int] = []
        for number, value in self._reader.fields(shape):
            if number == 1:
                for kind, size in self._reader.fields(_message(value)):
                    if kind == 1:
                        dims += self._reader.numbers(size)
        return dims

    def _check_size(self, dims: list[int], what: str) -> None:
        if math.prod(max(1, size) for size in dims) > LARGEST_TENSOR:
            raise _Refusal(f"{what[:40]!r} of shape {dims[:8]}; at most {LARGEST_TENSOR} values")


def _message(value: Value) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number in place of a message")
    return value


def _text(value: Value) -> str:
    return bytes(_message(value)).decode("utf-8", "replace")
