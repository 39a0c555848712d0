"""A BERT-like encoder as ONNX files that the encoder ``onnx`` loads: in full precision, and with 8-bit products."""

from __future__ import annotations

import logging
import shutil
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from frugalrec import progress
from frugalrec.encoders.onnx import Onnx
from frugalrec.encoders.transformers import Transformers
from frugalrec.errors import DataError, MissingExtraError
from frugalrec.interfaces import Matrix, TextEncoder

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
BLOCK = 128
"""Weights that share a scale. Smaller blocks are truer and slower."""

SMOOTHING = 0.5
"""How much of the range of activations moves into the weights, as in SmoothQuant."""

CALIBRATED = 256
LEAST_TEXTS = 50
NEIGHBOURS = 10
TIMED, TURNS = 300, 3


@dataclass(frozen=True)
class Exported:
    """What came of it: ``neighbours`` is the mean share of the ten nearest items that are those of full precision,
    ``texts_a_second`` is by CPU time at one thread, ``bytes`` the file; for the source and both exports, by name.
    """

    texts: int
    neighbours: dict[str, float]
    texts_a_second: dict[str, float]
    bytes: dict[str, int]


def export(source: Transformers, texts: Sequence[str], folder: Path) -> Exported:
    """Write ``folder/fp32`` and ``folder/int8``, each with ``model.onnx`` and ``tokenizer.json``, and compare them.

    The 8-bit graph keeps weights as integers, each `BLOCK` of them with a scale, and quantises activations token by
    token in blocks as well (``MatMulNBits`` with accuracy level 4; onnxruntime 1.22 or newer), so that a vector hardly
    depends on what else is in its batch. Before that, the range of each input channel is shared with its weights: x is
    divided by s and W multiplied, s = max|x|^α / max|W|^(1-α), measured on `CALIBRATED` of the texts (Xiao et al. 2023,
    SmoothQuant, eq. 4). Needs the extra ``export``. Raises `DataError` for fewer than 50 different texts, and what the
    encoder raises for a model that cannot be loaded.
    """
    distinct = [text for text in dict.fromkeys(texts) if text.strip()]
    if len(distinct) < LEAST_TEXTS:
        raise DataError(f"comparing needs at least {LEAST_TEXTS} different texts, not {len(distinct)}")
    found = source._found()
    plain, small = folder / "fp32", folder / "int8"
    for place in (plain, small):
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(found / "tokenizer.json", place / "tokenizer.json")
    progress.report("export", 0, 3)
    trace(found, plain / "model.onnx")
    progress.report("export", 1, 3)
    settings: dict[str, Any] = {
        "max_tokens": source.max_tokens, "query_prefix": source.query_prefix, "item_prefix": source.item_prefix,
        "text": source.text, "pooling": source.pooling, "threads": 1,
    }  # fmt: skip
    exact = Onnx(path=str(plain), **settings)
    quantise(plain / "model.onnx", small / "model.onnx", _batch(exact, distinct[:CALIBRATED]))
    progress.report("export", 2, 3)
    encoders: dict[str, TextEncoder] = {"source": source, "fp32": exact, "int8": Onnx(path=str(small), **settings)}
    vectors = {name: encoder.encode(distinct) for name, encoder in encoders.items()}
    exported = Exported(
        len(distinct),
        {name: neighbours_in_common(vectors["source"], vectors[name]) for name in ("fp32", "int8")},
        _rates(encoders, distinct[:TIMED]),
        {name: (folder / name / "model.onnx").stat().st_size for name in ("fp32", "int8")},
    )
    progress.report("export", 3, 3)
    return exported


def trace(source: Path, file: Path) -> None:
    """Write the model in the folder ``source`` as an ONNX graph of ids, mask and type ids to the last hidden state."""
    require_onnx()
    import torch
    import transformers

    with _quiet(transformers.utils.logging):
        model = transformers.AutoModel.from_pretrained(
            source, local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype=torch.float32,
            attn_implementation="eager",
        ).eval()  # fmt: skip

        class Traced(torch.nn.Module):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.model = model

            def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
                given = dict(zip(INPUTS, (input_ids, attention_mask, token_type_ids), strict=True))
                return self.model(**given).last_hidden_state

        example = tuple(torch.ones((2, 7), dtype=torch.long) for _ in INPUTS)
        torch.onnx.export(
            Traced(), example, str(file), dynamo=False, opset_version=17,
            input_names=list(INPUTS), output_names=["last_hidden_state"],
            dynamic_axes={name: {0: "batch", 1: "sequence"} for name in (*INPUTS, "last_hidden_state")},
        )  # fmt: skip


