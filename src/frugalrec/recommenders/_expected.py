"""Cost formulas that several recommenders share: what they charge and hold, as a function of the data's shape.

Memory is in bytes above what the process holds before; n is the number of items, K of blocks, d of text dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from frugalrec.data.shape import DataShape
from frugalrec.interfaces import Expects
from frugalrec.recommenders._approximate import AXES, KEPT, ROUNDS, SOURCES, TARGETS
from frugalrec.recommenders._base import BLOCK_BYTES
from frugalrec.recommenders._statistics import (
    DENSE_ROWS,
    DENSE_SHARE,
    HORIZON,
    NEGLIGIBLE,
    WINDOW_PAIRS,
    Decay,
    dtype_of,
)
from frugalrec.recommenders._text import TEXT_ROWS
from frugalrec.work import Expected, Stages, Work, touching

ALIKE = 16.0
"""Neighbouring columns of a product's row that come from memory together."""

NARROW, WIDE = 250.0, 1_000.0
"""So many such parts of a product's row the nearest cache holds, and so many it does not."""

CACHED_BYTES = 2.0**25
"""Of larger tables, the rows that one request meets come from memory."""

PASSES = 10.0
"""How often sums go through the log for each block: to order it, to find how far states reach, and what they weigh."""

ASKED = Work("query", 1.0)
"""A request looks up its history."""

ENTRY_BYTES = 8.0
"""An entry of a sparse table, and its column."""

SOURCES_MEET = 2.0
"""Sources of a block have so many times the chances of an average row to meet another item."""

LONGEST_REACH = 100.0
"""How pairs fill cells is looked at up to so many positions apart."""

UNSOLVED_SPREAD = 2.0
"""What blocks of a sparse solution take depends on how items go together, which a shape does not tell."""


def width_of(encoder: Any) -> int | None:
    """Return the dimension of an encoder's vectors; 0 without an encoder, None where it does not say."""
    if encoder is None:
        return 0
    dim = getattr(encoder, "width", None) or getattr(encoder, "dim", None)
    return dim if isinstance(dim, int) else None


def expected_of(component: Any, shape: DataShape) -> Stages | None:
    """Return what a component says it takes, or None where it does not say: its cost is unknown."""
    return component.expected(shape) if isinstance(component, Expects) else None


def expected_states(
    shape: DataShape, decays: Sequence[Decay], *, passes: int = 1
) -> tuple[Expected, float, float] | None:
    """Return what `accumulate_states` takes, and how many cells of gram and cross table it fills; None without times.

    Exact in FLOPs: 2 for each pair within reach and each table it goes into. ``passes``: 2 where it runs over the
    reversed log as well.
    """
    n, K, events = shape.items, len(decays), shape.n_events
    past = following = 0.0
    for decay in decays:
        reach = decay.half_life * -math.log2(NEGLIGIBLE)
        ahead = shape.pairs(1, HORIZON - 1)
        if decay.unit == "positions":
            past += K * shape.pairs(1, reach)
            ahead += shape.pairs(HORIZON, math.floor(reach) + HORIZON)
        else:
            near = shape.pairs_within(reach)
            later = shape.pairs_within(reach, ahead=HORIZON, same=True)
            if near is None or later is None:
                return None
            past += K * near
            ahead += later
        following += ahead
    terms = passes * (past + following)
    dense = is_dense(shape, decays)
    kind = "pairs-dense" if dense else "pairs-sparse"
    # Columns of the log as float64, their decays and tails, and where each item occurs.
    columns = events * 8.0 * (8 + 2 * K + K * K)
    window = min(past / K + events, WINDOW_PAIRS)
    if dense:
        held = 8.0 * n * n * K * (K + 1)
        # Blocks below the diagonal are filled last, when windows are gone.
        filled = passes * 8.0 * n * n * (K * (K + 1) / 2 + K)
        # A window's product is held sparse and dense before it is added; windows are alike where codes are in no order.
        # The allocator keeps what a window took for the next one, and after the last.
        product = n * n * min(1.0, window / max(past / K + events, 1.0))
        peak = max(held, filled + 24.0 * window + 12.0 * min(window, product) + 8.0 * product)
        peak += columns
        filled, cells = (n * K) ** 2, n * n * K
        # What is known of events that come in the order of their items is looked up in the whole log.
        work = (Work(kind, terms, events), *dense_tables(n, K, passes * events), touching(columns + 24.0 * window))
    else:
        lag = max(d.half_life * -math.log2(NEGLIGIBLE) for d in decays if d.unit == "positions" or len(decays) == 1)
        lag = min(lag, LONGEST_REACH)
        cells = K * shape.filled(following / max(K, 1), lag)
        half = K * K * shape.filled(past / (K * K), lag)
        filled = K * K * shape.filled(2.0 * past / (K * K), lag)
        entry = 12.0 if dtype_of(int(K * n)) is np.float64 else 8.0
        held = entry * (filled + cells)
        # One half of the symmetric table and its transpose, before they are one.
        peak = (passes - 1) * held + entry * (2.0 * half + filled + cells) + columns + 40.0 * window
        work = (
            Work(kind, terms),
            Work("stream", 5.0 * entry * filled, entry * filled),
            found_in_log(passes * K * events, events),
            # Half of the square table with the diagonal, its transpose, and both as one; the other, and turned.
            touching(2.0 * entry * (filled + cells)),
        )
    spread = 1.0 if dense else 1.3
    return Expected(work, 2.0 * terms, 0.0, 0.0, peak, held, spread), filled, cells


