"""Sums over users: the sufficient statistics of the linear models, which add and subtract; `_ridge` solves them.

For an event sequence ``s_0 … s_{L-1}`` and a block ``k`` with decay function f_k, the state after step t is

    x_k(t) = Σ_{a≤t} f_k(t, a) e_{s_a},

and the target of that state is what the user did next, y(t) = Σ_{j<5} 2^{-j/h} e_{s_{t+1+j}}. The statistics are
``gram = Σ x xᵀ`` and ``cross = Σ x yᵀ`` over all states that have a target, of all users. No state is ever formed:
with f_k(t, a) = exp(Γ_k(t) - Γ_k(a)) the sum over t has the closed form used below, and what is left is one
term for each pair of events of a user: products of sparse tables, (item, event) times (event, item), a window of items
at a time. Pairs whose weight is below `NEGLIGIBLE` are left out; which ones are depends on the user's own sequence
alone, so adding and subtracting users stays exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from scipy import sparse

from frugalrec.cost import charge
from frugalrec.data.interactions import FloatArray, Interactions
from frugalrec.executors import zeros

NEGLIGIBLE = 1e-3
HORIZON = 5
DENSE_SHARE = 0.1
"""Statistics are kept dense when at least this share of their entries is expected to be used."""

DENSE_ROWS = 15_000
"""A system of more rows than this is never held, or by default solved, as a dense table."""

_LOG_NEGLIGIBLE = np.log(NEGLIGIBLE)
WINDOW_PAIRS = 500_000
"""So many pairs of events are alive at once while sums are made, about 40 bytes each; more do not fit a cache."""


Codes: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Table: TypeAlias = np.ndarray[Any, np.dtype[np.float64]] | sparse.csr_array


@dataclass(frozen=True)
class Statistics:
    """``gram`` (``(K·n, K·n)``) and ``cross`` (``(K·n, n)``) of K blocks over n items; dense or CSR.

    They are float64, and float32 beyond `DENSE_ROWS` rows, where they take gigabytes and are solved approximately.
    A commutative monoid under ``+``; ``-`` takes users out again. For models that predict a user's items from one
    another (EASE) ``cross`` is None. ``upper``: a dense ``gram`` is filled on and above the diagonal of its blocks
    alone, so that sums of parts need no memory for what `whole` mirrors once they are added up.
    """

    gram: Table
    cross: Table | None
    n_users: int
    n_events: int
    upper: bool = False

    def __add__(self, other: Statistics) -> Statistics:
        if self.upper and other.upper:
            return self.plus(other)
        a, b = self.whole(), other.whole()
        return Statistics(
            _plus(a.gram, b.gram),
            None if a.cross is None or b.cross is None else _plus(a.cross, b.cross),
            a.n_users + b.n_users,
            a.n_events + b.n_events,
        )

    def plus(self, other: Statistics, *, overwrite: bool = False) -> Statistics:
        """Return ``self + other``; with ``overwrite``, in the dense tables of ``self`` where they can be written."""
        if self.upper != other.upper:
            return self + other
        n = self._items if self.upper else 0
        return Statistics(
            _sum(self.gram, other.gram, n, overwrite=overwrite),
            None if self.cross is None or other.cross is None else _sum(self.cross, other.cross, overwrite=overwrite),
            self.n_users + other.n_users,
            self.n_events + other.n_events,
            self.upper,
        )

    def whole(self) -> Statistics:
        """Return the statistics with every block of ``gram``; a table that can be written is completed in place."""
        if not self.upper:
            return self
        assert isinstance(self.gram, np.ndarray)
        gram = self.gram if self.gram.flags.writeable else self.gram.copy()
        n = self._items
        for k in range(0, len(gram), n):
            for m in range(k + n, len(gram), n):
                gram[m : m + n, k : k + n] = gram[k : k + n, m : m + n].T
        return replace(self, gram=gram, upper=False)

    @property
    def _items(self) -> int:
        assert self.cross is not None
        return int(self.cross.shape[1])

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
            self.upper,
        )

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(_nbytes(t) for t in (self.gram, self.cross) if t is not None)


def dtype_of(rows: int) -> type[np.floating[Any]]:
    """Return the type of the numbers in statistics of so many rows."""
    return np.float32 if rows > DENSE_ROWS else np.float64


def _plus(a: Table, b: Table) -> Table:
    # scipy adds a dense table to a sparse one, not a sparse one to a dense one.
    return b + a if isinstance(b, np.ndarray) else a + b


def _sum(a: Table, b: Table, n: int = 0, *, overwrite: bool) -> Table:
    """Return ``a + b``; with ``n``, of blocks of that side on and above the diagonal alone: others are not touched."""
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
        return _plus(a, b)
    # Memory that is touched for the first time can cost more than the adding.
    total = a if overwrite and a.flags.writeable else zeros(a.shape, a.dtype)
    for first in range(0, len(a), n or len(a)):
        part = np.s_[first : first + (n or len(a)), first if n else 0 :]
        np.add(a[part], b[part], out=total[part])
    return total


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


def accumulate_states(
    log: Interactions, decays: Sequence[Decay], target_half_life: float, *, upper: bool = False
) -> Statistics:
    """Sum ``x xᵀ`` and ``x yᵀ`` over all states with a target of all users in ``log``.

    With ``upper``, a dense gram is left as `Statistics.upper` says, for sums that others will be added to.
    Time grows with the number of event pairs within a block's reach, about 10 half-lives.
    """
    n, K = log.n_items, len(decays)
    lengths = np.diff(log.offsets)
    position = np.arange(len(log)) - np.repeat(log.offsets[:-1], lengths)
    following = np.repeat(lengths, lengths) - 1 - position  # events after this one
    gammas = [d.log_decay(log) for d in decays]
    reaches = [_reach(gamma, position) for gamma in gammas]
    tails: dict[tuple[int, int], FloatArray] = {}
    for k in range(K):
        for m in range(k, K):
            tails[k, m] = tails[m, k] = _tail(gammas[k], gammas[m], following)
    dense = sum(int(reach.sum()) for reach in reaches) >= DENSE_SHARE * n * n and K * n <= DENSE_ROWS
    gram, cross = (_Dense if dense else _Sparse)(n, K, K), (_Dense if dense else _Sparse)(n, K, 1)
    terms = 0
    for m in range(K):
        for items, events in _windows(log, reaches[m]):
            past = _past(log, gammas[m], reaches[m], events, first_lag=1)
            for k in range(K):
                gram.put(k, m, items, _by_item(log, items, events, tails[k, m][events]) @ past)
            terms += K * past.nnz
            del past  # the next product makes one of its own
            reached, added = _next(log, gammas[m], reaches[m], position, target_half_life, items, events)
            cross.put(m, 0, items, reached)
            terms += added
    # Every term is one multiplication and one addition.
    charge(flops=2.0 * terms)
    diagonals = [
        [np.bincount(log.item, weights=tails[k, m], minlength=n).astype(np.float64) for m in range(K)] for k in range(K)
    ]
    found = Statistics(
        gram=gram.symmetric(diagonals),
        cross=cross.transposed(),
        n_users=int(np.count_nonzero(lengths)),
        n_events=len(log),
        upper=dense and K > 1,
    )
    return found if upper else found.whole()


def _reach(gamma: FloatArray, position: Codes) -> Codes:
    """Return how many earlier events of its user weigh at least `NEGLIGIBLE` at each event, int64 ``(n_events,)``.

    Γ falls along a user, so those are the newest ones, and bisection finds how many, for all events together.
    """
    low, high = np.zeros_like(position), position.copy()
    while len(event := np.flatnonzero(low < high)):
        middle = (low[event] + high[event] + 1) // 2
        inside = gamma[event] - gamma[event - middle] >= _LOG_NEGLIGIBLE
        low[event[inside]] = middle[inside]
        high[event[~inside]] = middle[~inside] - 1
    return low


def _tail(g1: FloatArray, g2: FloatArray, following: Codes) -> FloatArray:
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


def _windows(log: Interactions, reach: Codes) -> Iterator[tuple[range, Codes]]:
    """Yield consecutive ranges of item codes that cover the catalogue, and the events of each in order of their items.

    A window has at most `WINDOW_PAIRS` pairs of events, or one item's.
    """
    by_item = np.argsort(log.item, kind="stable")
    bounds = np.concatenate([[0], np.cumsum(log.popularity)])
    pairs = np.concatenate([[0], np.cumsum(reach[by_item] + 1)])[bounds]
    first = 0
    while first < log.n_items:
        last = int(np.searchsorted(pairs, pairs[first] + WINDOW_PAIRS, side="right")) - 1
        last = min(max(first + 1, last), log.n_items)
        yield range(first, last), by_item[bounds[first] : bounds[last]]
        first = last


def add_transpose(square: np.ndarray[Any, Any]) -> None:
    """Add its transpose to ``square``, in place."""
    for one, mirrored in tiles(square):
        one += mirrored.T
        mirrored[:] = one.T


def transpose(square: np.ndarray[Any, Any]) -> None:
    """Transpose ``square`` in place."""
    for one, mirrored in tiles(square):
        one[:], mirrored[:] = mirrored.T.copy(), one.T.copy()


def tiles(square: np.ndarray[Any, Any], side: int = 512) -> Iterator[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Yield the tiles on and above the diagonal of ``square``, each with the one that it is mirrored by.

    What is done tile by tile needs no second table: new memory can cost more than what is done with it.
    """
    for i in range(0, len(square), side):
        for j in range(i, len(square), side):
            yield square[i : i + side, j : j + side], square[j : j + side, i : i + side]


