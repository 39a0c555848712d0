"""The counter against graphs of known size, written with a few lines of protobuf."""

from __future__ import annotations

from pathlib import Path

import pytest

from frugalrec.assets import FetchedAsset
from frugalrec.encoders._onnx_graph import Multiplications, count_multiplications


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def part(field: int, content: bytes | str | int) -> bytes:
    if isinstance(content, int):
        return varint(field << 3) + varint(content)
    raw = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(raw)) + raw


def tensor(name: str, *dims: int, packed: bool = False) -> bytes:
    shape = part(1, b"".join(map(varint, dims))) if packed else b"".join(part(1, d) for d in dims)
    return shape + part(2, 1) + part(8, name) + part(9, bytes(64))


def node(operation: str, inputs: list[str], *outputs: str, attribute: bytes = b"") -> bytes:
    names = b"".join(part(1, i) for i in inputs) + b"".join(part(2, o) for o in outputs)
    return names + part(4, operation) + (part(5, attribute) if attribute else b"")


def save(path: Path, nodes: list[bytes], weights: list[bytes]) -> Path:
    graph = b"".join(part(1, n) for n in nodes) + b"".join(part(5, w) for w in weights)
    path.write_bytes(part(1, 8) + part(7, graph))
    return path


def test_counts_weights_attention_and_what_is_computed_from_weights(tmp_path: Path) -> None:
    model = save(
        tmp_path / "m.onnx",
        [
            node("Gather", ["table", "ids"], "x"),  # a look-up multiplies nothing
            node("Cast", ["q8"], "q16"),
            node("Mul", ["q16", "scale"], "q"),
            node("MatMul", ["x", "q"], "queries"),
            node("MatMul", ["x", "k"], "keys"),
            node("Add", ["keys", "bias"], "keys2"),
            node("Transpose", ["keys2"], "turned"),
            node("MatMul", ["queries", "turned"], "scores"),
            node("Constant", [], "v", attribute=part(5, tensor("", 8, 8))),
            node("Gemm", ["x", "v", "bias"], "values"),
            node("MatMul", ["scores", "values"], "out"),
        ],
        [
            tensor("table", 100, 8),
            tensor("q8", 8, 8, packed=True),
            tensor("scale", 1, 8),
            tensor("k", 8, 8),
            tensor("bias", 8),
        ],
    )
    assert count_multiplications(model) == Multiplications(weights=3 * 64, attention=2)


def test_packed_weights_count_by_their_shape(tmp_path: Path) -> None:
    sizes = [part(1, "K") + part(3, 6), part(1, "N") + part(3, 10), part(1, "bits") + part(3, 8)]
    names = part(1, "x") + part(1, "packed") + part(2, "y") + part(4, "MatMulNBits")
    whole = names + b"".join(part(5, attribute) for attribute in sizes)
    assert count_multiplications(save(tmp_path / "m.onnx", [whole], [tensor("packed", 10, 1, 16)])) == Multiplications(
        weights=60, attention=0
    )
    unsaid = save(tmp_path / "n.onnx", [names], [tensor("packed", 10, 1, 16)])
    assert count_multiplications(unsaid) is None


def test_flops_are_two_a_multiply_add() -> None:
    # Two sequences: 3 and 5 tokens, 4-wide; 10 weights; one product between activations.
    assert Multiplications(10, 1).flops([3, 5], width=4) == 2 * 10 * 8 + 2 * 4 * (9 + 25)


@pytest.mark.parametrize("operation", ["Loop", "MatMulBnb4"])
def test_what_cannot_be_counted_is_unknown(tmp_path: Path, operation: str) -> None:
    nodes = [node("MatMul", ["x", "w"], "y"), node(operation, ["y", "w"], "z")]
    assert count_multiplications(save(tmp_path / "m.onnx", nodes, [tensor("w", 4, 4)])) is None


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x3a\xff\xff\xff\xff\x0f", part(7, b"\x0a\x7fabc")])
def test_what_cannot_be_read_is_unknown(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    assert count_multiplications(tmp_path / "m.onnx") is None


def test_minilm_counted_by_hand(minilm: FetchedAsset) -> None:
    layers, width, inner = 6, 384, 1536
    assert count_multiplications(minilm.files["model.onnx"]) == Multiplications(
        weights=layers * (4 * width * width + 2 * width * inner), attention=2 * layers
    )