def dense_tables(n: float, blocks: int, events: float) -> tuple[Work, ...]:
    """Return the work of making dense sums of so many blocks over so many events, their terms aside."""
    size = 8.0 * n * n * blocks * (blocks + 1)
    # The tables themselves; a window is made, and added to its table; the halves of the square blocks are joined.
    turned, found = Work("turn", blocks * n * n, n), found_in_log(blocks * events, events)
    return touching(size), Work("stream", 4.0 * size, size), turned, found


def found_in_log(events: float, size: float) -> Work:
    """Return the work of sums over so many ``events``, of logs of some ``size``, their terms and tables aside."""
    return Work("events", PASSES * events, size)


def is_dense(shape: DataShape, decays: Sequence[Decay]) -> bool:
    """Return whether `accumulate_states` will hold its tables dense."""
    n = shape.items
    limits = [d.half_life * -math.log2(NEGLIGIBLE) for d in decays]
    pairs = sum(
        shape.pairs(1, limit) if d.unit == "positions" else shape.pairs_within(limit) or 0.0
        for d, limit in zip(decays, limits, strict=True)
    )
    return pairs >= DENSE_SHARE * n * n and len(decays) * n <= DENSE_ROWS


def expected_solve(n: float, blocks: int, cells: float, *, sparse: bool, precision: str, prior_dim: int) -> Expected:
    """Return what `_ridge.solve` takes for a cross table with ``cells`` entries that are not zero."""
    size, width = blocks * n, 4.0 if precision == "float32" else 8.0
    name = "f32" if precision == "float32" else "f64"
    flops = 0.0
    work: list[Work] = []
    extra = 0.0
    if prior_dim:
        half = 3.0 * n * prior_dim**2 + prior_dim**3 / 3
        products = blocks * 2.0 * n * n * prior_dim
        flops += half + products
        work += [Work("gemm-f64", half, prior_dim), Work(f"gemm-{name}", products, prior_dim)]
        extra = width * n * n + 12.0 * n * prior_dim
    if sparse and size**2 * n > size**3 / 3 + cells * size:
        flops += size**3 + 2.0 * cells * size
        work += [Work(f"invert-{name}", size**3, size), Work("gather", cells * size, size)]
        work.append(Work("stream", 6 * width * size * n, width * size * n))
        work.append(touching(width * (size * size + size * n)))
        peak = width * (size * size + size * n)
    else:
        substituted = 2.0 * size**2 * n
        flops += size**3 / 3 + substituted
        work += [Work(f"factor-{name}", size**3 / 3, size), Work(f"substitute-{name}", substituted, size)]
        work.append(Work("stream", 12.0 * size * (size + 2 * n), width * size * n))
        work.append(touching(width * size * (size + n)))
        # Weights of several blocks are put in the other order of memory; those of one are turned where they are.
        peak = width * size * (size + n + (n if blocks > 1 else 0.0))
    return Expected(tuple(work), flops, 0.0, 0.0, max(peak, width * size * size + extra), width * size * n)


