from __future__ import annotations

import numpy as np
import pytest

from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.data.splits.cold_items import ColdItems
from frugalrec.errors import ConfigError, DataError


def dataset(n_items: int = 20, n_users: int = 10) -> Dataset:
    """Everybody meets every item, in order; item 0 is untouched."""
    items = IdMap(f"i{i}" for i in range(n_items + 1))
    log = Interactions.from_events(
        np.repeat(np.arange(n_users, dtype=np.int32), n_items),
        np.tile(np.arange(1, n_items + 1, dtype=np.int32), n_users),
        IdMap(f"u{u}" for u in range(n_users)),
        items,
        timestamp=np.tile(np.arange(n_items, dtype=np.float64), n_users),
    )
    return Dataset(log, Catalog(items, {"title": [f"title {i}" for i in range(n_items + 1)]}, ("title",)))


def test_held_out_items_have_no_event_in_train_and_keep_their_text() -> None:
    split = ColdItems().split(dataset())
    validation = set(np.concatenate(split.validation.relevant).tolist())
    test = set(np.concatenate(split.test.relevant).tolist())
    assert len(validation) == len(test) == 2
    assert validation.isdisjoint(test)
    assert split.train.interactions.popularity[[*validation, *test]].tolist() == [0, 0, 0, 0]
    assert len(split.train.interactions) == 160
    assert split.train.catalog.texts()[min(test)] == f"title {min(test)}"


def test_history_is_all_warm_events_in_order_and_the_request_has_no_moment() -> None:
    split = ColdItems().split(dataset())
    for fold in (split.validation, split.test):
        for query in fold.queries:
            assert query.user is not None
            assert query.now is None
            mine = split.train.interactions.events_of(query.user)
            assert query.history.tolist() == split.train.interactions.item[mine].tolist()


def test_items_with_few_events_are_never_held_out() -> None:
    data = dataset()
    log = data.interactions
    # Item 1 is left with one event.
    thinned = data.with_interactions(log.take((log.item != 1) | (log.user == 0)))
    for seed in range(30):
        split = ColdItems(min_events=2, seed=seed, fractions=(0.4, 0.3, 0.3)).split(thinned)
        assert split.train.interactions.popularity[1] == 1


def test_users_without_a_warm_event_are_dropped_and_counted() -> None:
    data = dataset()
    held = int(ColdItems().split(data).test.relevant[0][0])
    log = data.interactions
    # User 0 has met nothing but a held-out item; the draw depends on which items there are, and is the same.
    lonely = data.with_interactions(log.take((log.user != 0) | (log.item == held)))
    split = ColdItems().split(lonely)
    assert split.settings["test"]["cold_users"] == split.settings["test"]["dropped_cold"] == 1
    assert 0 not in {q.user for q in split.test.queries}


def test_too_few_items() -> None:
    with pytest.raises(DataError, match="at least 2 items"):
        ColdItems(min_events=11).split(dataset())


def test_min_events_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="min_events"):
        ColdItems(min_events=0)
