from __future__ import annotations

from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs the extra 'export'")

import onnxruntime  # noqa: E402
from onnx import helper, numpy_helper  # noqa: E402

from frugalrec.encoders._eight_bits import _rounded, _seen, _shared, in_eight_bits, largest_whole  # noqa: E402

MASK = {"attention_mask": np.ones((3, 5), np.int64)}


def graph(*shapes: tuple[int, int], rng: np.random.Generator) -> tuple[Any, list[np.ndarray]]:
    """Return a chain of products, ``h`` (h W + 1 each), with the mask as an input that is not read, and its weights."""
    weights = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    nodes, tensors = [helper.make_node("Identity", ["x"], ["h0"])], [numpy_helper.from_array(np.float32(1), "one")]
    for i, array in enumerate(weights):
        tensors.append(numpy_helper.from_array(array, f"w{i}"))
        nodes += [
            helper.make_node("MatMul", [f"h{i}", f"w{i}"], [f"p{i}"]),
            helper.make_node("Add", [f"p{i}", "one"], [f"h{i + 1}"]),
        ]
    inputs = [
        helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["a", "b", shapes[0][0]]),
        helper.make_tensor_value_info("attention_mask", onnx.TensorProto.INT64, ["a", "b"]),
    ]
    outputs = [helper.make_tensor_value_info(f"h{len(shapes)}", onnx.TensorProto.FLOAT, None)]
    made = helper.make_graph(nodes, "chain", inputs, outputs, tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), weights


def run(model: Any, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x, **MASK})[0])


def test_whole_numbers_are_multiplied_exactly() -> None:
    # Two passes, so that nothing is scaled: both factors are whole numbers of their own steps already.
    model, _ = graph((4, 2), rng=np.random.default_rng(0))
    top = largest_whole()  # of weights; that of activations is 127 everywhere
    weights = np.array([[top, -top], [5, 1], [-32, 0], [2, 3]], np.float32)
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(weights, "w0"))
    x = np.tile(np.array([127, -3, 50, 0], np.float32), (3, 5, 1))
    found = run(in_eight_bits(model, [{"x": x, **MASK}]), x)
    np.testing.assert_allclose(found[0, 0], [127 * top - 15 - 1600 + 1, -127 * top - 3 + 1], rtol=1e-6)


def test_products_stay_near_and_two_passes_nearer() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, 5, 64)).astype(np.float32) + np.linspace(-3, 3, 64, dtype=np.float32)
    np.put_along_axis(x, rng.integers(0, 64, (3, 5, 1)), 60.0, axis=2)  # in a channel of its own for each token
    errors = []
    for shape in ((64, 64), (64, 63)):
        model, (weights,) = graph(shape, rng=rng)
        exact = x @ weights + 1
        found = run(in_eight_bits(model, [{"x": x, **MASK}]), x)
        errors.append(float(np.square(found - exact).mean() / np.square(exact).mean()) ** 0.5)
    assert 1e-3 < errors[0] < 0.03
    assert errors[1] < 0.75 * errors[0]  # what is left is the weights' share


def test_two_passes_leave_the_error_of_weights_alone() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((3, 5, 64)).astype(np.float32)
    x[..., 0] *= 300.0  # one byte would have no step left for the others
    model, (weights,) = graph((64, 8), rng=rng)
    flat = x.reshape(-1, 64)
    whole, column = _rounded(weights, flat.T @ flat, largest_whole())
    found = run(in_eight_bits(model, [{"x": x, **MASK}]), x)
    np.testing.assert_allclose(found, x @ (whole * column) + 1, atol=0.05 * np.abs(x[..., 1:]).max())


def test_largest_weights_and_activations_are_added_up_exactly() -> None:
    # Sums of two products that do not fit into 16 bits are clipped by some processors.
    model, _ = graph((64, 8), rng=np.random.default_rng(7))
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.ones((64, 8), np.float32), "w0"))
    x = np.ones((3, 5, 64), np.float32)
    np.testing.assert_allclose(run(in_eight_bits(model, [{"x": x, **MASK}]), x), 65.0, rtol=1e-6)


def test_a_token_does_not_depend_on_the_others() -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((3, 5, 16)).astype(np.float32)
    model, _ = graph((16, 32), (32, 16), rng=rng)
    small = in_eight_bits(model, [{"x": x, **MASK}])
    louder = x.copy()
    louder[:, 1:] *= 100.0
    np.testing.assert_array_equal(run(small, x)[:, 0], run(small, louder)[:, 0])


def test_a_token_of_zeros_and_values_beyond_those_shown_are_finite() -> None:
    model, (weights, _) = graph((8, 8), (8, 4), rng=np.random.default_rng(4))
    small = in_eight_bits(model, [{"x": np.ones((3, 5, 8), np.float32), **MASK}])
    assert np.isfinite(run(small, np.zeros((3, 5, 8), np.float32))).all()
    beyond = np.full((3, 5, 8), 50.0, np.float32)
    exact = run(graph((8, 8), (8, 4), rng=np.random.default_rng(4))[0], beyond)
    assert np.abs(run(small, beyond) - exact).max() < 0.02 * np.abs(exact).max()
    assert weights.shape == (8, 8)


def test_padding_says_nothing() -> None:
    model, _ = graph((2, 2), rng=np.random.default_rng(5))
    x = np.array([[[1, -2], [9, 9]], [[3, 0], [9, 9]]], np.float32)
    mask = np.array([[1, 0], [1, 0]])
    later = {"x": np.array([[[-4, 5]]], np.float32), "attention_mask": np.array([[1]])}
    largest, squares = _seen(model, ["h0"], [{"x": x, "attention_mask": mask}, later])["h0"]
    assert largest.tolist() == [4, 5]
    assert squares.tolist() == [[1 + 9 + 16, -2 - 20], [-2 - 20, 4 + 25]]


def test_ranges_are_shared_by_hand() -> None:
    # Largest weights 2 and 2: only the activations differ, and the geometric mean is 1.
    scale = _shared(np.array([4.0, 1.0]), [np.array([[2.0, -1.0], [0.5, 2.0]])])
    np.testing.assert_allclose(scale, [4**0.3, 4**-0.3], rtol=1e-6)


def test_columns_are_rounded_by_hand() -> None:
    # Channels that never meet: nothing makes up for anything.
    whole, column = _rounded(np.array([[1.0, 0.0], [-0.4, 0.0]], np.float32), np.eye(2))
    assert whole.tolist() == [[127, 0], [-51, 0]]
    np.testing.assert_allclose(column, [1 / 127, 1e-12 / 127], rtol=1e-6)
    # Two channels that are nearly the same: 0.4 of a step that the first loses is given to the second.
    alike = np.array([[1.0, 0.9999], [0.9999, 1.0]])
    whole, _ = _rounded(np.array([[50.4], [20.4], [127.0]]), np.block([[alike, np.zeros((2, 1))], [0, 0, 1.0]]))
    assert whole.ravel().tolist() == [50, 21, 127]


def test_rounding_one_row_after_the_other_is_nearer() -> None:
    rng = np.random.default_rng(6)
    x = rng.standard_normal((500, 40)) @ rng.standard_normal((40, 40))
    array = rng.standard_normal((40, 8))
    whole, column = _rounded(array, x.T @ x)
    plain = np.rint(array / column)
    errors = [float(np.square(x @ (w * column - array)).sum()) for w in (whole, plain)]
    assert errors[0] < 0.7 * errors[1]