def quantise(source: Path, file: Path, batch: dict[str, Any]) -> None:
    """Write ``source`` with the products of learned matrices in 8 bits; ``batch`` shows how large activations get."""
    require_onnx()
    import onnx
    from onnxruntime.quantization import matmul_nbits_quantizer
    from onnxruntime.quantization.quant_utils import QuantFormat

    with _quiet():
        config = matmul_nbits_quantizer.DefaultWeightOnlyQuantConfig(
            block_size=BLOCK, is_symmetric=True, accuracy_level=4, bits=8, quant_format=QuantFormat.QOperator
        )
        smoothed = _smoothed(onnx.load(source), batch)
        quantizer = matmul_nbits_quantizer.MatMulNBitsQuantizer(smoothed, algo_config=config)
        quantizer.process()
        onnx.save(quantizer.model.model, file)


def neighbours_in_common(a: Matrix, b: Matrix, k: int = NEIGHBOURS) -> float:
    """Return the mean share of each row's ``k`` nearest (by centred cosine) that two sets of vectors have in common."""
    k = min(k, len(a) - 1)
    found = []
    for vectors in (a, b):
        centred = vectors - vectors.mean(axis=0)
        unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
        products = unit @ unit.T
        np.fill_diagonal(products, -2.0)
        found.append(np.argpartition(-products, k - 1, axis=1)[:, :k])
    return float(np.mean([len(set(x) & set(y)) / k for x, y in zip(*found, strict=True)]))


def require_onnx() -> None:
    """Raise `MissingExtraError` unless graphs can be written."""
    for package in ("torch", "transformers", "onnx", "onnx_ir"):
        try:
            __import__(package)
        except ImportError as error:
            raise MissingExtraError.of(package, "export") from error


def _smoothed(model: Any, batch: dict[str, Any]) -> Any:
    """Return ``model`` with each product x W as (x / s) (s W), which changes nothing but the ranges."""
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper

    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    products: dict[str, list[Any]] = {}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in weights:
            products.setdefault(node.input[0], []).append(node)
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in products)
    session = onnxruntime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    there = batch["attention_mask"] > 0
    largest = {
        name: np.abs(values[there]).max(axis=0)
        for name, values in zip(products, session.run(list(products), batch), strict=True)
    }
    scaled: dict[str, Any] = {}
    for name, nodes in products.items():
        arrays = [numpy_helper.to_array(weights[node.input[1]]) for node in nodes]
        heaviest = np.max([np.abs(array).max(axis=1) for array in arrays], axis=0)
        scale = np.maximum(largest[name], 1e-5) ** SMOOTHING / np.maximum(heaviest, 1e-5) ** (1 - SMOOTHING)
        scale = (scale / np.exp(np.log(scale).mean())).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(1.0 / scale, f"{name}_divided_by"))
        scaled[name] = helper.make_node("Mul", [name, f"{name}_divided_by"], [f"{name}_divided"])
        for node, array in zip(nodes, arrays, strict=True):
            node.input[0] = f"{name}_divided"
            weights[node.input[1]].CopyFrom(numpy_helper.from_array(array * scale[:, None], node.input[1]))
    ordered = [x for node in graph.node for x in (node, *(scaled[o] for o in node.output if o in scaled))]
    del graph.node[:]
    graph.node.extend(ordered)
    return model


def _batch(encoder: Onnx, texts: Sequence[str]) -> dict[str, Any]:
    read = [encoder._loaded().tokens(text) for text in texts]
    ids = np.zeros((len(read), max(map(len, read))), dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, tokens in enumerate(read):
        ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
    return dict(zip(INPUTS, (ids, mask, np.zeros_like(ids)), strict=True))


def _rates(encoders: dict[str, TextEncoder], texts: Sequence[str]) -> dict[str, float]:
    """Return texts a CPU second, the best of `TURNS`; in turns, so that what else the machine does meets all alike."""
    rates = dict.fromkeys(encoders, 0.0)
    for _ in range(TURNS):
        for name, encoder in encoders.items():
            started = time.process_time()
            encoder.encode(texts)
            rates[name] = max(rates[name], len(texts) / max(time.process_time() - started, 1e-9))
    return rates


@contextmanager
def _quiet(library: Any = None) -> Iterator[None]:
    """Keep the libraries' notices and bars to themselves; their errors still come up."""
    before = logging.root.manager.disable
    bars = library is not None and library.is_progress_bar_enabled()
    logging.disable(logging.WARNING)
    if bars:
        library.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        if bars:
            library.enable_progress_bar()


__all__ = ["Exported", "export", "neighbours_in_common", "quantise", "require_onnx", "trace"]