def _by_item(log: Interactions, items: range, events: Codes, weights: FloatArray) -> sparse.csr_array:
    """Return float64 CSR ``(len(items), len(events))`` with each event's weight in the row of its item."""
    bounds = np.searchsorted(log.item[events], np.arange(items.start, items.stop + 1)).astype(np.int32)
    columns = np.arange(len(events), dtype=np.int32)
    return sparse.csr_array((weights, columns, bounds), shape=(len(items), len(events)))


def _past(log: Interactions, gamma: FloatArray, reach: Codes, events: Codes, first_lag: int) -> sparse.csr_array:
    """Return the states at ``events``, float64 CSR ``(len(events), n)``, without the newest ``first_lag`` events."""
    # A window has millions of pairs: what is computed of them is as narrow as it can be, and in place.
    width = np.int32 if len(log) < 2**31 else np.int64
    lengths = reach[events] + 1 - first_lag
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    offsets = bounds.astype(np.int32 if bounds[-1] < 2**31 else np.int64)
    rows = np.repeat((events - reach[events]).astype(width), lengths)
    rows += np.arange(bounds[-1], dtype=offsets.dtype)
    rows -= np.repeat(offsets[:-1], lengths)
    weights = np.repeat(gamma[events], lengths)
    weights -= gamma[rows]
    np.exp(weights, out=weights)
    return sparse.csr_array((weights, log.item[rows], offsets), shape=(len(events), log.n_items))


