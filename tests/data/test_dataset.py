from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset, Fold, Query, Ranking
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.errors import DataError
from frugalrec.testing.data import toy_dataset

USERS, ITEMS = IdMap(["ann", "bob"]), IdMap(["a", "b", "c"])


@pytest.fixture
def dataset() -> Dataset:
    user, item = np.array([1, 0, 1], dtype=np.int32), np.array([0, 1, 2], dtype=np.int32)
    events = Interactions.from_events(user, item, USERS, ITEMS, timestamp=np.array([9.0, 5.0, 7.0]))
    return Dataset(events, Catalog(ITEMS, {"title": ["A", "B", "C"]}, ("title",)))


def test_log_and_catalogue_must_agree_on_the_items(dataset: Dataset) -> None:
    assert Dataset(dataset.interactions, Catalog(IdMap(["a", "b", "c"]))).n_items == 3
    for other in (["a", "c", "b"], ["a", "b", "c", "d"]):
        with pytest.raises(DataError, match="number their items differently"):
            Dataset(dataset.interactions, Catalog(IdMap(other)))


def test_a_known_user_comes_with_their_history(dataset: Dataset) -> None:
    query = dataset.query(1, now=12.0, text="more of this")
    assert query.history.tolist() == [2, 0]
    assert query.times is not None
    assert query.times.tolist() == [7, 9]
    assert (query.user, query.now, query.text, query.repeats, query.candidates) == (
        1,
        12.0,
        "more of this",
        False,
        None,
    )


def test_without_timestamps_a_query_has_no_times() -> None:
    assert toy_dataset(n_users=2, timestamps=False).query(0).times is None


def test_a_stranger_is_an_empty_query() -> None:
    stranger = Query()
    assert len(stranger.history) == len(stranger.exclude) == 0
    assert stranger.history.dtype == np.int32
    assert stranger.user is None


def test_other_events_on_the_same_catalogue(dataset: Dataset) -> None:
    fewer = dataset.with_interactions(dataset.interactions.take(np.array([0])))
    assert fewer.catalog is dataset.catalog
    assert len(fewer.interactions) == 1
    assert (fewer.n_items, fewer.n_users) == (3, 2)


def test_the_fingerprint_is_of_events_and_catalogue(dataset: Dataset) -> None:
    fewer = dataset.with_interactions(dataset.interactions.take(np.array([0])))
    bare = Dataset(dataset.interactions, Catalog(ITEMS))
    assert len({d.fingerprint() for d in (dataset, fewer, bare)}) == 3
    assert replace(dataset, name="other").fingerprint() == dataset.fingerprint()


def fold(n: int, *, values: bool = True) -> Fold:
    return Fold(
        queries=[Query(user=i) for i in range(n)],
        relevant=[np.array([i], dtype=np.int32) for i in range(n)],
        values=[np.array([float(i)]) for i in range(n)] if values else None,
    )


def test_a_sample_keeps_order_and_pairs_and_is_the_seed_s() -> None:
    sample = fold(50).sample(10, seed=1)
    users = [q.user for q in sample.queries]
    assert len(sample) == len(set(users)) == 10
    assert users == sorted(users)  # type: ignore[type-var]
    assert [r.tolist() for r in sample.relevant] == [[u] for u in users]
    assert sample.values is not None
    assert [v.tolist() for v in sample.values] == [[u] for u in users]
    assert [q.user for q in fold(50).sample(10, seed=1).queries] == users
    assert [q.user for q in fold(50).sample(10, seed=2).queries] != users


def test_a_sample_of_more_than_all_is_all() -> None:
    whole = fold(5, values=False)
    assert whole.sample(5) is whole
    assert whole.sample(9) is whole
    assert whole.sample(3).values is None


def test_a_ranking_is_as_long_as_its_items() -> None:
    assert len(Ranking(np.arange(3, dtype=np.int32), np.zeros(3))) == 3
