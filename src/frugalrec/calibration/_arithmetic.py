"""Products, factorisations, memory and sparse tables."""

from __future__ import annotations

import operator
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import linalg, sparse

from frugalrec.calibration._bench import Bench
from frugalrec.calibration._made_up import large_log, log_of, scattered
from frugalrec.machine import available_memory_bytes
from frugalrec.recommenders._approximate import times
from frugalrec.recommenders._base import as_wide
from frugalrec.recommenders._expected import expected_gram
from frugalrec.recommenders._ridge import invert
from frugalrec.recommenders._statistics import add_transpose
from frugalrec.recommenders.item_knn import largest_of_rows
from frugalrec.work import Work

_FACTOR_SIZES = (500, 1200, 3000)  # rows of 1,024 numbers fall into the same places of a cache
_TOUCHED, _TOUCHED_AGAIN, _TOUCHED_BYTES = 16, 4, 1 << 26
_ALLOCATED = 2.0**25  # bytes up to which the allocator keeps what is freed
_MUCH = 8.0  # times what is touched here is so much that none of it was just freed


def products(bench: Bench) -> None:
    """Measure dense products."""
    for name, dtype in (("f32", np.float32), ("f64", np.float64)):
        for n in (256, 2048):
            a = np.random.default_rng(0).standard_normal((n, n)).astype(dtype)
            bench.measure(f"gemm-{name}", n, 2.0 * n**3, np.matmul, a, a)


