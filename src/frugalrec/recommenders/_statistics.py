"""Sums over users: the sufficient statistics of the linear models, which add and subtract; `_ridge` solves them.

For an event sequence ``s_0 … s_{L-1}`` and a block ``k`` with decay function f_k, the state after step t is

    x_k(t) = Σ_{a≤t} f_k(t, a) e_{s_a},

and the target of that state is what the user did next, y(t) = Σ_{j<5} 2^{-j/h} e_{s_{t+1+j}}. The statistics are
``gram = Σ x xᵀ`` and ``cross = Σ x yᵀ`` over all states that have a target, of all users. No state is ever formed:
with f_k(t, a) = exp(Γ_k(t) - Γ_k(a)) the sum over t has the closed form used below, and what is left is one
term for each pair of events of a user, scattered to (item, item). Pairs whose weight is below `NEGLIGIBLE` are left
out; which ones are depends on the user's own sequence alone, so adding and subtracting users stays exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from scipy import sparse

from frugalrec.cost import charge
from frugalrec.data.interactions import FloatArray, Interactions

NEGLIGIBLE = 1e-5
HORIZON = 5
DENSE_SHARE = 0.1
"""Statistics are kept dense when at least this share of their entries is expected to be used."""

DENSE_ROWS = 15_000
"""A system of more rows than this is never held, or by default solved, as a dense table."""

_WINDOW_BYTES = 1_500_000  # the scatter is fast while its target stays in the second-level cache
_WINDOW_PAIRS, _WINDOW_LAGS = 4_000_000, 100

Table: TypeAlias = np.ndarray[Any, np.dtype[np.float64]] | sparse.csr_array


@dataclass(frozen=True)
class Statistics:
    """``gram`` (float64 ``(K·n, K·n)``) and ``cross`` (``(K·n, n)``) of K blocks over n items; dense or CSR.

    A commutative monoid under ``+``; ``-`` takes users out again. For models that predict a user's items from one
    another (EASE) ``cross`` is None.
    """

    gram: Table
    cross: Table | None
    n_users: int
    n_events: int

    def __add__(self, other: Statistics) -> Statistics:
        return Statistics(
            _plus(self.gram, other.gram),
            None if self.cross is None or other.cross is None else _plus(self.cross, other.cross),
            self.n_users + other.n_users,
            self.n_events + other.n_events,
        )

    def __sub__(self, other: Statistics) -> Statistics:
        return self + other.scaled(-1.0)

    def scaled(self, factor: float) -> Statistics:
        """Return the statistics with every sum multiplied by ``factor``; the counts change sign with it."""
        sign = -1 if factor < 0 else 1
        return Statistics(
            self.gram * factor,
            None if self.cross is None else self.cross * factor,
            sign * self.n_users,
            sign * self.n_events,
        )

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(_nbytes(t) for t in (self.gram, self.cross) if t is not None)


def _plus(a: Table, b: Table) -> Table:
    # scipy adds a dense table to a sparse one, not a sparse one to a dense one.
    return b + a if isinstance(b, np.ndarray) else a + b


def _nbytes(table: Table) -> int:
    if isinstance(table, np.ndarray):
        return table.nbytes
    return int(table.data.nbytes + table.indices.nbytes + table.indptr.nbytes)


@dataclass(frozen=True)
class Decay:
    """How a block forgets: weight 2^(-lag / half_life), with lags in ``positions`` or ``seconds``."""

    half_life: float
    unit: str

    def log_decay(self, log: Interactions) -> FloatArray:
        """Return Γ, float64 ``(n_events,)``: the log weight of each event relative to the user's first, ≤ 0."""
        starts = np.repeat(log.offsets[:-1], np.diff(log.offsets))
        if self.unit == "positions":
            lag = np.arange(len(log), dtype=np.float64) - starts
        else:
            assert log.timestamp is not None
            lag = log.timestamp - log.timestamp[starts]
        gamma: FloatArray = lag * (-np.log(2.0) / self.half_life)
        return gamma


