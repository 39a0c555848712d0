from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.data.splits.leave_last_out import LeaveLastOut
from frugalrec.errors import ConfigError, DataError
from frugalrec.pipeline import Pipeline
from frugalrec.plan import Plan
from frugalrec.recommenders._base import Scores
from frugalrec.recommenders.chance import Chance
from frugalrec.recommenders.fusion import Fusion, most_likely_weights
from frugalrec.recommenders.item_knn import ItemKnn
from frugalrec.recommenders.popularity import Popularity
from frugalrec.testing.data import toy_dataset


class Oracle(Scores):
    """Knows the last item of every user, and counts how it was used."""

    def __init__(self, dataset):
        self.last = dataset.interactions.item[dataset.interactions.offsets[1:] - 1]
        self.n_items_, self.sizes, self.asked = dataset.n_items, [], 0

    def fit(self, dataset):
        self.sizes.append(len(dataset.interactions))
        return self

    def score(self, queries):
        self.asked += 1
        scores = np.zeros((len(queries), self.n_items_), dtype=np.float32)
        scores[np.arange(len(queries)), [self.last[q.user] for q in queries]] = 1.0
        return scores


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"members": (Popularity(),)}, "at least two members, not 1"),
        ({"held_share": 1.0}, "held_share must be at least 0 and below 1, not 1.0"),
        ({"ridge": 0.0}, "ridge must be above 0"),
        ({"max_users": 0}, "max_users must be at least 1"),
    ],
)
def test_bad_settings_are_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        Fusion(**{"members": (Popularity(), Chance()), **given})


def test_a_random_member_beside_a_perfect_one_gets_no_weight():
    data = toy_dataset(n_users=200, n_items=40, length=6)
    fusion = Fusion((Chance(), Oracle(data))).fit(data)
    random, perfect = fusion.weights_
    assert perfect > 1.0
    assert random < 0.05 * perfect


def test_the_last_event_is_held_out_and_then_learned():
    data = toy_dataset(n_users=50, n_items=20, length=6)
    oracle = Oracle(data)
    Fusion((oracle, Popularity())).fit(data)
    assert oracle.sizes == [len(data.interactions) - 50, len(data.interactions)]


def test_two_items_by_hand():
    # Right in three of four requests: softmax gives 3/4 where the difference of scores is log 3.
    scores = np.array([[[1, 0]] * 4], dtype=np.float32)
    relevant = [np.array([i], dtype=np.int32) for i in (0, 0, 0, 1)]
    weights = most_likely_weights(scores, np.ones((4, 2), dtype=bool), relevant, ridge=1e-9)
    assert weights == pytest.approx([np.log(3)], rel=1e-3)


def test_a_member_that_is_wrong_gets_exactly_nothing():
    scores = np.array([[[0, 1]] * 3, [[1, 0]] * 3], dtype=np.float32)
    relevant = [np.array([i], dtype=np.int32) for i in (0, 0, 1)]
    wrong, right = most_likely_weights(scores, np.ones((3, 2), dtype=bool), relevant, ridge=1e-3)
    assert wrong == 0.0
    assert right == pytest.approx(np.log(2), rel=1e-2)  # each is the other's opposite: only ridge tells them apart


def test_what_is_not_allowed_takes_no_part():
    scores = np.array([[[1, 0, 50]] * 4], dtype=np.float32)
    allowed = np.array([[True, True, False]] * 4)
    relevant = [np.array([i], dtype=np.int32) for i in (0, 0, 0, 1)]
    assert most_likely_weights(scores, allowed, relevant, ridge=1e-9) == pytest.approx([np.log(3)], rel=1e-3)


@given(seed=st.integers(0, 2**16))
@settings(max_examples=25, deadline=None)
def test_no_weight_is_below_zero_and_no_neighbour_is_better(seed):
    random = np.random.default_rng(seed)
    scores = random.normal(size=(3, 12, 7)).astype(np.float32)
    relevant = [random.choice(7, size=2, replace=False) for _ in range(12)]
    best = most_likely_weights(scores, np.ones((12, 7), dtype=bool), relevant, ridge=0.01)
    assert (best >= 0).all()

    def likelihood(weights):
        total = np.tensordot(weights, scores.astype(np.float64), axes=1)
        logs = total - np.log(np.exp(total).sum(axis=1, keepdims=True))
        return np.mean([logs[q, items].mean() for q, items in enumerate(relevant)]) - 0.005 * weights @ weights

    for step in 0.05 * np.vstack([np.eye(3), -np.eye(3)]):
        assert likelihood(best) >= likelihood(np.maximum(best + step, 0.0)) - 1e-6


def test_a_member_of_weight_zero_is_not_asked():
    data = toy_dataset(n_users=30, n_items=20, length=6)
    oracle = Oracle(data)
    fusion = Fusion((oracle, Popularity())).fit(data)
    fusion.weights_ = np.array([0.0, 1.0])
    before = oracle.asked
    fusion.score([data.query(0)])
    assert oracle.asked == before


def timed(item):
    """Return ten users who choose ``item`` (10, 8), one a second."""
    users, items = IdMap([f"u{i}" for i in range(10)]), IdMap([f"i{i}" for i in range(8)])
    user, time = np.repeat(np.arange(10), 8).astype(np.int32), np.tile(np.arange(8.0), 10)
    log = Interactions.from_events(user, item.ravel().astype(np.int32), users, items, timestamp=time)
    return Dataset(log, Catalog(items))


def test_a_share_of_the_newest_events_is_held_out():
    data = timed((np.arange(10)[:, None] + np.arange(8)) % 8)
    oracle = Oracle(data)
    Fusion((oracle, Popularity()), held_share=0.25).fit(data)
    assert oracle.sizes == [60, 80]
    untimed = replace(data, interactions=replace(data.interactions, timestamp=None))
    with pytest.raises(DataError, match="needs timestamps"):
        Fusion((ItemKnn(), Popularity()), held_share=0.25).fit(untimed)


def test_from_items_new_to_everybody_nothing_is_learned():
    data = timed(np.tile(np.arange(8), (10, 1)))
    fusion = Fusion((ItemKnn(), Popularity()), held_share=0.25).fit(data)
    np.testing.assert_array_equal(fusion.weights_, [1.0, 1.0])


def test_users_with_one_event_leave_nothing_to_learn_from():
    data = toy_dataset(n_users=20, n_items=10, length=6)
    first = data.with_interactions(data.interactions.take(data.interactions.offsets[:-1]))
    np.testing.assert_array_equal(Fusion((ItemKnn(), Popularity())).fit(first).weights_, [1.0, 1.0])


def test_a_saved_plan_answers_like_the_fitted_one(tmp_path):
    data = toy_dataset(n_users=40, n_items=20, length=8)
    plan = Plan.from_dict(
        {
            "name": "both",
            "recommender": {
                "component": "fusion",
                "members": [{"component": "ease"}, {"component": "popularity", "half-life-days": 30.0}],
            },
        }
    )
    fitted: Pipeline = plan.build().fit(LeaveLastOut().split(data).train)
    fitted.save(tmp_path)
    query = data.query(3)
    np.testing.assert_allclose(plan.build().load(tmp_path).score([query]), fitted.score([query]), rtol=1e-6)
