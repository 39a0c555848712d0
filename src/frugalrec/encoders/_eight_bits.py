"""8-bit products in an ONNX graph: weights in whole numbers column by column, activations token by token."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from frugalrec.data.interactions import FloatArray

SMOOTHING = 0.6
"""How much of the range of activations moves into the weights, as in SmoothQuant."""

DAMPING = 0.01
"""What is added to the mean square of a channel before inverting, as a share of it."""

ROWS = 128
"""Rows of weights that are rounded before the rest hears of their errors."""

_ONE, _MIDDLE, _TOP, _TINY, _REST = "one_f32", "middle_u8", "top_f32", "tiny_f32", "rest_f32"
"""Constants of the graph: 1; the byte that stands for 0; 1/127; what no step is below; 1/254."""


def in_eight_bits(model: Any, batches: Sequence[dict[str, Any]]) -> Any:
    """Return ``model`` with the products of learned matrices W in 8 bits; ``batches`` show how large activations get.

    A token's activations x are divided by their largest, so that they need one byte each, and multiplied by W's whole
    numbers, which have a scale for each column. A vector therefore does not depend on what else is in its batch. Before
    that, the range of each channel is shared with its weights: x W = (x / s) (s W), s = max|x|^α / max|W|^(1-α) (Xiao
    et al. 2023, SmoothQuant, eq. 4). Weights are rounded one row after the other, and those that follow make up for
    what rounding changed in the products of the activations shown (Frantar et al. 2023, GPTQ).

    Where the processor clips sums of products, weights have 7 bits (`largest_whole`).

    Products that make vectors shorter, as the second of a feed-forward part, have inputs with few large and many small
    values; those of queries, keys and values share theirs. These x are read in two passes, unscaled: what the first
    rounds off is rounded again in 1/254 of the step, and both products are added.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    products: dict[str, list[Any]] = {}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in weights:
            products.setdefault(node.input[0], []).append(node)
    seen = _seen(model, list(products), batches)

    def keep(name: str, array: Any) -> str:
        graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    for name, value in ((_ONE, 1.0), (_TOP, 1 / 127), (_TINY, 1e-12), (_REST, 1 / 254)):
        keep(name, np.float32(value))
    keep(_MIDDLE, np.uint8(128))
    make = helper.make_node
    after: dict[str, list[Any]] = {}  # what follows the node that computes an input
    instead: dict[str, list[Any]] = {}  # what takes a product's place
    for x, nodes in products.items():
        arrays = [numpy_helper.to_array(weights[node.input[1]]) for node in nodes]
        twice = len(arrays) > 1 or arrays[0].shape[0] > arrays[0].shape[1]
        largest, squares = seen[x]
        scale = np.ones(len(largest)) if twice else _shared(largest, arrays)
        steps, read = [], x
        if not twice:
            read = f"{x}_even"
            steps = [make("Mul", [x, keep(f"{x}_s", (1.0 / scale).astype(np.float32))], [read])]
        steps += [
            make("Abs", [read], [f"{x}_sizes"]),
            make("ReduceMax", [f"{x}_sizes"], [f"{x}_largest"], axes=[-1], keepdims=1),
            make("Mul", [f"{x}_largest", _TOP], [f"{x}_byte"]),
            make("Add", [f"{x}_byte", _TINY], [f"{x}_step"]),
            make("Div", [read, f"{x}_step"], [f"{x}_steps"]),
            make("QuantizeLinear", [f"{x}_steps", _ONE, _MIDDLE], [f"{x}_u8"]),
        ]
        if twice:
            steps += [
                make("DequantizeLinear", [f"{x}_u8", _ONE, _MIDDLE], [f"{x}_rounded"]),
                make("Sub", [f"{x}_steps", f"{x}_rounded"], [f"{x}_rest"]),
                make("QuantizeLinear", [f"{x}_rest", _REST, _MIDDLE], [f"{x}_rest_u8"]),
            ]
        after[x] = steps
        for node, array in zip(nodes, arrays, strict=True):
            y = node.output[0]
            whole, column = _rounded(array * scale[:, None], squares / np.outer(scale, scale), largest_whole())
            learned = [keep(f"{y}_w", whole), keep(f"{y}_c", column)]

            def product(read: str, step: str, out: str, learned: list[str] = learned) -> Any:
                given = [read, learned[0], step, learned[1], _MIDDLE]
                return make("MatMulIntegerToFloat", given, [out], domain="com.microsoft")

            if twice:
                instead[y] = [
                    product(f"{x}_u8", _ONE, f"{y}_first"),
                    product(f"{x}_rest_u8", _REST, f"{y}_second"),
                    make("Add", [f"{y}_first", f"{y}_second"], [f"{y}_both"]),
                    make("Mul", [f"{y}_both", f"{x}_step"], [y]),
                ]
            else:
                instead[y] = [
                    product(f"{x}_u8", _ONE, f"{y}_units"),
                    make("Mul", [f"{y}_units", f"{x}_step"], [y]),
                ]
    ordered = []
    for node in graph.node:
        ordered += instead.get(node.output[0], [node])
        ordered += [step for name in node.output for step in after.get(name, [])]
    del graph.node[:]
    graph.node.extend(ordered)
    read_still = {name for node in ordered for name in node.input}
    left = [tensor for tensor in graph.initializer if tensor.name in read_still]
    del graph.initializer[:]
    graph.initializer.extend(left)
    if not any(known.domain == "com.microsoft" for known in model.opset_import):
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