def accumulate_states(log: Interactions, decays: Sequence[Decay], target_half_life: float) -> Statistics:
    """Sum ``x xᵀ`` and ``x yᵀ`` over all states with a target of all users in ``log``.

    Time grows with the number of event pairs within a block's reach, about 17 half-lives.
    """
    n, K = log.n_items, len(decays)
    lengths = np.diff(log.offsets)
    position = np.arange(len(log)) - np.repeat(log.offsets[:-1], lengths)
    following = np.repeat(lengths, lengths) - 1 - position  # events after this one
    gammas = [d.log_decay(log) for d in decays]
    tails = [[_tail(gammas[k], gammas[m], following) for m in range(K)] for k in range(K)]
    reach = sum(_mean_reach(d, position) for d in decays)
    dense = len(log) * reach >= DENSE_SHARE * n * n and K * n <= DENSE_ROWS
    gram, cross = (_Dense if dense else _Sparse)(n, K, K), (_Dense if dense else _Sparse)(n, K, 1)
    adds = 0
    for items, events in _windows(log, dense, position):
        for m in range(K):
            scatters = [gram.window(items) for _ in range(K)]
            for newer, older, weight in _past(gammas[m], position, events):
                for k in range(K):
                    scatters[k].add(log.item[newer], log.item[older], weight * tails[k][m][newer])
                adds += K * len(newer)
            for k in range(K):
                gram.put(k, m, items, scatters[k])
            reached = cross.window(items)
            for newer, older, weight in _next(gammas[m], position, events, target_half_life):
                reached.add(log.item[newer], log.item[older], weight)
                adds += len(newer)
            cross.put(m, 0, items, reached)
    # Every term is one multiplication and one addition.
    charge(flops=2.0 * adds)
    diagonals = [
        [np.bincount(log.item, weights=tails[k][m], minlength=n).astype(np.float64) for m in range(K)] for k in range(K)
    ]
    return Statistics(
        gram=gram.symmetric(diagonals),
        cross=cross.transposed(),
        n_users=int(np.count_nonzero(lengths)),
        n_events=len(log),
    )


def _mean_reach(decay: Decay, position: np.ndarray[Any, Any]) -> float:
    # Only a guess at how much of the table will be filled; in seconds nobody knows, so take it for long.
    limit = decay.half_life * -np.log2(NEGLIGIBLE) if decay.unit == "positions" else 100.0
    return float(np.minimum(position, limit).mean()) if len(position) else 0.0


def _tail(g1: FloatArray, g2: FloatArray, following: np.ndarray[Any, Any]) -> FloatArray:
    """T(m) = Σ exp(Γ1(t) - Γ1(m) + Γ2(t) - Γ2(m)) over the states t ≥ m that have a target; (n_events,).

    Backwards: T(m) = 1 + exp(ΔΓ1 + ΔΓ2) T(m+1), T of an event with nothing after it is 0. All users step together.
    """
    total = np.zeros(len(g1))
    if not len(g1):
        return total
    order = np.argsort(following, kind="stable")
    bounds = np.searchsorted(following[order], np.arange(following.max() + 2))
    step = np.exp(np.diff(g1 + g2, append=0.0).clip(max=0.0))
    for after in range(1, len(bounds) - 1):
        rows = order[bounds[after] : bounds[after + 1]]
        total[rows] = 1.0 + step[rows] * total[rows + 1]
    return total


