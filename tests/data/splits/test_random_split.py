from __future__ import annotations

import numpy as np

from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.data.splits.random import RandomHoldout


def dataset(n_users: int, events_each: int) -> Dataset:
    items = IdMap(map(str, range(events_each)))
    log = Interactions.from_events(
        np.repeat(np.arange(n_users, dtype=np.int32), events_each),
        np.tile(np.arange(events_each, dtype=np.int32), n_users),
        IdMap(map(str, range(n_users))),
        items,
        timestamp=np.tile(np.arange(events_each, dtype=np.float64), n_users),
    )
    return Dataset(log, Catalog(items))


def test_shares_are_those_asked_for() -> None:
    split = RandomHoldout(fractions=(0.7, 0.1, 0.2)).split(dataset(100, 50))
    # 5,000 draws: four standard deviations are 0.017 and 0.023.
    assert abs(split.settings["validation"]["relevant"] / 5000 - 0.1) < 0.017
    assert abs(split.settings["test"]["relevant"] / 5000 - 0.2) < 0.023


def test_every_user_keeps_an_event_in_train() -> None:
    split = RandomHoldout(fractions=(0.02, 0.49, 0.49)).split(dataset(200, 3))
    assert (np.diff(split.train.interactions.offsets) >= 1).all()


def test_other_seeds_hold_out_other_events() -> None:
    first, second = (RandomHoldout(seed=seed).split(dataset(20, 20)) for seed in (0, 1))
    assert first.train.interactions.fingerprint() != second.train.interactions.fingerprint()


def test_history_is_in_order_of_time_and_the_request_has_no_moment() -> None:
    split = RandomHoldout().split(dataset(20, 20))
    for query in split.test.queries:
        assert query.now is None
        assert query.times is not None
        assert (np.diff(query.times) > 0).all()


def test_test_history_holds_the_validation_events() -> None:
    split = RandomHoldout(fractions=(0.4, 0.3, 0.3)).split(dataset(1, 50))
    history = set(split.test.queries[0].history.tolist())
    assert history == set(split.train.interactions.item.tolist()) | set(split.validation.relevant[0].tolist())
