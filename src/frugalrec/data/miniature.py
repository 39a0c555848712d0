"""A small copy of a split: the most popular items and some of the users, to compare settings on at a small price."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset, Fold, Query, Split
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import IntArray


def miniature(split: Split, *, n_items: int, n_events: int, n_queries: int, seed: int = 0) -> Split:
    """Return ``split`` with its ``n_items`` most popular items, and users drawn by ``seed`` until ``n_events`` are in.

    Of its validation requests, ``n_queries`` that ask for one of these items; its test fold is empty. Items are
    numbered anew, in their old order; users keep their codes.
    """
    log, catalog = split.train.interactions, split.train.catalog
    kept = np.sort(np.argsort(-log.popularity, kind="stable")[:n_items]).astype(np.int32)
    codes = np.full(split.train.n_items, -1, dtype=np.int32)
    codes[kept] = np.arange(len(kept), dtype=np.int32)
    rng = np.random.default_rng(seed)
    known = codes[log.item] >= 0
    order = rng.permutation(log.n_users)
    counts = np.bincount(log.user[known], minlength=log.n_users)[order]
    drawn = np.zeros(log.n_users, dtype=bool)
    drawn[order[np.cumsum(counts) - counts < n_events]] = True
    items = IdMap(catalog.items.ids[kept], what=catalog.items.what)
    events = log.take(drawn[log.user] & known)
    small = replace(events, item=codes[events.item], items=items)
    fields = {name: [values[code] for code in kept] for name, values in catalog.fields.items()}
    train = Dataset(small, Catalog(items, fields, catalog.text, catalog.template), split.train.name)
    fold = split.validation
    asked = np.array([i for i, wanted in enumerate(fold.relevant) if (codes[wanted] >= 0).any()], dtype=np.int64)
    chosen = np.sort(rng.permutation(asked)[:n_queries])
    validation = Fold(
        [_among(fold.queries[i], codes) for i in chosen], [_known(fold.relevant[i], codes) for i in chosen]
    )
    return Split(split.kind, train, validation, Fold([], []), split.settings)


def _among(query: Query, codes: IntArray) -> Query:
    met = codes[query.history] >= 0
    return replace(
        query,
        history=codes[query.history[met]],
        times=None if query.times is None else query.times[met],
        candidates=None if query.candidates is None else _known(query.candidates, codes),
        exclude=_known(query.exclude, codes),
    )


def _known(items: IntArray, codes: IntArray) -> IntArray:
    found = codes[items]
    return found[found >= 0]
