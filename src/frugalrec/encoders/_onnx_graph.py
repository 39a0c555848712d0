"""Counts the multiplications of an ONNX graph, reading no more of the file than its structure.

The `onnx` package is large and only needed to build graphs. What is needed here, the shapes of the weights and who
multiplies by them, is a few fields of a protobuf message (https://onnx.ai/onnx/intro/concepts.html, onnx.proto).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Field numbers of onnx.proto.
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_INITIALIZER = 1, 5
_NODE_INPUT, _NODE_OUTPUT, _NODE_OP, _NODE_ATTRIBUTE = 1, 2, 4, 5
_ATTRIBUTE_NAME, _ATTRIBUTE_INTEGER, _ATTRIBUTE_TENSOR = 1, 3, 5
_TENSOR_DIMS, _TENSOR_NAME = 1, 8

_PRODUCTS = {"MatMul", "Gemm", "MatMulInteger", "MatMulIntegerToFloat", "FusedMatMul", "DynamicQuantizeMatMul"}
_ATTENTION = {"Attention", "QAttention", "MultiHeadAttention"}
# Operations that multiply in ways not counted here. A graph with one of them has an unknown count, not a small one.
_UNCOUNTED = {
    "QLinearMatMul", "MatMulBnb4", "Einsum", "Conv", "ConvInteger", "QLinearConv", "LSTM", "GRU", "RNN",
    "GroupQueryAttention", "SparseAttention", "PackedAttention", "PackedMultiHeadAttention", "MoE", "QMoE",
    "If", "Loop", "Scan",
}  # fmt: skip

_Value = int | memoryview


@dataclass(frozen=True, slots=True)
class Multiplications:
    """``weights``: multiply-adds with learned weights a token. ``attention``: products between activations a sequence.

    A transformer layer has two of the latter, queries × keys and attention × values, ``length² × width`` each.
    """

    weights: int
    attention: int

    def flops(self, lengths: list[int], width: int) -> float:
        """Return the FLOPs of a forward pass over sequences of ``lengths`` tokens: 2 a multiply-add."""
        tokens, squares = sum(lengths), sum(length * length for length in lengths)
        return 2.0 * (self.weights * tokens + self.attention * squares * width)


def count_multiplications(path: Path) -> Multiplications | None:
    """Return the multiplications of the model at ``path``, or None when the graph holds some that cannot be counted."""
    try:
        return _count(_messages(memoryview(path.read_bytes()), _MODEL_GRAPH)[0])
    except (IndexError, ValueError):
        return None


def _count(graph: memoryview) -> Multiplications | None:
    sizes: dict[str, int] = {}  # of everything known before any input: weights, and what is computed from them alone
    for tensor in _messages(graph, _GRAPH_INITIALIZER):
        sizes[_texts(tensor, _TENSOR_NAME)[0]] = _size(tensor)
    weights = attention = 0
    for node in _messages(graph, _GRAPH_NODE):  # in the order of computation
        operation = _texts(node, _NODE_OP)[0]
        inputs, outputs = _texts(node, _NODE_INPUT), _texts(node, _NODE_OUTPUT)
        if operation in _UNCOUNTED:
            return None
        if operation == "Constant":
            tensors = [t for a in _messages(node, _NODE_ATTRIBUTE) for t in _messages(a, _ATTRIBUTE_TENSOR)]
            sizes[outputs[0]] = _size(tensors[0]) if tensors else 1
        elif all(name in sizes for name in inputs if name):
            # Dequantised, cast, transposed: a weight still. The largest input gives it its size.
            sizes.update(dict.fromkeys(outputs, max((sizes[name] for name in inputs if name), default=1)))
        elif operation in _PRODUCTS:
            learned = [sizes[name] for name in inputs[:2] if name in sizes]
            weights += sum(learned)
            attention += not learned
        elif operation == "MatMulNBits":
            weights += math.prod(_integer(node, name) for name in ("K", "N"))  # packed: its own size says too little
        elif operation in _ATTENTION:
            weights += sum(sizes[name] for name in inputs[1:2] if name in sizes)
            attention += 2
    return Multiplications(weights, attention) if weights else None


def _messages(message: memoryview, field: int) -> list[memoryview]:
    return [value for number, value in _fields(message) if number == field and isinstance(value, memoryview)]


def _texts(message: memoryview, field: int) -> list[str]:
    return [bytes(value).decode() for value in _messages(message, field)]


def _integer(node: memoryview, name: str) -> int:
    """Return an attribute of a node; raises `IndexError` where it is missing."""
    given = [a for a in _messages(node, _NODE_ATTRIBUTE) if _texts(a, _ATTRIBUTE_NAME)[0] == name]
    return next(value for field, value in _fields(given[0]) if field == _ATTRIBUTE_INTEGER and isinstance(value, int))


def _size(tensor: memoryview) -> int:
    dims: list[int] = []
    for number, value in _fields(tensor):
        if number == _TENSOR_DIMS:
            dims.extend([value] if isinstance(value, int) else _packed(value))
    return math.prod(dims)


def _packed(values: memoryview) -> Iterator[int]:
    position = 0
    while position < len(values):
        value, position = _varint(values, position)
        yield value


def _fields(message: memoryview) -> Iterator[tuple[int, _Value]]:
    position, end = 0, len(message)
    while position < end:
        key, position = _varint(message, position)
        wire = key & 7
        if wire == 0:
            value, position = _varint(message, position)
            yield key >> 3, value
            continue
        if wire == 2:
            length, position = _varint(message, position)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire} is not used by ONNX")
        if position + length > end:
            raise ValueError("the file ends early")
        yield key >> 3, message[position : position + length]
        position += length


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