def expected_blockwise(
    shape: DataShape, blocks: int, cells: float, columns: float, *, prior_dim: int = 0, said_dim: int = 0
) -> Expected:
    """Return about what `_approximate` takes: its blocks' systems, and what texts add to them.

    ``cells``: entries of the table that is solved; ``columns``: of the one whose columns are its targets. Texts are in
    the ridge (``prior_dim`` dimensions), or say weights of their own (``said_dim``), which are compared with all items.
    """
    n, d, said = shape.items, float(said_dim), 1.0 if said_dim else 0.0
    sources = min(float(SOURCES), blocks * n)
    solves = n / TARGETS
    substituted = (1.0 + said) * solves * 2.0 * sources**2 * TARGETS
    # A block's texts with those of all items, and with its sources'; before, what makes them weights.
    told, known = 2.0 * n * n * d, 2.0 * n * sources * d
    turned = 4.0 * n * d * d + said * d**3 / 3 + 2.0 * n * d
    near = solves * 2.0 * sources**2 * prior_dim + 3.0 * n * prior_dim**2 + prior_dim**3 / 3
    compared = 2.0 * columns * AXES * (2.0 * ROUNDS + 1.0) if n > TARGETS else 0.0
    flops = compared + solves * sources**3 / 3 + substituted + told + known + turned + near
    held = 8.0 * min(KEPT, n * blocks) * n
    # A block's part is cut out of rows of the sums, those of popular items, which have more entries than the average.
    met = sources * blocks * n * (1.0 - (1.0 - min(1.0, cells / (blocks * n) ** 2)) ** SOURCES_MEET)
    work = (
        Work("factor-f32", solves * sources**3 / 3, sources),
        Work("substitute-f32", substituted, sources),
        Work("gemm-f32", told + known + near, float(max(said_dim, prior_dim, 1))),
        Work("gemm-f64", turned, float(max(said_dim, 1))),
        Work("stream", 20.0 * n * n * said, 4.0 * n * TARGETS),
        Work("block", solves * (met + sources**2 + sources * TARGETS)),
        # The targets' columns are turned round and looked at for those alike; the weights, stacked and put in order.
        Work("alike", columns),
        Work("turn-sparse", columns + 3.0 * held / ENTRY_BYTES),
    )
    # Blocks' weights, stacked and put in order; the targets' columns, and what is left of comparing them.
    peak = 3.0 * held + 12.0 * columns + 16.0 * sources**2 + 4.0 * n * max(said_dim, prior_dim)
    return Expected(work, flops, 0.0, 0.0, peak, held, UNSOLVED_SPREAD)


def expected_text_space(shape: DataShape, dim: int, whitening: float) -> Expected:
    """Return what `encode_items`, `TextSpace.fit` and ``project`` take for the catalogue; FLOPs as they charge them.

    The vectors have been encoded, in a stage of its own, and are recalled by their texts.
    """
    n, rows, d = shape.items, shape.n_texts, float(dim)
    flops = rows * d + 4.0 * n * d
    work = [Work("recall", n, 4.0 * d), Work("space", n * d), touching(8.0 * n * d)]
    # As they were encoded, and as they are here; some rows at a time.
    peak = 8.0 * n * d + 14.0 * min(n, TEXT_ROWS) * d
    if whitening:
        fitted = 2.0 * rows * d * d
        flops += fitted + 9.0 * d**3 + d * d + 2.0 * n * d * d
        # Of the product of a table with itself one half is computed.
        work += [Work("gemm-f64", fitted / 2, d), Work("eigen-f64", 9.0 * d**3, d), Work("gemm-f32", 2 * n * d * d, d)]
        peak += 24.0 * d * d
    return Expected(tuple(work), flops, 0.0, 0.0, peak, 8.0 * n * d)


def expected_gram(chosen: float, products: float, cells: float, columns: float) -> tuple[Work, ...]:
    """Return the work of multiplying a sparse user × item table, of ``chosen`` entries, by itself.

    Its ``products`` fall into so many ``cells`` of ``columns``; for each entry a row of the table is looked up.
    """
    found = Work("visit", chosen, 8.0 * chosen)
    return *_sparse_product(products, cells, columns, cells / max(columns, 1.0)), found