def _windows(
    log: Interactions, dense: bool, position: np.ndarray[Any, Any]
) -> Iterator[tuple[range, np.ndarray[Any, Any]]]:
    """Yield consecutive ranges of item codes, of little enough work at a time, with the events whose item is in each.

    Dense windows stay in the cache; sparse ones hold at most `_WINDOW_PAIRS` terms of a lag of `_WINDOW_LAGS`, or one
    item's.
    """
    n = log.n_items
    by_item = np.argsort(log.item, kind="stable")
    bounds = np.concatenate([[0], np.cumsum(log.popularity)])
    rows = max(1, _WINDOW_BYTES // (8 * max(n, 1)))
    # With the reach unknown, count at most this many partners for each event.
    pairs = np.concatenate([[0], np.cumsum(np.minimum(position[by_item], _WINDOW_LAGS), dtype=np.int64)])[bounds]
    first = 0
    while first < n:
        last = min(first + rows, n)
        if not dense:
            last = max(first + 1, int(np.searchsorted(pairs, pairs[first] + _WINDOW_PAIRS, side="right")) - 1)
        events = by_item[bounds[first] : bounds[last]]
        if len(events) or not dense:
            yield range(first, last), events
        first = last


def _past(
    gamma: FloatArray, position: np.ndarray[Any, Any], events: np.ndarray[Any, Any]
) -> Iterator[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], FloatArray]]:
    """Yield, lag by lag, ``(newer, older, exp(Γ(newer) - Γ(older)))`` for the pairs worth counting."""
    newer, lag = events[position[events] >= 1], 1
    while len(newer):
        older = newer - lag
        weight = np.exp(gamma[newer] - gamma[older])
        kept = weight >= NEGLIGIBLE
        if not kept.all():
            newer, older, weight = newer[kept], older[kept], weight[kept]
        yield newer, older, weight
        lag += 1
        newer = newer[position[newer] >= lag]


def _next(
    gamma: FloatArray, position: np.ndarray[Any, Any], events: np.ndarray[Any, Any], half_life: float
) -> Iterator[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], FloatArray]]:
    """Yield, lag by lag, ``(target, older, weight)``: how strongly the states before ``target`` point to it.

    weight = Σ_j 2^(-j/h) exp(Γ(p-1-j) - Γ(a)) over the at most `HORIZON` states p-1-j ≥ a that event p is a target of.
    Once the lag is past the horizon the sum is a product of one number a target and one a pair.
    """
    discount = 2.0 ** (-np.arange(HORIZON) / half_life)
    for lag in range(1, HORIZON):
        target = events[position[events] >= lag]
        older = target - lag
        weight = np.zeros(len(target))
        for j in range(lag):
            weight += discount[j] * np.exp(gamma[target - 1 - j] - gamma[older])
        yield target, older, weight
    target = events[position[events] >= HORIZON]
    base = gamma[target - HORIZON]
    gain = sum(discount[j] * np.exp(gamma[target - 1 - j] - base) for j in range(HORIZON))
    lag = HORIZON
    while len(target):
        older = target - lag
        weight = np.exp(base - gamma[older])
        kept = weight >= NEGLIGIBLE
        target, older, base, gain, weight = target[kept], older[kept], base[kept], gain[kept], weight[kept]
        yield target, older, gain * weight
        lag += 1
        kept = position[target] >= lag
        target, base, gain = target[kept], base[kept], gain[kept]


class _DenseWindow:
    """Rows of a block, as a table."""

    def __init__(self, items: range, n: int) -> None:
        self._first, self._n = items.start, n
        self.table = np.zeros((len(items), n))

    def add(self, rows: np.ndarray[Any, Any], columns: np.ndarray[Any, Any], weights: FloatArray) -> None:
        """Add ``weights`` at (row, column)."""
        np.add.at(self.table.reshape(-1), (rows - self._first) * self._n + columns, weights)