def _next(
    log: Interactions,
    gamma: FloatArray,
    reach: Codes,
    position: Codes,
    half_life: float,
    items: range,
    events: Codes,
) -> tuple[sparse.csr_array, int]:
    """Return the states before ``events`` summed by the items that come next, ``(len(items), n)``, and its terms.

    An older event a of target p weighs Σ_j 2^(-j/h) exp(Γ(p-1-j) - Γ(a)) over the at most `HORIZON` states p-1-j ≥ a.
    Once the lag is past the horizon that is a product of one number a target and the state `HORIZON` before it.
    """
    discount = 2.0 ** (-np.arange(HORIZON) / half_life)
    rows, columns, weights = [], [], []
    for lag in range(1, HORIZON):
        target = events[position[events] >= lag]
        older = target - lag
        rows.append(log.item[target] - np.int32(items.start))
        columns.append(log.item[older])
        weights.append(sum(discount[j] * np.exp(gamma[target - 1 - j] - gamma[older]) for j in range(lag)))
    coords = (np.concatenate(rows), np.concatenate(columns))
    near = sparse.coo_array((np.concatenate(weights), coords), shape=(len(items), log.n_items)).tocsr()
    target = events[position[events] >= HORIZON]
    base = gamma[target - HORIZON]
    gain = np.zeros(len(target))
    for j in range(HORIZON):
        gain += discount[j] * np.exp(gamma[target - 1 - j] - base)
    far = _past(log, gamma, reach, target - HORIZON, first_lag=0)
    return near + _by_item(log, items, target, gain) @ far, len(coords[0]) + far.nnz