def _sparse_product(pairs: float, cells: float, columns: float, row: float) -> tuple[Work, ...]:
    """Return the work of adding ``pairs`` into ``cells``, a row of ``columns`` at a time of which ``row`` are filled.

    A row that does not fit into the nearest cache takes longer where it is met again and again.
    """
    parts = columns / ALIKE * -math.expm1(-ALIKE * row / max(columns, 1.0))
    wide = math.log(max(parts, 1.0) / NARROW) / math.log(WIDE / NARROW)
    wide = min(1.0, max(0.0, wide))
    size = max(1.0, pairs / max(cells, 1.0))
    return Work("sparse-product", (1.0 - wide) * pairs, size), Work("sparse-product-wide", wide * pairs, size)


def expected_encoded(shape: DataShape, dim: int) -> Expected:
    """Return what the vectors of item texts take that are there before the sums; encoding is a stage of its own."""
    size = 4.0 * shape.items * dim
    return Expected((), 0.0, 0.0, 0.0, 2.0 * size, size)


def expected_product(
    nonzeros: float, met: float, rows: float, columns: float, *, alone: bool, filled: float | None = None
) -> tuple[Work, ...]:
    """Return the work of `_base.product` for one of its rows of ``nonzeros``, each meeting ``met`` entries.

    The table on the right is ``rows`` × ``columns``; for many rows at once it is made dense where that pays. Cells
    ``filled``, where it is known, are else as many as by chance.
    """
    if not alone and 12 * met > columns and 4 * rows * columns <= BLOCK_BYTES:
        return (Work("gather", nonzeros * columns, columns),)
    pairs = nonzeros * met
    if filled is None:
        filled = columns * -math.expm1(-pairs / max(columns, 1.0))
    if alone:
        kind = "sparse-alone" if 8.0 * rows * met <= CACHED_BYTES else "sparse-cold"
        return (Work(kind, pairs, max(1.0, pairs / max(filled, 1.0))),)
    return *_sparse_product(pairs, filled, columns, filled), Work("stream", 12.0 * columns, 4.0 * columns)


def expected_weights(
    shape: DataShape, nonzeros: float, *, dense: bool, said: bool = False, asked: Work = ASKED
) -> tuple[Expected, Expected]:
    """Return what a query with ``nonzeros`` history entries takes against item × item weights: alone, and among many.

    Alone it pays for what it is ``asked``, looking up its history or making states of it, whose size is what it reads
    beside weights. Where texts ``said`` what the weights are, items have as many whether they are popular or not.
    """
    n = shape.items
    if dense:
        flops, peak, spread = 2.0 * nonzeros * n, 4.0 * n, 1.0
        read = 4.0 * nonzeros * n
        alone: tuple[Work, ...] = (Work("gather-alone", nonzeros * n, n),)
        among: tuple[Work, ...] = (Work("gather", nonzeros * n, n),)
    else:
        met = min(float(KEPT), n) if said else _met(shape)
        flops, peak, spread = 2.0 * nonzeros * met, 16.0 * n, UNSOLVED_SPREAD
        read = ENTRY_BYTES * nonzeros * met
        alone, among = (expected_product(nonzeros, met, n, n, alone=one) for one in (True, False))
    own = replace(asked, size=asked.size + read)
    taken = Expected(among, flops, 0.0, 0.0, peak, 0.0, spread)
    return replace(taken, work=(own, *alone)), taken


def _met(shape: DataShape) -> float:
    """Return how many weights are kept for an item of a history, where `KEPT` are for each item that is scored.

    Popular items, of which histories are made, say more of others: as the root of their popularity, in logs looked at.
    """
    popularity, items = shape.popularity
    said = items * np.sqrt(popularity)
    average = max(float(said.sum()) / shape.items, 1e-300)
    events = max(float(items @ popularity), 1e-300)
    return min(shape.items, min(float(KEPT), shape.items) * float(said @ popularity) / events / average)


__all__ = [
    "ENTRY_BYTES",
    "dense_tables",
    "expected_blockwise",
    "expected_encoded",
    "expected_gram",
    "expected_of",
    "expected_product",
    "expected_solve",
    "expected_states",
    "expected_text_space",
    "expected_weights",
    "found_in_log",
    "is_dense",
    "width_of",
]
