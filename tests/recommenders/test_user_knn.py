import numpy as np
import pytest

from frugalrec.cost import Ledger
from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset, Query
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.recommenders import user_knn
from frugalrec.recommenders.user_knn import UserKnn
from frugalrec.testing.data import checkerboard, toy_dataset


def codes(*items):
    return np.array(items, dtype=np.int32)


@pytest.fixture
def dataset():
    """Users 0, 1, 2 chose {0, 1}, {0, 2}, {3}."""
    users, items = IdMap(["a", "b", "c"]), IdMap(["w", "x", "y", "z"])
    return Dataset(Interactions.from_events(codes(0, 0, 1, 1, 2), codes(0, 1, 0, 2, 3), users, items), Catalog(items))


@pytest.mark.parametrize("n", [8, 50])
def test_checkerboard(n):
    dataset = checkerboard(n)
    lists = UserKnn(neighbours=n // 2).fit(dataset).recommend([dataset.query(user) for user in range(n)], k=1)
    assert [ranking.items[0] for ranking in lists] == list(range(n))


def test_votes_by_hand(dataset):
    knn = UserKnn(power=2.0).fit(dataset)
    # Against {0, 1, 3}: cosines 2/√6, 1/√6 and 1/√3.
    scores = knn.score([Query(history=codes(0, 1, 3))])[0]
    np.testing.assert_allclose(scores, [4 / 6 + 1 / 6, 4 / 6, 1 / 6, 1 / 3], rtol=1e-6)


def test_only_the_nearest_vote(dataset):
    scores = UserKnn(neighbours=1).fit(dataset).score([Query(history=codes(0, 1, 3))])[0]
    np.testing.assert_allclose(scores, [2 / np.sqrt(6), 2 / np.sqrt(6), 0, 0], rtol=1e-6)


def test_nobody_is_their_own_neighbour(dataset):
    knn = UserKnn().fit(dataset)
    mine, stranger = knn.score([Query(history=codes(0, 1), user=0), Query(history=codes(0, 1))])
    np.testing.assert_allclose(mine, [0.5, 0, 0.5, 0], rtol=1e-6)
    np.testing.assert_allclose(stranger, [1.5, 1, 0.5, 0], rtol=1e-6)


def test_half_life_compares_what_is_recent(dataset):
    # History 3 then 0, at half-life 1: weights 1/2 and 1, norm √1.25.
    scores = UserKnn(half_life=1.0).fit(dataset).score([Query(history=codes(3, 0))])[0]
    near, far = 1 / np.sqrt(2.5), 0.5 / np.sqrt(1.25)
    np.testing.assert_allclose(scores, [2 * near, near, near, far], rtol=1e-6)


def test_blocks_change_nothing(monkeypatch):
    dataset = toy_dataset(n_users=30)
    knn = UserKnn(neighbours=5).fit(dataset)
    queries = [dataset.query(user) for user in range(30)]
    whole = knn.score(queries)
    monkeypatch.setattr(user_knn, "BLOCK_BYTES", 16 * 30 * 4)
    np.testing.assert_allclose(knn.score(queries), whole, rtol=1e-6)


def test_says_how_many_neighbours_chose_it(dataset):
    reasons = UserKnn().fit(dataset).explain(Query(history=codes(0, 1)), codes(0, 1, 3))
    assert [[reason.words for reason in given] for given in reasons] == [
        ["2 of 2 users with a similar history chose it"],
        ["1 of 2 users with a similar history chose it"],
        [],
    ]


def test_flops(dataset):
    knn = UserKnn(neighbours=2).fit(dataset)
    ledger = Ledger()
    with ledger.span("score"):
        knn.score([Query(history=codes(0, 1))])
    # Items 0 and 1 have 2 + 1 users; cosines take 2 per history item and 2 per user; then 2 powers and 2 + 2 items.
    assert ledger.entries[0].cost.flops == 2 * 3 + 2 * 2 + 2 * 3 + 2 + 2 * 4
