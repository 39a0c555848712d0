"""A transformer, on the texts of one catalogue → a table of token vectors that `Static` looks up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from frugalrec import cost, progress
from frugalrec.data.interactions import FloatArray, IntArray
from frugalrec.encoders._files import digest_of, meaningless_tokens, open_tokenizer
from frugalrec.encoders._rows import unit_rows
from frugalrec.encoders._safetensors import write_safetensors
from frugalrec.errors import ConfigError, DataError
from frugalrec.interfaces import Matrix, TextEncoder
from frugalrec.text.clean import clean

LEAST_TEXTS = 50
RIDGES = (0.1, 0.3, 1.0, 3.0)
"""Tried on texts held out; the best is used. Rows have unit norm, so the scale is that of a cosine."""
HELD_OUT = 0.2
ALL_UP_TO = 60_000
"""A vocabulary up to this size is distilled whole; of a larger one, only what the texts use."""
_ITERATIONS = 60
_MAX_TOKENS = 512


@dataclass(frozen=True)
class Distillation:
    """What came of it. ``held_out_cosine``: mean cosine with the teacher on texts that the table was not fitted on.

    ``token_cosine`` is the same for the teacher's token vectors alone, before anything was fitted.
    """

    texts: int
    tokens: int
    dim: int
    ridge: float
    held_out_cosine: float
    token_cosine: float


def distil(
    texts: Sequence[str], teacher: TextEncoder, tokenizer_file: Path, folder: Path, *, seed: int = 0
) -> Distillation:
    """Fit a table of token vectors to the teacher's vectors of ``texts``, and write it to ``folder`` for `Static`.

    A text is the sum of its tokens' vectors, each weighing its inverse document frequency w. The vectors U are those
    that a ridge regression finds nearest to the teacher's vectors T, drawn towards what the teacher makes of each token
    alone (U₀, in a common scale): min ‖X U - T‖² + λ ‖U - U₀‖², where a row of X holds the text's counts times w, in
    unit norm. Tokens that no text has keep their U₀. The table holds w U, so that looking up and adding is all that is
    left to do. Solved by conjugate gradients in O(iterations × tokens of all texts × dim); memory O((texts +
    vocabulary) × dim). λ is chosen on a fifth of the texts.

    Raises `DataError` for fewer than 50 texts with content, `ConfigError` when tokenizer and texts have nothing in
    common.
    """
    tokenizer = open_tokenizer(tokenizer_file, _MAX_TOKENS)
    meaningless = meaningless_tokens(tokenizer)
    distinct = [text for text in dict.fromkeys(map(clean, texts)) if text]
    if len(distinct) < LEAST_TEXTS:
        raise DataError(
            f"a static encoder needs at least {LEAST_TEXTS} different texts to learn from, not {len(distinct)}",
            hint="use a packaged static model, or the transformer itself: a catalogue this small costs it little",
        )
    read = [[i for i in tokenizer.encode(t, add_special_tokens=False).ids if i not in meaningless] for t in distinct]
    target = teacher.encode(distinct, role="item")
    rows = [row for row, ids in enumerate(read) if ids and target[row].any()]
    if len(rows) < LEAST_TEXTS:
        raise ConfigError(
            f"{tokenizer_file} knows tokens of {len(rows)} of {len(distinct)} texts only",
            hint="take the tokenizer of a model that knows the language",
        )
    counts = _counts([read[row] for row in rows], tokenizer.get_vocab_size())
    target = target[rows]
    table = np.zeros((tokenizer.get_vocab_size(), target.shape[1]), dtype=np.float32)
    known = _vocabulary(counts, meaningless)
    progress.report("distil", 0, 2)
    table[known] = teacher.encode([_spelled(tokenizer, int(i)) for i in known], role="item")
    order = np.random.default_rng(seed).permutation(len(rows))
    held, kept = np.split(order, [max(1, int(HELD_OUT * len(rows)))])
    progress.report("distil", 1, 2)
    tried = {ridge: _fit(counts[kept], target[kept], table, ridge) for ridge in RIDGES}
    cosines = {ridge: _cosine(counts[held], target[held], fitted) for ridge, fitted in tried.items()}
    best = max(cosines, key=cosines.__getitem__)
    write(folder, _fit(counts, target, table, best), tokenizer_file, about=teacher.fingerprint())
    progress.report("distil", 2, 2)
    return Distillation(
        texts=len(rows),
        tokens=len(known),
        dim=target.shape[1],
        ridge=best,
        held_out_cosine=cosines[best],
        token_cosine=_cosine(counts[held], target[held], (table * _rarity(counts[kept])[:, None]).astype(np.float32)),
    )


def write(folder: Path, table: Matrix, tokenizer_file: Path, *, about: str) -> None:
    """Write a model that `Static` and model2vec read; half precision, which a cosine does not notice."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_bytes(tokenizer_file.read_bytes())
    config = {
        "model_type": "model2vec",
        "architectures": ["StaticModel"],
        "normalize": True,
        "hidden_dim": int(table.shape[1]),
        "tokenizer": digest_of(tokenizer_file),
        "distilled_from": about,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    # Last: a folder without its model is refused, one with a model is complete.
    write_safetensors(folder / "model.safetensors", {"embeddings": table.astype(np.float16)})


def _fit(counts: Any, target: Matrix, prior: Matrix, ridge: float) -> Matrix:
    rarity = _rarity(counts)
    features = _unit(counts * rarity[None, :].astype(np.float32))
    guess = features @ prior
    scale = float((guess * target).sum() / max(float(np.square(guess).sum()), 1e-12))
    start = (prior * scale).astype(np.float32)
    found = start + _ridge(features, target - scale * guess, ridge)
    return np.asarray(found * rarity[:, None], dtype=np.float32)


def _ridge(features: Any, target: Matrix, ridge: float) -> Matrix:
    """Return argmin ‖features · W - target‖² + ridge ‖W‖² by conjugate gradients, all columns of ``target`` at once."""
    turned = features.T.tocsr()
    residual = turned @ target
    solution = np.zeros_like(residual)
    direction = residual.copy()
    squares = np.square(residual).sum(axis=0)
    enough = 1e-8 * max(float(squares.max(initial=0.0)), 1e-30)
    for _ in range(_ITERATIONS):
        image = turned @ (features @ direction) + ridge * direction
        step = squares / np.maximum((direction * image).sum(axis=0), 1e-30)
        solution += step * direction
        residual -= step * image
        before, squares = squares, np.square(residual).sum(axis=0)
        cost.charge(flops=4.0 * features.nnz * target.shape[1] + 12.0 * solution.size)
        if squares.max(initial=0.0) < enough:
            break
        direction = residual + (squares / np.maximum(before, 1e-30)) * direction
    return np.asarray(solution, dtype=np.float32)


def _rarity(counts: Any) -> FloatArray:
    """Return log(texts / (1 + texts that have the token)), at least .1, float64 ``(vocabulary,)``."""
    n = counts.shape[0]
    having = np.bincount(counts.indices, minlength=counts.shape[1])
    return np.asarray(np.log(n / (1.0 + having)).clip(min=0.1), dtype=np.float64)


def _cosine(counts: Any, target: Matrix, table: Matrix) -> float:
    return float((unit_rows(counts @ table) * unit_rows(target)).sum(axis=1).mean())


def _counts(read: Sequence[Sequence[int]], size: int) -> Any:
    offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in read])])
    columns = np.fromiter((i for ids in read for i in ids), np.int64)
    found = sparse.csr_array((np.ones(len(columns), np.float32), columns, offsets), shape=(len(read), size))
    found.sum_duplicates()
    return found


def _unit(features: Any) -> Any:
    norms = np.sqrt(np.asarray(features.multiply(features).sum(axis=1)).ravel())
    return sparse.csr_array(sparse.diags_array((1.0 / norms).astype(np.float32)) @ features)


def _vocabulary(counts: Any, meaningless: frozenset[int]) -> IntArray:
    size = counts.shape[1]
    chosen = np.arange(size) if size <= ALL_UP_TO else np.unique(counts.indices)
    return np.setdiff1d(chosen, list(meaningless)).astype(np.int32)


def _spelled(tokenizer: Any, id_: int) -> str:
    text: str = tokenizer.decode([id_])
    return text.removeprefix("##").strip()


def described(found: Distillation) -> dict[str, Any]:
    """Return a JSON-ready form."""
    return asdict(found)


__all__ = ["Distillation", "described", "distil", "write"]
