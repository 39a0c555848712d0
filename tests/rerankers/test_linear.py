import numpy as np
import pytest

from frugalrec.cost import Ledger
from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset, Query, Ranking
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.errors import ConfigError
from frugalrec.recommenders.chance import Chance
from frugalrec.recommenders.item_knn import ItemKnn
from frugalrec.recommenders.popularity import Popularity
from frugalrec.rerankers._features import NEWEST, item_facts, item_vectors, item_words, likeness, on_axes, profile
from frugalrec.rerankers.linear import Linear
from frugalrec.testing.data import toy_dataset
from frugalrec.testing.encoders import HashEncoder


def test_facts_by_hand():
    items, users = IdMap("ab"), IdMap(["u"])
    log = Interactions.from_events(
        np.zeros(10, np.int32), np.array([0] * 9 + [1], np.int32), users, items, timestamp=np.arange(10.0)
    )
    facts = item_facts(Dataset(log, Catalog(items)))
    np.testing.assert_allclose(facts[:, 0], np.log([10, 2]))
    np.testing.assert_allclose(facts[:, 1], np.log([1 / (1 + 9 * NEWEST), 2 / (1 + NEWEST)]))


def test_profile_by_hand():
    vectors = np.eye(3, dtype=np.float32)
    found = profile(np.array([0, 1, 1], dtype=np.int32), vectors, half_life=1.0)
    np.testing.assert_allclose(found, np.array([0.25, 1.5, 0]) / 1.75)
    assert profile(np.empty(0, dtype=np.int32), vectors, 1.0).tolist() == [0, 0, 0]


def test_principal_axes_keep_the_angles_they_can():
    data = toy_dataset(n_items=30)
    unit = item_vectors(data, HashEncoder())
    whole = on_axes(unit, 16)
    ratio = (whole @ whole.T) / (unit @ unit.T)
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-2)
    assert np.square(whole).sum(axis=1).mean() == pytest.approx(16, rel=1e-4)
    assert item_vectors(data, None).shape == (30, 0)


def catalog_of(*titles):
    items = IdMap([f"i{i}" for i in range(len(titles))])
    log = Interactions.from_events(np.zeros(1, np.int32), np.zeros(1, np.int32), IdMap(["u"]), items)
    return Dataset(log, Catalog(items, {"title": list(titles)}, ("title",)))


def test_words_by_hand():
    data = catalog_of("red square", "red circle", "red red circle disc", "")
    found = item_words(data)
    red, square, circle, disc = np.log(4 / 3), np.log(4), np.log(2), np.log(4)
    norms = np.hypot(red, square), np.hypot(red, circle)
    np.testing.assert_allclose((found @ found.T).toarray()[0, 1], red * red / (norms[0] * norms[1]), rtol=1e-6)
    twice = np.array([(1 + np.log(2)) * red, circle, disc])
    third = twice / np.linalg.norm(twice)
    np.testing.assert_allclose(
        (found @ found.T).toarray()[1, 2], (red * third[0] + circle * third[1]) / norms[1], rtol=1e-6
    )
    np.testing.assert_allclose(np.diag((found @ found.T).toarray()), [1, 1, 1, 0], rtol=1e-6)
    assert item_words(catalog_of("same", "same")).toarray().tolist() == [[0.0], [0.0]]  # tells nothing


def test_likeness_by_hand():
    data = catalog_of("red square", "red circle", "disc", "circle")
    vectors = np.array([[1, 0], [0.6, 0.8], [0, 1], [0.8, 0.6]], dtype=np.float32)
    words = item_words(data)
    found = likeness(np.array([2, 1], dtype=np.int32), np.array([0, 3], dtype=np.int32), words, vectors, half_life=1.0)
    shared = (words @ words.T).toarray()
    expected = [
        [shared[i, 1], (shared[i, 2] + 2 * shared[i, 1]) / 3, new, mean, new**2, mean**2]
        for i, new, mean in ((0, 0.6, (0 + 2 * 0.6) / 3), (3, 0.96, (0.6 + 2 * 0.96) / 3))
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    nothing = likeness(np.empty(0, np.int32), np.array([0, 3], dtype=np.int32), words, vectors, 1.0)
    assert nothing.tolist() == np.zeros((2, 6)).tolist()


def test_learns_that_text_tells(colours):
    linear = Linear(Popularity(), encoder=HashEncoder(), depth=18, tail=3).fit(colours)
    queries = [colours.query(user) for user in range(12)]
    before = Popularity().fit(colours).recommend(queries, 18)
    found = linear.rerank(queries, before)
    assert np.mean([r.items[0] % 3 == q.history[0] % 3 for r, q in zip(found, queries, strict=True)]) > 0.9
    assert linear.weights_[4:].sum() > 0


def test_learns_that_popular_items_are_chosen():
    data = toy_dataset(n_users=200, seed=1)
    linear = Linear(Chance()).fit(data)
    assert linear.weights_[2] > 0
    # A good order is left alone, or nearly: its own score weighs most.
    trained = Linear(ItemKnn()).fit(data)
    assert trained.weights_[0] > abs(trained.weights_[3])


def test_flops_by_hand():
    data = toy_dataset()
    linear = Linear(Popularity(), encoder=HashEncoder(), depth=3).fit(data)
    query, ranking = (
        Query(np.array([1, 2], dtype=np.int32)),
        Ranking(np.arange(5, dtype=np.int32), np.arange(5.0)[::-1]),
    )
    ledger = Ledger()
    with ledger.span("rerank"):
        linear.rerank([query], [ranking])
    assert ledger.total().flops == 2 * 3 * 2 * (16 + 2) + 2 * 3 * 10
    assert ledger.total().tokens_in == 0


def test_says_what_is_wrong():
    for settings in ({"depth": 0}, {"ridge": 0.0}, {"half_life": -1.0}, {"tail": 0}):
        with pytest.raises(ConfigError, match=next(iter(settings))):
            Linear(Popularity(), **settings)