@cache
def largest_whole() -> int:
    """Return the largest whole number that weights may be here: 127, or 63 where sums of products are clipped.

    x86 processors without VNNI add the products of two pairs of bytes in 16 bits, which 2 · 255 · 127 exceeds and
    2 · 255 · 63 does not. One product on this processor tells.
    """
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    kept = {
        "w": np.full((64, 16), 127, np.int8),
        "one": np.float32(1),
        "zero": np.uint8(0),
    }
    given = [numpy_helper.from_array(np.asarray(value), name) for name, value in kept.items()]
    node = helper.make_node("MatMulIntegerToFloat", ["x", "w", "one", "one", "zero"], ["y"], domain="com.microsoft")
    x = helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 64])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(helper.make_graph([node], "probe", [x], [y], given), opset_imports=opsets, ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.full((1, 64), 255, np.uint8)})
    return 127 if np.all(found == 64 * 255 * 127) else 63


def _seen(
    model: Any, names: Sequence[str], batches: Sequence[dict[str, Any]]
) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Return, of each of the activations called ``names``, every channel's largest size and the sums of products of
    channels, padding left out.
    """
    import onnx
    import onnxruntime
    from onnx import helper

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    session = onnxruntime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    found: dict[str, tuple[FloatArray, FloatArray]] = {}
    for batch in batches:
        there = batch["attention_mask"] > 0
        for name, values in zip(names, session.run(list(names), batch), strict=True):
            tokens = values[there]
            largest, squares = np.abs(tokens).max(axis=0).astype(np.float64), (tokens.T @ tokens).astype(np.float64)
            if name in found:
                largest, squares = np.maximum(largest, found[name][0]), squares + found[name][1]
            found[name] = largest, squares
    return found


def _shared(largest: FloatArray, arrays: Sequence[Any]) -> FloatArray:
    """Return what each channel is divided by; its geometric mean is 1."""
    heaviest = np.max([np.abs(array).max(axis=1) for array in arrays], axis=0)
    scale = np.maximum(largest, 1e-5) ** SMOOTHING / np.maximum(heaviest, 1e-5) ** (1 - SMOOTHING)
    return np.asarray(scale / np.exp(np.log(scale).mean()))


def _rounded(array: Any, squares: FloatArray, top: int = 127) -> tuple[Any, Any]:
    """Return int8 ``(k, n)``, ``top`` at most, and the float32 ``(n,)`` that its columns have to be multiplied by.

    ``squares`` is XᵀX of what ``array`` is multiplied by.
    """
    column = np.maximum(np.abs(array).max(axis=0), 1e-12) / top
    left = np.asarray(array / column, dtype=np.float64)
    damped = squares + np.eye(len(squares)) * max(DAMPING * float(np.trace(squares)) / len(squares), 1e-12)
    # Row k of the upper factor of the inverse says how the rows after k make up for an error in row k.
    factor = np.linalg.cholesky(np.linalg.inv(damped)).T
    whole = np.zeros(left.shape, dtype=np.int8)
    for start in range(0, len(left), ROWS):
        stop = min(start + ROWS, len(left))
        errors = np.zeros((stop - start, left.shape[1]))
        for k in range(start, stop):
            whole[k] = np.clip(np.rint(left[k]), -top, top)
            errors[k - start] = (left[k] - whole[k]) / factor[k, k]
            left[k + 1 : stop] -= np.outer(factor[k, k + 1 : stop], errors[k - start])
        left[stop:] -= factor[start:stop, stop:].T @ errors
    return whole, column.astype(np.float32)


__all__ = ["in_eight_bits", "largest_whole"]
