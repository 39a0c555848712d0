import numpy as np
import pytest

from frugalrec.cost import Ledger
from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset, Query
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.recommenders.popularity import DAY_SECONDS, Popularity


@pytest.fixture
def dataset():
    """Item 0: two events of one user, ten days old; item 1: one each of two, today; item 2: one, five days old."""
    user, item, age = np.array([[0, 0, 10], [0, 0, 10], [0, 1, 0], [1, 1, 0], [1, 2, 5]], dtype=np.int32).T
    users, items = IdMap(["a", "b", "c"]), IdMap(["x", "y", "z", "cold"])
    events = Interactions.from_events(user, item, users, items, timestamp=1e9 - age * DAY_SECONDS)
    return Dataset(events, Catalog(items))


def test_counts_events(dataset):
    assert Popularity(counts="raw").fit(dataset).score([Query()])[0].tolist() == [2, 2, 1, 0]
    np.testing.assert_allclose(Popularity().fit(dataset).score([Query()])[0], np.log([3, 3, 2, 1]), rtol=1e-6)


def test_old_events_count_less(dataset):
    scores = Popularity(half_life_days=5.0, counts="raw").fit(dataset).score([Query()])[0]
    np.testing.assert_allclose(scores, [0.5, 2.0, 0.5, 0.0])


def test_without_timestamps_age_is_ignored(dataset):
    events = dataset.interactions
    timeless = Interactions.from_events(events.user, events.item, events.users, events.items)
    popularity = Popularity(half_life_days=5.0, counts="raw").fit(dataset.with_interactions(timeless))
    assert popularity.score([Query()])[0].tolist() == [2, 2, 1, 0]


def test_a_log_without_events_scores_all_alike(dataset):
    empty = dataset.with_interactions(dataset.interactions.take(np.zeros(5, dtype=bool)))
    assert not Popularity(half_life_days=5.0).fit(empty).score([Query()]).any()


def test_equal_counts_are_ranked_by_code_and_history_is_left_out(dataset):
    popularity = Popularity().fit(dataset)
    lists = popularity.recommend([Query(), dataset.query(0)], k=3)
    assert [ranking.items.tolist() for ranking in lists] == [[0, 1, 2], [2, 3]]


def test_says_how_many_users_chose_it(dataset):
    reasons = Popularity().fit(dataset).explain(Query(), np.array([0, 1], dtype=np.int32))
    assert [reason.words for (reason,) in reasons] == ["1 of 2 users chose it", "2 of 2 users chose it"]


@pytest.mark.parametrize(("settings", "fit", "score"), [({}, 9, 0), ({"counts": "raw", "half_life_days": 1.0}, 25, 0)])
def test_flops(dataset, settings, fit, score):
    ledger = Ledger()
    popularity = Popularity(**settings)
    with ledger.span("fit"):
        popularity.fit(dataset)
    with ledger.span("score"):
        popularity.score([Query(), Query()])
    assert [entry.cost.flops for entry in ledger.entries] == [fit, score]