class _Dense:
    """A table of K × M blocks of n × n, filled window of rows by window of rows."""

    def __init__(self, n: int, rows: int, columns: int) -> None:
        self.n, self.rows, self.columns = n, rows, columns
        self._table = np.zeros((rows * n, columns * n))

    def window(self, items: range) -> _DenseWindow:
        """Return what to add the rows ``items`` of a block up in."""
        return _DenseWindow(items, self.n)

    def put(self, k: int, m: int, items: range, window: Any) -> None:
        """Set the rows ``items`` of block (k, m)."""
        top, left = k * self.n + items.start, m * self.n
        self._table[top : top + len(items), left : left + self.n] = window.table

    def symmetric(self, diagonals: Sequence[Sequence[FloatArray]]) -> Table:
        """Return the table plus its transpose plus the diagonals of its blocks."""
        n = self.n
        for k in range(self.rows):
            for m in range(k, self.columns):
                upper = self._table[k * n : (k + 1) * n, m * n : (m + 1) * n]
                lower = self._table[m * n : (m + 1) * n, k * n : (k + 1) * n]
                both = upper + lower.T
                both[np.arange(n), np.arange(n)] += diagonals[k][m]
                upper[:] = both
                lower[:] = both.T
        return self._table

    def transposed(self) -> Table:
        """Return the table with each of its blocks transposed."""
        for k in range(self.rows):
            block = self._table[k * self.n : (k + 1) * self.n]
            block[:] = block.T.copy()
        return self._table


class _SparseWindow:
    """Rows of a block, as terms to be added up: nothing here is as long as the catalogue."""

    def __init__(self, items: range, n: int) -> None:
        self._items, self._n = items, n
        self._terms: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], FloatArray]] = []

    def add(self, rows: np.ndarray[Any, Any], columns: np.ndarray[Any, Any], weights: FloatArray) -> None:
        """Add ``weights`` at (row, column)."""
        self._terms.append((rows - np.int32(self._items.start), columns, weights))

    def summed(self) -> sparse.csr_array:
        """Return the sums."""
        empty = np.empty(0, dtype=np.int32)
        rows, columns = (np.concatenate([empty, *(term[axis] for term in self._terms)]) for axis in (0, 1))
        weights = np.concatenate([np.empty(0), *(term[2] for term in self._terms)])
        self._terms.clear()
        return sparse.csr_array(sparse.coo_array((weights, (rows, columns)), shape=(len(self._items), self._n)).tocsr())


class _Sparse:
    """As `_Dense`, in CSR: a window holds sorted rows, and windows stack up."""

    def __init__(self, n: int, rows: int, columns: int) -> None:
        self.n, self.rows, self.columns = n, rows, columns
        self._parts: dict[tuple[int, int], list[sparse.csr_array]] = {
            (k, m): [] for k in range(rows) for m in range(columns)
        }

    def window(self, items: range) -> _SparseWindow:
        """Return what to add the rows ``items`` of a block up in."""
        return _SparseWindow(items, self.n)

    def put(self, k: int, m: int, items: range, window: Any) -> None:
        """Set the rows ``items`` of block (k, m); windows come in ascending order and leave none out."""
        self._parts[k, m].append(window.summed())

    def _block(self, k: int, m: int) -> sparse.csr_array:
        parts = self._parts.pop((k, m))
        if not parts:
            return sparse.csr_array((self.n, self.n))
        lengths = np.concatenate([np.diff(part.indptr) for part in parts])
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        data = np.concatenate([part.data for part in parts])
        indices = np.concatenate([part.indices for part in parts])
        return sparse.csr_array((data, indices, offsets), shape=(self.n, self.n))

    def symmetric(self, diagonals: Sequence[Sequence[FloatArray]]) -> Table:
        """Return the table plus its transpose plus the diagonals of its blocks."""
        blocks = [[self._block(k, m) for m in range(self.columns)] for k in range(self.rows)]
        table = blocks[0][0] if self.rows == self.columns == 1 else sparse.block_array(blocks, format="csr")
        del blocks
        both = table + table.T.tocsr()
        del table
        # The blocks' diagonals lie on diagonals of the table, and adding them one by one copies it each time.
        diagonal = sparse.block_array([[sparse.diags_array(d) for d in row] for row in diagonals], format="csr")
        return sparse.csr_array(both + diagonal)

    def transposed(self) -> Table:
        """Return the table with each of its blocks transposed."""
        blocks = [self._block(k, 0).T.tocsr() for k in range(self.rows)]
        return blocks[0] if self.rows == 1 else sparse.csr_array(sparse.vstack(blocks, format="csr"))
