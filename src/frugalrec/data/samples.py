"""A smaller split of the same kind: a share of the users, and the items that they met."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset, Fold, Query, Split
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import IntArray
from frugalrec.errors import ConfigError


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
    events = log.take(drawn[log.user])
    kept = np.zeros(log.n_items, dtype=bool)
    kept[events.item] = True
    for query, relevant in zip(fold.queries, fold.relevant, strict=True):
        kept[query.history] = True
        kept[relevant] = True
    codes = np.full(log.n_items, -1, dtype=np.int32)
    codes[kept] = np.arange(np.count_nonzero(kept), dtype=np.int32)
    whole = split.train.catalog
    items = IdMap(whole.items.ids[kept], what=whole.items.what)
    places = np.flatnonzero(kept).tolist()
    catalog = Catalog(
        items=items,
        fields={name: [values[i] for i in places] for name, values in whole.fields.items()},
        text=whole.text,
        template=whole.template,
    )
    train = Dataset(replace(events, item=codes[events.item], items=items), catalog, split.train.name)
    queries = [_coded(query, codes) for query in fold.queries]
    smaller = Fold(queries, [codes[relevant] for relevant in fold.relevant], fold.values)
    return replace(split, train=train, validation=smaller, test=Fold([], []))


def _coded(query: Query, codes: IntArray) -> Query:
    def known(items: IntArray) -> IntArray:
        found = codes[items]
        return found[found >= 0]

    return replace(
        query,
        history=codes[query.history],
        candidates=None if query.candidates is None else known(query.candidates),
        exclude=known(query.exclude),
    )


__all__ = ["sampled"]
