from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

for package in ("torch", "transformers", "onnx"):
    pytest.importorskip(package, reason="needs the extra 'export'")

import onnx  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

from frugalrec.cli._app import run  # noqa: E402
from frugalrec.cost import Ledger  # noqa: E402
from frugalrec.encoders import _eight_bits  # noqa: E402
from frugalrec.encoders._export import Exported, export, keep_sample, neighbours_in_common  # noqa: E402
from frugalrec.encoders._sample import SAMPLE, SAMPLE_TEXTS  # noqa: E402
from frugalrec.encoders.onnx import Onnx  # noqa: E402
from frugalrec.encoders.transformers import Transformers  # noqa: E402
from frugalrec.errors import DataError  # noqa: E402
from frugalrec.testing.models import tiny_bert  # noqa: E402

TEXTS = [f"{a} {b} {c}" for a in ("red", "blue", "old") for b in ("fox", "dog", "cat", "owl") for c in "vwxyz"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Transformers:
    return Transformers(path=str(tiny_bert(tmp_path_factory.mktemp("bert"), TEXTS)))


@pytest.fixture(scope="module")
def exported(source: Transformers, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Exported]:
    folder = tmp_path_factory.mktemp("exported")
    return folder, export(source, TEXTS, folder)


def vectors(folder: Path, **settings: int) -> np.ndarray:
    return Onnx(path=str(folder), **settings).encode(TEXTS)


def test_full_precision_is_the_source(source: Transformers, exported: tuple[Path, Exported]) -> None:
    np.testing.assert_allclose(vectors(exported[0] / "fp32"), source.encode(TEXTS), atol=1e-5)
    assert exported[1].neighbours["fp32"] > 0.99


def test_eight_bits_are_near_and_not_the_same(source: Transformers, exported: tuple[Path, Exported]) -> None:
    small, exact = vectors(exported[0] / "int8"), source.encode(TEXTS)
    assert (small * exact).sum(axis=1).min() > 0.999
    assert np.abs(small - exact).max() > 1e-5
    assert exported[1].neighbours["int8"] == neighbours_in_common(exact, small)


def test_a_vector_does_not_depend_on_its_batch(exported: tuple[Path, Exported]) -> None:
    alone, together = (vectors(exported[0] / "int8", batch_size=n) for n in (1, 32))
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_loaded_where_it_was_made_an_export_is_not_warned_of(exported: tuple[Path, Exported]) -> None:
    for kind in ("fp32", "int8"):
        kept = {entry.key for entry in onnx.load(exported[0] / kind / "model.onnx").metadata_props}
        assert (SAMPLE in kept) == (kind == "int8")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            vectors(exported[0] / kind)


def test_vectors_that_are_not_those_of_the_sample_are_warned_of_once(
    exported: tuple[Path, Exported], tmp_path: Path
) -> None:
    other = shutil.copytree(exported[0] / "int8", tmp_path / "int8")
    model = onnx.load(other / "model.onnx")
    told = json.loads(model.metadata_props[0].value)
    told["tokens"] = [ids[::-1] for ids in told["tokens"]]
    onnx.helper.set_model_props(model, {SAMPLE: json.dumps(told)})
    onnx.save(model, other / "model.onnx")
    encoder = Onnx(path=str(other))
    with pytest.warns(UserWarning, match=r"cosine 0\.\d+ .* Export it again on this machine, or use .* \(fp32\)"):
        encoder.encode(TEXTS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Onnx(path=str(other)).encode(TEXTS)  # the same files, loaded already


def test_weights_of_8_bits_are_warned_of_where_sums_of_bytes_are_clipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = _eight_bits.largest_whole()
    monkeypatch.setattr(_eight_bits, "largest_whole", lambda: 127)  # as on a machine with products of bytes
    source = tmp_path / "bert"
    source.mkdir()
    tiny_bert(source, [*TEXTS, *SAMPLE_TEXTS])
    loud = transformers.BertModel.from_pretrained(source, add_pooling_layer=False)
    with torch.no_grad():
        for name, weight in loud.encoder.named_parameters():
            if name.endswith("dense.weight"):
                weight.copy_(weight.sign() * 0.1)  # all as large as can be: many sums of two do not fit into 16 bits
    loud.save_pretrained(source)
    export(Transformers(path=str(source)), TEXTS, tmp_path)
    small, exact = tmp_path / "int8", tmp_path / "exact"
    exact.mkdir()
    shutil.copyfile(small / "tokenizer.json", exact / "tokenizer.json")
    onnx.save(without_clipping(onnx.load(small / "model.onnx")), exact / "model.onnx")
    keep_sample(small / "model.onnx", Onnx(path=str(exact)))  # what such a machine would have kept
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        vectors(small)
    assert [("clips sums of bytes" in str(one.message)) for one in told] == ([True] if here < 127 else [])


def without_clipping(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return an 8-bit graph with the same whole numbers, multiplied as floats."""
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        if node.op_type != "MatMulIntegerToFloat":
            nodes.append(node)
            continue
        read, whole, step, column, middle = node.input
        (out,) = node.output
        made = onnx.numpy_helper.from_array(tensors[whole] * tensors[column], f"{out}_float")
        model.graph.initializer.append(made)
        nodes += [
            onnx.helper.make_node("DequantizeLinear", [read, step, middle], [f"{out}_read"]),
            onnx.helper.make_node("MatMul", [f"{out}_read", made.name], [out]),
        ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.metadata_props[:]  # a sample of vectors with clipped sums
    return model


def test_flops_are_known(exported: tuple[Path, Exported]) -> None:
    spent = []
    for kind in ("fp32", "int8"):
        ledger = Ledger()
        with ledger.span("encode"):
            vectors(exported[0] / kind)
        spent.append(ledger.total().flops)
    assert spent[0] is not None
    # Two layers, whose queries, keys and values (16 × 16 each) and second products of the feed-forward part (32 × 16)
    # are made twice, on 60 texts of 5 tokens.
    assert spent[1] == spent[0] + 2.0 * 2 * (3 * 16 * 16 + 32 * 16) * 300


def test_neighbours_by_hand() -> None:
    angles = np.linspace(0, np.pi, 7)
    a = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert neighbours_in_common(a, a, k=2) == 1.0
    moved = a[[0, 2, 1, 3, 4, 5, 6]]  # two neighbours on the arc change places
    assert 0.5 < neighbours_in_common(a, moved, k=2) < 1.0


def test_few_texts_are_refused(source: Transformers, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="50 different"):
        export(source, TEXTS[:10] * 9, tmp_path)


def test_the_command(source: Transformers, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id\n" + "".join(f"u{i % 4},{i}\n" for i in range(60)))
    (tmp_path / "items.csv").write_text("item_id,title\n" + "".join(f"{i},{text}\n" for i, text in enumerate(TEXTS)))
    (tmp_path / "shop.toml").write_text('[data]\ninteractions = "log.csv"\nitems = "items.csv"\ntext = ["title"]\n')
    out = tmp_path / "out"
    asked = ["export-encoder", str(tmp_path / "shop.toml"), "--out", str(out), "--path", source.path, "--json"]
    assert run(asked) == 0
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert found["texts"] == 60
    assert found["texts_a_second"]["int8"] > 0
    assert "of the ten nearest items" in told.err
    assert Onnx(path=str(out / "int8")).encode(["red fox"]).shape == (1, 16)
