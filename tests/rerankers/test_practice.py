import numpy as np
import pytest

from frugalrec.cost import Ledger
from frugalrec.data.dataset import Ranking
from frugalrec.recommenders.hybrid import Hybrid
from frugalrec.recommenders.item_knn import ItemKnn
from frugalrec.recommenders.popularity import Popularity
from frugalrec.rerankers._order import reordered, standard
from frugalrec.rerankers._practice import conditional_logit, practise, unfitted
from frugalrec.testing.data import toy_dataset


@pytest.fixture(scope="module")
def data():
    return toy_dataset(n_users=40, n_items=30)


@pytest.mark.parametrize("tail", [1, 3])
def test_what_is_asked_for_is_nowhere_in_what_was_learned(data, tail):
    lists = practise(data, Popularity(), 30, requests=30, tail=tail)
    assert len(lists) >= 25
    log = data.interactions
    for query, ranking, place, owner in zip(lists.queries, lists.rankings, lists.places, lists.owners, strict=True):
        whole = log.item[log.events_of(owner)]
        back = len(whole) - len(query.history)
        assert 1 <= back <= tail
        np.testing.assert_array_equal(query.history, whole[:-back])
        assert place < 0 or ranking.items[place] == whole[-back]
        earlier = lists.earlier.interactions
        np.testing.assert_array_equal(earlier.item[earlier.events_of(owner)], whole[:-tail])
    untouched = np.setdiff1d(np.arange(data.n_users), lists.owners)
    assert len(untouched)
    for user in untouched:
        rows = lists.earlier.interactions.events_of(user)
        assert rows.stop - rows.start >= log.events_of(user).stop - log.events_of(user).start - tail


def test_lists_are_those_of_a_retriever_that_has_not_seen_the_answers(data):
    lists = practise(data, ItemKnn(), 10, requests=20)
    fitted = ItemKnn().fit(lists.earlier)
    for found, expected in zip(lists.rankings, fitted.recommend(lists.queries, 10), strict=True):
        np.testing.assert_array_equal(found.items, expected.items)


def test_nobody_is_in_both_parts(data):
    lists = practise(data, Popularity(), 10, requests=80, tail=3)
    first, second = lists.parted(0.25, seed=1)
    assert not set(first.owners) & set(second.owners)
    assert len(first) + len(second) == len(lists)
    assert len(second)


def test_nobody_with_two_events():
    lists = practise(toy_dataset(n_users=5, n_items=4, length=1), Popularity(), 3, requests=10)
    assert len(lists) == 0


def test_unfitted_forgets_at_any_depth(data):
    hybrid = Hybrid((ItemKnn(neighbours=7), Popularity()), weights=(1.0, 0.5)).fit(data)
    fresh = unfitted(hybrid)
    assert fresh == hybrid
    assert not hasattr(fresh, "warm_")
    assert not hasattr(fresh.members[1], "scores_")
    assert not [name for name in vars(fresh.members[0]) if name.endswith("_")]
    assert hasattr(hybrid, "warm_")


def test_weights_against_enumeration():
    rng = np.random.default_rng(0)
    lists = [rng.normal(size=(n, 2)) for n in (3, 5, 4, 6, 3, 4)]
    chosen = np.array([0, 2, 1, 5, 2, 0])

    def loss(weights):
        total = 0.5 * (weights @ weights)
        for features, place in zip(lists, chosen, strict=True):
            logits = features @ weights
            total += np.log(np.exp(logits).sum()) - logits[place]
        return total

    found = conditional_logit(lists, chosen, ridge=1.0)
    for step in np.eye(2).tolist() + (-np.eye(2)).tolist():
        assert loss(found) < loss(found + 0.01 * np.array(step))


def test_no_lists_teach_nothing():
    assert conditional_logit([], np.empty(0, dtype=np.int64), ridge=1.0).tolist() == []


def test_solving_is_charged():
    ledger = Ledger()
    with ledger.span("solve"):
        conditional_logit([np.eye(3)], np.array([1]), ridge=1.0)
    steps, left = divmod(ledger.total().flops, 4 * 9)
    assert left == 0
    assert steps >= 2


def test_order_by_hand():
    before = Ranking(np.array([4, 9, 2, 7], dtype=np.int32), np.array([5.0, 3.0, 1.0, 0.5]))
    after = reordered(before, np.array([0.0, 2.0, 1.0]))
    assert after.items.tolist() == [9, 2, 4, 7]
    unit = np.std([5.0, 3.0, 1.0])
    np.testing.assert_allclose(after.scores, [5 + 3 * unit, 5 + 2 * unit, 5 + unit, 0.5])


def test_scores_that_are_alike_say_nothing():
    assert standard(np.array([0.1 + 0.2, 0.3, 0.3])).tolist() == [0, 0, 0]