class _Dense:
    """A table of K × M blocks of n × n, filled window of rows by window of rows."""

    def __init__(self, n: int, rows: int, columns: int) -> None:
        self.n, self.rows, self.columns = n, rows, columns
        self._table = zeros((rows * n, columns * n), np.dtype(np.float64))

    def put(self, k: int, m: int, items: range, window: sparse.csr_array) -> None:
        """Set the rows ``items`` of block (k, m); of a square table, below the diagonal, those of its transpose."""
        rows = slice(items.start, items.stop)
        if self.columns == 1 or k == m:
            target = self._block(k, m)[rows]
            if target.flags.c_contiguous:
                window.toarray(out=target)
            else:
                target[:] = window.toarray()
        elif k < m:
            self._block(k, m)[rows] += window.toarray()
        else:
            self._block(m, k)[:, rows] += window.toarray().T

    def symmetric(self, diagonals: Sequence[Sequence[FloatArray]]) -> Table:
        """Return the table plus its transpose plus the diagonals of its blocks, on and above the diagonal."""
        for k in range(self.rows):
            add_transpose(self._block(k, k))
            for m in range(k, self.columns):
                np.einsum("ii->i", self._block(k, m))[:] += diagonals[k][m]
        return self._table

    def _block(self, k: int, m: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        return self._table[k * self.n : (k + 1) * self.n, m * self.n : (m + 1) * self.n]

    def transposed(self) -> Table:
        """Return the table with each of its blocks transposed."""
        for k in range(self.rows):
            transpose(self._block(k, 0))
        return self._table


class _Sparse:
    """As `_Dense`, in CSR: a window holds sorted rows, and windows stack up."""

    def __init__(self, n: int, rows: int, columns: int) -> None:
        self.n, self.rows, self.columns = n, rows, columns
        self._parts: dict[tuple[int, int], list[sparse.csr_array]] = {
            (k, m): [] for k in range(rows) for m in range(columns)
        }

    def put(self, k: int, m: int, items: range, window: sparse.csr_array) -> None:
        """Set the rows ``items`` of block (k, m); windows come in ascending order and leave none out."""
        window.sort_indices()
        self._parts[k, m].append(window.astype(dtype_of(self.rows * self.n), copy=False))

    def _block(self, k: int, m: int) -> sparse.csr_array:
        parts = self._parts.pop((k, m))
        if not parts:
            return sparse.csr_array((self.n, self.n))
        lengths = np.concatenate([np.diff(part.indptr) for part in parts])
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        if offsets[-1] < 2**31:
            offsets = offsets.astype(np.int32)  # as wide as the offsets are, so wide are the indices
        data = np.concatenate([part.data for part in parts])
        indices = np.concatenate([part.indices for part in parts])
        return sparse.csr_array((data, indices, offsets), shape=(self.n, self.n))

    def symmetric(self, diagonals: Sequence[Sequence[FloatArray]]) -> Table:
        """Return the table plus its transpose plus the diagonals of its blocks."""
        blocks = [[self._block(k, m) for m in range(self.columns)] for k in range(self.rows)]
        table = blocks[0][0] if self.rows == self.columns == 1 else sparse.block_array(blocks, format="csr")
        del blocks
        # The blocks' diagonals lie on diagonals of the table. Half of them goes in now: later it is twice the size.
        halves = [[sparse.diags_array(d / 2) for d in row] for row in diagonals]
        table = sparse.csr_array(table + sparse.block_array(halves, format="csr").astype(table.dtype))
        return sparse.csr_array(table + table.T.tocsr())

    def transposed(self) -> Table:
        """Return the table with each of its blocks transposed."""
        blocks = [self._block(k, 0).T.tocsr() for k in range(self.rows)]
        return blocks[0] if self.rows == 1 else sparse.csr_array(sparse.vstack(blocks, format="csr"))
