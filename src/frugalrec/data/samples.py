"""Smaller splits of the same kind, to compare settings and plans on at a small price."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset, Fold, Query, Split
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import IntArray
from frugalrec.errors import ConfigError

Mask = np.ndarray[Any, np.dtype[np.bool_]]


def sampled(split: Split, share: float, *, max_queries: int, seed: int = 0) -> Split:
    """Return ``share`` of the users with training events, and ``max_queries`` at most of their validation queries.

    Queries of users without training events are sampled by the same share. The catalogue holds what is left to rank:
    items of those events and the answers to those queries. A larger share of the same seed has the same users and more.
    The test fold is empty: samples choose, they do not judge. Raises `ConfigError` on a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise ConfigError(f"a sample takes a share above 0 and at most 1, not {share}")
    log, fold = split.train.interactions, split.validation
    rng = np.random.default_rng(seed)
    drawn = rng.random(log.n_users) < share
    unknown = rng.random(len(fold)) < share
    rows = [i for i, q in enumerate(fold.queries) if (unknown[i] if q.user is None else drawn[q.user])]
    fold = fold.take(np.array(rows, dtype=np.int64)).sample(max_queries, seed)
    if share == 1:
        return replace(split, validation=fold, test=Fold([], []))
    kept = np.zeros(log.n_items, dtype=bool)
    kept[log.item[drawn[log.user]]] = True
    for query, relevant in zip(fold.queries, fold.relevant, strict=True):
        kept[query.history] = True
        kept[relevant] = True
    return _restricted(split, drawn, kept, fold)


def miniature(split: Split, *, n_items: int, n_events: int, n_queries: int, seed: int = 0) -> Split:
    """Return ``split`` with its ``n_items`` most popular items, and users drawn by ``seed`` until ``n_events`` are in.

    Of its validation queries, ``n_queries`` that ask for one of these items. The test fold is empty.
    """
    log, fold = split.train.interactions, split.validation
    kept = np.zeros(log.n_items, dtype=bool)
    kept[np.argsort(-log.popularity, kind="stable")[:n_items]] = True
    rng = np.random.default_rng(seed)
    order = rng.permutation(log.n_users)
    counts = np.bincount(log.user[kept[log.item]], minlength=log.n_users)[order]
    drawn = np.zeros(log.n_users, dtype=bool)
    drawn[order[np.cumsum(counts) - counts < n_events]] = True
    asked = np.array([i for i, wanted in enumerate(fold.relevant) if kept[wanted].any()], dtype=np.int64)
    return _restricted(split, drawn, kept, fold.take(np.sort(rng.permutation(asked)[:n_queries])))


def _restricted(split: Split, drawn: Mask, kept: Mask, fold: Fold) -> Split:
    """Return the events of the users ``drawn`` with the items ``kept``, which are numbered anew in their old order."""
    log, whole = split.train.interactions, split.train.catalog
    codes = np.full(log.n_items, -1, dtype=np.int32)
    codes[kept] = np.arange(np.count_nonzero(kept), dtype=np.int32)
    events = log.take(drawn[log.user] & kept[log.item])
    items, places = IdMap(whole.items.ids[kept], what=whole.items.what), np.flatnonzero(kept).tolist()
    fields = {name: [values[i] for i in places] for name, values in whole.fields.items()}
    train = Dataset(
        replace(events, item=codes[events.item], items=items),
        Catalog(items, fields, whole.text, whole.template),
        split.train.name,
    )
    found = [kept[relevant] for relevant in fold.relevant]
    smaller = Fold(
        [_coded(query, codes) for query in fold.queries],
        [codes[relevant[known]] for relevant, known in zip(fold.relevant, found, strict=True)],
        None if fold.values is None else [v[known] for v, known in zip(fold.values, found, strict=True)],
    )
    return replace(split, train=train, validation=smaller, test=Fold([], []))


def _coded(query: Query, codes: IntArray) -> Query:
    def known(items: IntArray) -> IntArray:
        found = codes[items]
        return found[found >= 0]

    return replace(
        query,
        history=known(query.history),
        times=None if query.times is None else query.times[codes[query.history] >= 0],
        candidates=None if query.candidates is None else known(query.candidates),
        exclude=known(query.exclude),
    )


__all__ = ["miniature", "sampled"]
