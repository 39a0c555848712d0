"""A BERT-like encoder as ONNX files that the encoder ``onnx`` loads: in full precision, and with 8-bit products."""

from __future__ import annotations

import logging
import shutil
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from frugalrec import progress
from frugalrec.encoders._eight_bits import in_eight_bits
from frugalrec.encoders._sample import SAMPLE, SAMPLE_TEXTS, sampled
from frugalrec.encoders.onnx import Onnx
from frugalrec.encoders.transformers import Transformers
from frugalrec.errors import DataError, MissingExtraError
from frugalrec.interfaces import Matrix, TextEncoder

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
CALIBRATED, TOGETHER = 256, 32
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

    The 8-bit graph multiplies whole numbers (`in_eight_bits`), with ranges of activations measured on `CALIBRATED` of
    the texts. Export on a machine like the one that will encode: without products of bytes (AVX-512 VNNI and its like)
    it is slower, and where older x86 processors would clip sums of two products its weights have 7 bits. Weights of 8
    bits from elsewhere give wrong vectors there: loading them warns, by a sample that the file keeps. Needs the extra
    ``export``. Raises `DataError` for fewer than 50 different texts, and what the encoder raises for a model that
    cannot be loaded.
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
    quantise(plain / "model.onnx", small / "model.onnx", _batches(exact, distinct[:CALIBRATED]))
    progress.report("export", 2, 3)
    quick = Onnx(path=str(small), **settings)
    keep_sample(small / "model.onnx", quick)
    encoders: dict[str, TextEncoder] = {"source": source, "fp32": exact, "int8": quick}
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


def quantise(source: Path, file: Path, batches: Sequence[dict[str, Any]]) -> None:
    """Write ``source`` with the products of learned matrices in 8 bits; ``batches`` show how large activations get."""
    require_onnx()
    import onnx

    with _quiet():
        onnx.save(in_eight_bits(onnx.load(source), batches), file)


def keep_sample(file: Path, encoder: Onnx) -> None:
    """Put into ``file`` the vectors that ``encoder`` gives for a few texts: see `frugalrec.encoders._sample`."""
    require_onnx()
    import onnx

    network = encoder._loaded()
    model = onnx.load(file)
    tokens = [network.tokens(text) for text in SAMPLE_TEXTS]
    onnx.helper.set_model_props(model, {SAMPLE: sampled(tokens, partial(network.pooled, pooling="mean"))})
    onnx.save(model, file)


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
    for package in ("torch", "transformers", "onnx"):
        try:
            __import__(package)
        except ImportError as error:
            raise MissingExtraError.of(package, "export") from error


def _batches(encoder: Onnx, texts: Sequence[str]) -> list[dict[str, Any]]:
    read = sorted((encoder._loaded().tokens(text) for text in texts), key=len)
    batches = []
    for start in range(0, len(read), TOGETHER):
        part = read[start : start + TOGETHER]
        ids = np.zeros((len(part), len(part[-1])), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(part):
            ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
        batches.append(dict(zip(INPUTS, (ids, mask, np.zeros_like(ids)), strict=True)))
    return batches


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


__all__ = ["Exported", "export", "keep_sample", "neighbours_in_common", "quantise", "require_onnx", "trace"]
