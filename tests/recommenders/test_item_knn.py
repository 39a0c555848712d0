import numpy as np
import pytest
from scipy import sparse

from frugalrec.cost import Ledger
from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset, Query
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.recommenders import item_knn
from frugalrec.recommenders.item_knn import ItemKnn
from frugalrec.testing.data import checkerboard, toy_dataset

WEIGHTINGS = ["none", "tf-idf", "bm25"]


def dataset_of(rows):
    """Build a data set whose user u chose the items of ``rows[u]``."""
    user = np.concatenate([[u] * len(row) for u, row in enumerate(rows)]).astype(np.int32)
    item = np.concatenate(rows).astype(np.int32)
    items = IdMap([f"i{i}" for i in range(item.max() + 1)])
    users = IdMap([f"u{u}" for u in range(len(rows))])
    return Dataset(Interactions.from_events(user, item, users, items), Catalog(items))


def codes(*items):
    return np.array(items, dtype=np.int32)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("n", [8, 50])
def test_checkerboard(weighting, n):
    dataset = checkerboard(n)
    lists = (
        ItemKnn(feature_weighting=weighting, neighbours=n)
        .fit(dataset)
        .recommend([dataset.query(user) for user in range(n)], k=1)
    )
    assert [ranking.items[0] for ranking in lists] == list(range(n))


def test_cosine_by_hand():
    dataset = dataset_of([[0, 1], [0, 1, 2], [0], [2]])
    knn = ItemKnn(feature_weighting="none").fit(dataset)
    # Items 0, 1, 2 have 3, 2, 2 users; common users: {0,1}: 2, {0,2}: 1, {1,2}: 1.
    a, b, c = 2 / np.sqrt(6), 1 / np.sqrt(6), 1 / 2
    np.testing.assert_allclose(knn.similarity_.toarray(), [[0, a, b], [a, 0, c], [b, c, 0]], rtol=1e-6)
    np.testing.assert_allclose(knn.score([Query(history=codes(0, 2))])[0], [b, a + c, b], rtol=1e-6)


def test_shrinkage_distrusts_few_common_users():
    dataset = dataset_of([[0, 1], [0, 1, 2], [0], [2]])
    plain = ItemKnn(feature_weighting="none").fit(dataset).similarity_.toarray()
    shrunk = ItemKnn(feature_weighting="none", shrinkage=3.0).fit(dataset).similarity_.toarray()
    trust = np.array([[0, 2 / 5, 1 / 4], [2 / 5, 0, 1 / 4], [1 / 4, 1 / 4, 0]])
    np.testing.assert_allclose(shrunk, plain * trust, rtol=1e-6)


def test_half_life_weighs_the_newest_most():
    dataset = dataset_of([[0, 1], [0, 1, 2], [0], [2]])
    knn = ItemKnn(feature_weighting="none", half_life=1.0).fit(dataset)
    similarity = knn.similarity_.toarray()
    expected = 0.25 * similarity[1] + 0.5 * similarity[0] + similarity[2]
    np.testing.assert_allclose(knn.score([Query(history=codes(1, 0, 2))])[0], expected, rtol=1e-6)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.filterwarnings("ignore:Method expects CSR input")  # implicit's own doing
def test_agrees_with_implicit(weighting):
    peers = pytest.importorskip("implicit.nearest_neighbours")
    peer = {"none": peers.CosineRecommender, "tf-idf": peers.TFIDFRecommender, "bm25": peers.BM25Recommender}[weighting]
    dataset = toy_dataset(n_users=80, n_items=30, seed=3)
    theirs = peer(K=30)
    theirs.fit(sparse.csr_matrix(dataset.interactions.matrix().astype(np.float64)), show_progress=False)
    similarity = theirs.similarity.toarray()
    np.fill_diagonal(similarity, 0.0)
    ours = ItemKnn(feature_weighting=weighting, neighbours=30).fit(dataset).similarity_.toarray()
    np.testing.assert_allclose(ours, similarity, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shrinkage", [0.0, 5.0])
def test_blocks_change_nothing(monkeypatch, shrinkage):
    dataset = toy_dataset(n_users=50, n_items=30)
    whole = ItemKnn(neighbours=4, shrinkage=shrinkage).fit(dataset).similarity_
    monkeypatch.setattr(item_knn, "BLOCK_BYTES", 16 * 70)
    blocked = ItemKnn(neighbours=4, shrinkage=shrinkage).fit(dataset).similarity_
    np.testing.assert_array_equal(whole.toarray(), blocked.toarray())


def test_keeps_the_nearest_and_never_the_item_itself():
    dataset = toy_dataset(n_users=50, n_items=30)
    every = ItemKnn(neighbours=30).fit(dataset).similarity_.toarray()
    few = ItemKnn(neighbours=4).fit(dataset).similarity_.toarray()
    assert not every.diagonal().any()
    for full, kept in zip(every, few, strict=True):
        np.testing.assert_allclose(np.sort(kept)[-4:], np.sort(full)[-4:])
        assert np.count_nonzero(kept) <= 4


def test_a_user_of_everything_says_nothing():
    knn = ItemKnn(feature_weighting="tf-idf").fit(dataset_of([[0, 1, 2], [0, 1, 2]]))
    assert knn.similarity_.nnz == 0
    assert not knn.score([Query(history=codes(0))]).any()


def test_reasons_add_up_to_the_score():
    dataset = toy_dataset()
    knn = ItemKnn(half_life=4.0).fit(dataset)
    query = Query(history=codes(3, 7, 12))
    reasons = knn.explain(query, codes(4, 8))
    similarity = knn.similarity_.toarray()
    weights = dict(zip([12, 7, 3], 2.0 ** (-np.arange(3) / 4.0), strict=True))
    for item, given in zip([4, 8], reasons, strict=True):
        for reason in given:
            part = weights[reason.item] * similarity[reason.item, item]
            assert reason.share == pytest.approx(part / knn.score([query])[0, item], rel=1e-5)
        assert sum(reason.share for reason in given) == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize(("shrinkage", "flops"), [(0.0, 4 * 7 + 2 * 15), (2.0, 4 * 7 + 4 * 15 + 3 * 9)])
def test_flops_to_fit(shrinkage, flops):
    # Seven choices by users of 2, 3, 1 and 1 items: 4 + 9 + 1 + 1 products; all nine pairs of items have met.
    ledger = Ledger()
    with ledger.span("fit"):
        ItemKnn(shrinkage=shrinkage).fit(dataset_of([[0, 1], [0, 1, 2], [0], [2]]))
    assert ledger.entries[0].cost.flops == flops


def test_flops_to_score():
    knn = ItemKnn(feature_weighting="none", neighbours=1).fit(dataset_of([[0, 1], [0, 1, 2], [0], [2]]))
    ledger = Ledger()
    with ledger.span("score"):
        knn.score([Query(history=codes(0, 1)), Query(history=codes(2))])
    assert ledger.entries[0].cost.flops == 2 * 3
