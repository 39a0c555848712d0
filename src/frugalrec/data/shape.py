"""What cost depends on: how many users, items and events there are, and how they are spread (`DataShape`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import sparse

from frugalrec.data.dataset import Dataset
from frugalrec.data.interactions import FloatArray, Interactions
from frugalrec.errors import ConfigError

Histogram = tuple[FloatArray, FloatArray]
"""Values, ascending, and how often each occurs: both float64 ``(n,)``."""

SAMPLED_TEXTS = 100_000
"""Texts are read to count their tokens, and of larger catalogues only so many."""

SAMPLED_PAIRS = 2_000_000
"""Of larger logs, the pairs of a sample of the items are looked at to tell how many cells all of them fill."""

SAMPLED_USERS = 32
"""Users of a log who are compared with all others."""

_BINS = 64


@dataclass(frozen=True)
class DataShape:
    """The shape of a log and its catalogue, from which cost formulas are computed; exact, or scaled from a smaller one.

    ``lengths``: events of each user who has any; ``distinct``: different items of each; ``popularity``: events of each
    item that has any. ``users`` counts the rows of the id map, ``items`` the catalogue. ``texts`` are the texts of
    items that have one, ``n_texts`` how many those are at this size. ``log`` and ``repeat``: where pairs within some
    seconds are asked for, they are counted in the log and multiplied. ``exact`` is False once scaled.
    """

    users: float
    items: float
    lengths: Histogram
    distinct: Histogram
    popularity: Histogram
    texts: Sequence[str] = ()
    n_texts: float = 0.0
    distinct_texts: float = 0.0
    log: Interactions | None = field(default=None, repr=False, compare=False)
    repeat: float = 1.0
    exact: bool = True
    timed: bool = False
    counted: dict[str, float] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, dataset: Dataset) -> DataShape:
        """Measure the shape of ``dataset``."""
        log = dataset.interactions
        lengths = np.diff(log.offsets)
        distinct = np.diff(log.matrix().indptr)
        texts = [text for text in dataset.catalog.texts() if text.strip()]
        return cls(
            users=float(dataset.n_users),
            items=float(dataset.n_items),
            lengths=_histogram(lengths[lengths > 0]),
            distinct=_histogram(distinct[distinct > 0]),
            popularity=_histogram(log.popularity[log.popularity > 0]),
            texts=texts,
            n_texts=float(len(texts)),
            distinct_texts=float(len(set(texts))),
            log=log,
            timed=log.timestamp is not None,
        )

    def scaled(self, *, users: float | None = None, items: float | None = None) -> DataShape:
        """Return the shape of as many users and items, each user with as many events as now.

        Raises `ConfigError` unless both are at least 1.
        """
        users = self.users if users is None else users
        items = self.items if items is None else items
        for name, value in (("users", users), ("items", items)):
            if not value >= 1:
                raise ConfigError(f"{name} must be at least 1, not {value:g}")
        more, wider = users / self.users, items / self.items
        values, counts = self.popularity
        # As many events on more or fewer items: each has its share of them.
        popularity = (values * (more / wider), counts * wider)
        return replace(
            self,
            users=users,
            items=items,
            lengths=(self.lengths[0], self.lengths[1] * more),
            distinct=(np.minimum(self.distinct[0], items), self.distinct[1] * more),
            popularity=popularity,
            n_texts=self.n_texts * wider,
            distinct_texts=self.distinct_texts * wider,
            repeat=self.repeat * more,
            exact=False,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form, without texts and the log: what pairs were counted in it goes along."""
        histograms = {n: [part.tolist() for part in getattr(self, n)] for n in ("lengths", "distinct", "popularity")}
        sampled = self.texts[:: max(1, len(self.texts) // 1000)]
        return {
            "users": self.users,
            "items": self.items,
            **histograms,
            "n_texts": self.n_texts,
            "distinct_texts": self.distinct_texts,
            "characters_a_text": sum(map(len, sampled)) / len(sampled) if sampled else 0.0,
            "timed": self.timed,
            "counted": self.counted,
        }

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> DataShape:
        """Read what `to_dict` returned; texts are made up, of the mean length. Raises `ConfigError`."""
        try:
            lengths, distinct, popularity = (
                (np.asarray(table[n][0], dtype=np.float64), np.asarray(table[n][1], dtype=np.float64))
                for n in ("lengths", "distinct", "popularity")
            )
            return cls(
                users=float(table["users"]),
                items=float(table["items"]),
                lengths=lengths,
                distinct=distinct,
                popularity=popularity,
                texts=["x" * max(1, round(table["characters_a_text"]))] if table["n_texts"] else [],
                n_texts=float(table["n_texts"]),
                distinct_texts=float(table["distinct_texts"]),
                timed=bool(table["timed"]),
                counted={str(k): float(v) for k, v in table["counted"].items()},
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ConfigError(f"not the shape of a data set: {error!r}") from error

    @property
    def n_users(self) -> float:
        """Users who have events."""
        return float(self.lengths[1].sum())

    @property
    def n_events(self) -> float:
        """Events."""
        return _total(self.lengths)

    @property
    def n_chosen(self) -> float:
        """Different (user, item) pairs."""
        return _total(self.distinct)

    @property
    def n_warm(self) -> float:
        """Items that have events."""
        return float(self.popularity[1].sum())

    @property
    def has_times(self) -> bool:
        """Whether events have timestamps."""
        return self.timed

    @property
    def mean_history(self) -> float:
        """Events of an average user; what a request comes with."""
        return self.n_events / self.n_users if self.n_users else 0.0

    @property
    def mean_distinct(self) -> float:
        """Different items of an average user."""
        return self.n_chosen / self.n_users if self.n_users else 0.0

    @property
    def squares(self) -> float:
        """Σ over users of (different items)²: the products of a Gram matrix."""
        values, counts = self.distinct
        return float((values**2) @ counts)

    @property
    def mean_popularity(self) -> float:
        """Events of the item of an average event: what is met when one looks up who else chose it."""
        values, counts = self.popularity
        return float((values**2) @ counts) / max(self.n_events, 1.0)

    def mean_position(self, limit: float) -> float:
        """Return the mean over events of min(events before it, ``limit``)."""
        lengths, counts = self.lengths
        full = np.minimum(lengths, np.floor(limit) + 1)
        inside = full * (full - 1) / 2 + np.maximum(lengths - full, 0) * limit
        return float(inside @ counts) / self.n_events if self.n_events else 0.0

    def mean_reached(self, lag: float) -> float:
        """Return the mean over users of how many of their events lie at most ``lag`` positions before the newest."""
        lengths, counts = self.lengths
        return float(np.minimum(lengths, np.floor(lag) + 1) @ counts) / self.n_users if self.n_users else 0.0

    def pairs(self, first: int, last: float) -> float:
        """Return the number of pairs of events of one user that lie ``first`` to ``last`` positions apart."""
        return _pairs(self.lengths, first, last)

    def pairs_within(self, seconds: float, *, ahead: int = 0, same: bool = False) -> float | None:
        """Return the pairs of events of one user at most ``seconds`` apart; None where there are no times.

        ``ahead``: the newer has that many events after it. ``same`` counts an event with itself as well. What was
        counted once is remembered, and kept by `to_dict`.
        """
        log = self.log
        key = f"{seconds!r} {ahead} {same}"
        if key in self.counted:
            return self.repeat * self.counted[key]
        if log is None or log.timestamp is None:
            return None
        if not len(log):
            return 0.0
        lengths = np.diff(log.offsets)
        start, end = (np.repeat(bound, lengths) for bound in (log.offsets[:-1], log.offsets[1:]))
        rows = np.arange(len(log))
        # One ascending axis for all users: their times one after another, further apart than any window.
        relative = log.timestamp - log.timestamp[start]
        apart = float(relative.max()) + seconds + 1.0
        axis = relative + np.repeat(np.arange(len(lengths)), lengths) * apart
        oldest = np.searchsorted(axis, axis - seconds, side="left")
        oldest = np.maximum(oldest, start)
        counted = np.maximum(rows - oldest + same, 0)
        self.counted[key] = float(counted[rows + ahead < end].sum())
        return self.repeat * self.counted[key]

    def sampled_texts(self) -> tuple[Sequence[str], float]:
        """Return different item texts, at most `SAMPLED_TEXTS`, and how many of this size each stands for."""
        different = list(dict.fromkeys(self.texts))
        step = -(-len(different) // SAMPLED_TEXTS) or 1
        sample = different[::step]
        return sample, self.distinct_texts / len(sample) if sample else 1.0

    def distinct_among(self, events: float) -> float:
        """Return about how many items so many events are of, drawn by popularity."""
        values, counts = _binned(self.popularity)
        share = values / max(float(values @ counts), 1e-300)
        return float(-np.expm1(-share * events) @ counts)

    def tail(self, head: float) -> float:
        """Return the share of events that are of warm items outside the most popular share ``head`` of them."""
        values, counts = self.popularity
        left = np.clip(head * self.n_warm - (np.cumsum(counts[::-1])[::-1] - counts), 0.0, counts)
        return 1.0 - float(left @ values) / self.n_events if self.n_events else 0.0

    def filled(self, terms: float, reach: float | None = None) -> float:
        """Return about how many cells of an item × item table ``terms`` fall into: pairs of a user's events.

        Drawn by popularity, times how many cells pairs fill in the log for each that they would fill if items were
        chosen independently. Pairs are at most ``reach`` positions apart; None: of all different items of a user.
        """
        return min(terms, self.items**2, self._independent(terms, self.popularity) * self._together(reach))

    def choosers(self) -> tuple[float, float]:
        """Return how often the items of an average user were chosen by anybody, and the share of users who did.

        As for independent choices, times what a sample of the log's users tells: those alike choose the same items.
        """
        oftener, fewer = self._shared()
        read = oftener * self.mean_distinct * self.mean_popularity
        return read, -math.expm1(-fewer * read / max(self.users, 1.0))

    def _shared(self) -> tuple[float, float]:
        """Return how often items are met, and users who chose them, over independent choices; 1 without a log."""
        names, log = ("choosers", "their users"), self.log
        if all(name in self.counted for name in names):
            return self.counted[names[0]], self.counted[names[1]]
        if log is None or not len(log):
            return 1.0, 1.0
        chosen = log.matrix()
        distinct = np.diff(chosen.indptr)
        # One user in so many by activity, so that busy ones are neither missed nor counted too often.
        order = np.argsort(distinct, kind="stable")[np.count_nonzero(distinct == 0) :]
        sample = order[np.linspace(0, len(order) - 1, SAMPLED_USERS + 2).astype(int)[1:-1]]
        shared = chosen @ chosen[sample].toarray().T
        own = _histogram(distinct[distinct > 0])
        events = max(float(len(log)), 1.0)
        independent = _total(own) / max(float(own[1].sum()), 1.0) * float(np.square(log.popularity).sum()) / events
        read, met = float(shared.sum(axis=0).mean()), min(float(np.mean(shared > 0)), 1.0 - 1e-6)
        self.counted[names[0]] = read / max(independent, 1e-300)
        self.counted[names[1]] = -math.log1p(-met) * log.n_users / max(read, 1e-300)
        return self.counted[names[0]], self.counted[names[1]]

    @staticmethod
    def _independent(terms: float, popularity: Histogram) -> float:
        values, counts = _binned(popularity)
        share = values / max(float(values @ counts), 1e-300)
        expected = np.multiply.outer(share, share) * terms
        return float(counts @ (-np.expm1(-expected)) @ counts)

    def _together(self, reach: float | None) -> float:
        """Return counted cells over those of independent choices, by a sample of the items; 1 without a log."""
        key, log = f"together {reach!r}", self.log
        if key in self.counted:
            return self.counted[key]
        if log is None or not len(log):
            return 1.0
        popularity = _histogram(log.popularity[log.popularity > 0])
        if reach is None:
            pairs = float(np.square(np.diff(log.matrix().indptr).astype(np.float64)).sum())
        else:
            pairs = _pairs(_histogram(np.diff(log.offsets)), 1, reach)
        # One item in so many by popularity, so that popular ones are neither missed nor counted too often.
        order = np.argsort(-log.popularity, kind="stable")[: int(popularity[1].sum())]
        step = max(1, math.ceil(pairs / SAMPLED_PAIRS))
        chosen = order[step // 2 :: step] if step // 2 < len(order) else order[:1]
        cells = _met_by(log, chosen, reach) * len(order) / len(chosen)
        independent = self._independent(pairs, popularity)
        self.counted[key] = cells / independent if independent else 1.0
        return self.counted[key]


def _histogram(numbers: np.ndarray[Any, Any]) -> Histogram:
    values, counts = np.unique(numbers, return_counts=True)
    return values.astype(np.float64), counts.astype(np.float64)


def _met_by(log: Interactions, items: np.ndarray[Any, Any], reach: float | None) -> float:
    """Return how many cells the pairs of ``items`` and what comes before them fill; or their pairs with all, None."""
    row = np.full(log.n_items, -1, dtype=np.int64)
    row[items] = np.arange(len(items))
    if reach is None:
        chosen = log.matrix()
        users = np.repeat(np.arange(chosen.shape[0]), np.diff(chosen.indptr))
        met = np.flatnonzero(row[chosen.indices] >= 0)
        table = sparse.csr_array(
            (np.ones(len(met), dtype=np.float32), (row[chosen.indices[met]], users[met])),
            shape=(len(items), chosen.shape[0]),
        )
        return float((table @ chosen).nnz)
    events = np.flatnonzero(row[log.item] >= 0)
    first = np.repeat(log.offsets[:-1], np.diff(log.offsets))[events]
    keys = []
    for lag in range(1, int(reach) + 1):
        known = events - lag >= first
        keys.append(row[log.item[events[known]]] * log.n_items + log.item[events[known] - lag])
    return float(len(np.unique(np.concatenate(keys)))) if keys else 0.0


def _pairs(lengths: Histogram, first: int, last: float) -> float:
    values, counts = lengths
    most = np.minimum(np.floor(last), values - 1)
    n = np.maximum(most - first + 1, 0)
    return float((n * (values - (first + most) / 2)) @ counts)


def _total(histogram: Histogram) -> float:
    return float(histogram[0] @ histogram[1])


def _binned(histogram: Histogram) -> Histogram:
    values, counts = histogram
    if len(values) <= _BINS:
        return values, counts
    edges = np.unique(np.linspace(0, len(values), _BINS + 1).astype(int))
    groups = [slice(a, b) for a, b in pairwise(edges)]
    totals = np.array([counts[g].sum() for g in groups])
    means = np.array([values[g] @ counts[g] for g in groups]) / totals
    return means, totals


__all__ = ["DataShape", "Histogram"]