def factors(bench: Bench) -> None:
    """Measure factorisations, substitutions and inverses."""
    for name, dtype in (("f32", np.float32), ("f64", np.float64)):
        for n in _FACTOR_SIZES:
            if name == "f64" and n > 2000:
                n = 2000
            definite = definite_of(n, dtype)
            potrf, potrs = linalg.get_lapack_funcs(("potrf", "potrs"), (definite,))
            factor = potrf(definite, lower=False)[0]
            bench.measure(f"factor-{name}", n, n**3 / 3, potrf, definite)
            bench.measure(
                f"substitute-{name}", n, 2.0 * n**2 * (n // 4), _substitution(potrs, factor, definite[:, : n // 4])
            )
            bench.measure(f"invert-{name}", n, float(n) ** 3, _inverted, definite)
    for n in (256, 512):
        bench.measure("eigen-f64", n, 9.0 * n**3, np.linalg.eigh, definite_of(n, np.float64))


def memory(bench: Bench) -> None:
    """Measure memory, and products with sparse tables."""
    touched(bench)
    for size in (1 << 22, 1 << 24, 1 << 26):
        source = np.ones(size // 8)
        target = np.empty_like(source)
        bench.measure("stream", size, 2.0 * size, np.copyto, target, source)
    for rows in (1_000, 4_000, 10_000, 40_000):
        # Texts of 512 numbers an item, compared with those of one request.
        vectors, profile = np.ones((rows, 512), dtype=np.float32), np.ones((1, 512), dtype=np.float32)
        bench.measure("scan", vectors.nbytes, 4.0 * vectors.nbytes, _scanned, profile, vectors)
    # A product writes a cell for the first pair that falls into it and adds for the others: what a pair costs
    # depends on how many pairs share a cell.
    for n_items, n_events, length in (
        (8_000, 40_000, 10),
        (3_000, 60_000, 40),
        (1_500, 90_000, 150),
        (2_000, 600_000, 200),  # in no nearest cache, as all with so many pairs a cell
    ):
        chosen = log_of(n_items, n_events, length=length).matrix().astype(np.float64)
        products, cells = _products(chosen)
        bench.measure("sparse-product", products / cells, products, _gram, chosen)
    # Long rows whose cells are far apart: requests that meet weights of a large catalogue.
    n, met = 30_000, 400
    weights = scattered(n, met)
    asked = as_wide(log_of(n, 2_000, length=16).matrix().astype(np.float32), weights)
    pairs = float(asked.nnz * met)
    bench.measure("sparse-product-wide", pairs / (asked @ weights).nnz, pairs, operator.matmul, asked, weights)
    bench.measure("turn-sparse", 1, float(weights.nnz), weights.tocsc)
    # In a large log, each row that is looked up for it comes from memory.
    for n_items, n_events in ((8_000, 100_000), (30_000, 600_000)):
        chosen = log_of(n_items, n_events, length=20).matrix().astype(np.float64)
        *product, visit = expected_gram(float(chosen.nnz), *_products(chosen), float(n_items))
        bench.measure("visit", visit.size, visit.amount, _gram, chosen, beside=product)
    # Some popular items and all that go with them, in a log that no cache holds: many pairs in each cell of long rows.
    chosen = large_log().matrix().astype(np.float64)
    popular = chosen[:, 20:50].T.tocsr()
    products = float(np.diff(chosen.indptr)[popular.indices].sum())
    size = products / (popular @ chosen).nnz
    found = Work("visit", float(popular.nnz), 8.0 * chosen.nnz)
    bench.measure("sparse-product-wide", size, products, operator.matmul, popular, chosen, beside=[found])
    for n_items in (1_500, 4_000, 6_000):
        chosen = log_of(n_items, 60_000).matrix()
        weights = np.ones((n_items, n_items), dtype=np.float32)
        histories = sparse.csr_array(chosen[:2_000].astype(np.float32))
        bench.measure("gather", n_items, float(histories.nnz) * n_items, times, histories, weights)
    # Rows of similarities, of which the largest are kept: all of the short ones.
    for length in (50, 400, 4_000):
        rows = sparse.csr_array(np.random.default_rng(0).random((200, length), dtype=np.float32))
        bench.measure("rows", length, 200.0, largest_of_rows, rows, length, 100)


def turned(bench: Bench) -> None:
    """Measure what joining the halves of a square table takes."""
    for n in (1_000, 4_000):
        table = np.ones((n, n))
        bench.measure("turn", n, float(n * n), add_transpose, table)


def touched(bench: Bench) -> None:
    """Measure what memory costs that is written for the first time.

    A virtual machine whose host takes freed memory back needs up to thirty times as long for that as for what was freed
    a moment ago. What the allocator keeps is not new. Of a little new memory some is of the dear kind (the geometric
    middle stands for it), of more most is, and of much all. New memory is held, so that it is not found again; at last
    some is, as what is called again and again here finds it: that is the rate while measuring.
    """
    free = available_memory_bytes()
    parts = _TOUCHED if free is None else max(2, min(_TOUCHED, int(free // (8 * _TOUCHED_BYTES))))
    held: list[np.ndarray[Any, Any]] = []
    taken: list[float] = []
    for part in range(parts + _TOUCHED_AGAIN):
        if part >= parts:
            held.pop()
        began = time.process_time()
        held.append(np.ones(_TOUCHED_BYTES // 8))
        taken.append(max(time.process_time() - began, 1e-9))
    new = sorted(taken[:parts])
    some, much = (_TOUCHED_BYTES / statistics.mean(part) for part in (new, new[parts // 2 :]))
    best, little = _TOUCHED_BYTES / min(taken), _TOUCHED_BYTES / (min(taken) * max(taken)) ** 0.5
    sizes = (_ALLOCATED, float(_TOUCHED_BYTES), float(parts * _TOUCHED_BYTES), _MUCH * parts * _TOUCHED_BYTES)
    bench.rates["touch"] = {1: [(1.0, best)]}
    bench.later["touch"] = {1: list(zip(sizes, (best, little, some, much), strict=True))}
    bench.rates["touch-worst"] = {1: [(1.0, _TOUCHED_BYTES / max(taken))]}


def definite_of(n: int, dtype: type[np.floating[Any]]) -> np.ndarray[Any, Any]:
    """Return a positive definite matrix of ``n`` rows, in the order of Fortran."""
    drawn = np.random.default_rng(0).standard_normal((n, n)).astype(dtype)
    return np.asfortranarray((drawn + drawn.T) / 2 + 4 * n**0.5 * np.eye(n, dtype=dtype))


def _substitution(potrs: Any, factor: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> Callable[[], Any]:
    return lambda: potrs(factor, np.asfortranarray(right), lower=False)


def _inverted(definite: np.ndarray[Any, Any]) -> Any:
    return invert(np.array(definite, order="C"))


def _scanned(profile: np.ndarray[Any, Any], vectors: np.ndarray[Any, Any]) -> None:
    # Requests follow one another: only the first finds the table where it was put, outside all caches.
    for _ in range(4):
        np.matmul(profile, vectors.T)


def _gram(chosen: sparse.csr_array) -> Any:
    return chosen.T @ chosen


def _products(chosen: sparse.csr_array) -> tuple[float, float]:
    """Return how many pairs a table multiplied by itself has, and how many cells they fall into."""
    lengths = np.diff(chosen.indptr).astype(np.float64)
    return float(lengths @ lengths), float(_gram(chosen).nnz)
