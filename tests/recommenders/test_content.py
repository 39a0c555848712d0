import numpy as np
import pytest

from frugalrec.cost import Ledger
from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset, Query
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.errors import ConfigError, DataError
from frugalrec.recommenders.content import Content
from frugalrec.testing.data import checkerboard
from frugalrec.testing.encoders import HashEncoder

BOTH = pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
TITLES = ("red apple", "green apple", "blue sky", "grey sky", "", "red sky")


def codes(*items):
    return np.array(items, dtype=np.int32)


@pytest.fixture
def dataset():
    """Six titled items, one without text, that nobody has touched."""
    users, items = IdMap(["u"]), IdMap([f"i{i}" for i in range(len(TITLES))])
    return Dataset(
        Interactions.from_events(codes(), codes(), users, items), Catalog(items, {"title": TITLES}, ("title",))
    )


@BOTH
def test_finds_texts_like_the_history(similarity):
    dataset = checkerboard(10)
    content = Content(HashEncoder(), similarity=similarity, whitening=0.0).fit(dataset)
    (ranking,) = content.recommend([dataset.query(4)], k=2)
    assert ranking.items[0] == 4


@BOTH
def test_words_alone_are_enough(dataset, similarity):
    content = Content(HashEncoder(), similarity=similarity).fit(dataset)
    lists = content.recommend([Query(text="a blue sky"), Query(text="green apple")], k=1)
    assert [int(ranking.items[0]) for ranking in lists] == [2, 1]


def test_words_move_the_profile(dataset):
    content = Content(HashEncoder(), whitening=0.0).fit(dataset)
    history = codes(0)
    plain, asked = content.score([Query(history=history), Query(history=history, text="grey sky")])
    assert plain.argmax() == 0
    assert asked[3] > plain[3]
    content.text_weight = 0.0
    np.testing.assert_allclose(content.score([Query(history=history, text="grey sky")])[0], plain, atol=1e-6)


@BOTH
def test_nothing_known_scores_nothing(dataset, similarity):
    content = Content(HashEncoder(), similarity=similarity).fit(dataset)
    for query in (Query(), Query(text="  "), Query(history=codes(4)), Query(text="…")):
        assert not content.score([query]).any()


def test_cosine_by_hand(dataset):
    content = Content(HashEncoder(), half_life=1.0, whitening=0.3).fit(dataset)
    vectors = content.vectors_
    profile = 0.5 * vectors[2] + vectors[0]
    scores = content.score([Query(history=codes(2, 0))])[0]
    np.testing.assert_allclose(scores, vectors @ profile / np.linalg.norm(profile), atol=1e-6)
    assert scores[4] == 0


def test_euclidean_by_hand(dataset):
    content = Content(HashEncoder(), similarity="euclidean", half_life=1.0, text_weight=2.0).fit(dataset)
    vectors = content.vectors_
    # Item 4 has no text and no part in the mean; the words are those of item 5 and count twice.
    scores = content.score([Query(history=codes(2, 4, 0), text="red sky")])[0]
    mean = (0.25 * vectors[2] + vectors[0]) / 1.25
    profile = (mean + 2 * vectors[5]) / 3
    described = [0, 1, 2, 3, 5]
    distances = np.linalg.norm(vectors[described] - profile, axis=1)
    np.testing.assert_allclose(-scores[described], distances, atol=1e-5)
    assert scores[4] == scores.min()


def test_a_catalogue_without_text_is_refused(dataset):
    bare = Dataset(dataset.interactions, Catalog(dataset.catalog.items))
    with pytest.raises(DataError, match="no text"):
        Content(HashEncoder()).fit(bare)


def test_reasons_name_the_words_and_the_history(dataset):
    content = Content(HashEncoder(), whitening=0.0).fit(dataset)
    (reasons,) = content.explain(Query(history=codes(0, 3), text="red apple"), codes(1))
    assert reasons[0].words == "matches “red apple”" or reasons[0].item == 0
    assert {reason.item for reason in reasons} >= {None, 0}
    assert sum(abs(reason.share) for reason in reasons) <= 1 + 1e-6


@pytest.mark.parametrize(("similarity", "extra"), [("cosine", 0), ("euclidean", 2 * (2 + 6) * 8 + 4 * 2 * 6)])
def test_flops(dataset, similarity, extra):
    content = Content(HashEncoder(dim=8), similarity=similarity, whitening=0.0).fit(dataset)
    ledger = Ledger()
    with ledger.span("score"):
        content.score([Query(history=codes(0, 1, 2)), Query(history=codes(3))])
    assert ledger.entries[0].cost.flops == (2 * 4 + 8 * 2 + 2 * 2 * 6) * 8 + extra


# In two levels


@pytest.mark.parametrize("whitening", [0.0, 0.3])
def test_two_levels_are_those_of_vectors_in_memory_where_all_is_rescored(dataset, whitening):
    memory = Content(HashEncoder(), half_life=2.0, whitening=whitening).fit(dataset)
    levels = Content(HashEncoder(), half_life=2.0, whitening=whitening, storage="two-level").fit(dataset)
    queries = [Query(history=codes(2, 4, 0)), Query(text="red sky"), Query(history=codes(1), text="blue sky"), Query()]
    np.testing.assert_allclose(levels.score(queries), memory.score(queries), atol=0.02)
    for query in queries:
        for one, other in zip(
            levels.explain(query, codes(0, 1, 3)), memory.explain(query, codes(0, 1, 3)), strict=True
        ):
            assert [(r.item, r.words) for r in one] == [(r.item, r.words) for r in other]
            assert [r.share for r in one] == pytest.approx([r.share for r in other], abs=0.02)


def test_reasons_add_up_to_the_score_in_two_levels():
    dataset = checkerboard(10)
    content = Content(HashEncoder(), storage="two-level", rescored=3).fit(dataset)
    query = dataset.query(4)
    (ranking,) = content.recommend([query], 1)
    rows = content._rows(query.history)
    told = rows @ content._rows(ranking.items)[0] / np.linalg.norm(rows.sum(axis=0))
    assert ranking.scores[0] == pytest.approx(told.sum(), abs=1e-5)


def test_flops_in_two_levels(dataset):
    content = Content(HashEncoder(dim=8), storage="two-level", rescored=2).fit(dataset)
    ledger = Ledger()
    with ledger.span("score"):
        content.score([Query(history=codes(0, 1, 2)), Query(history=codes(3))])
    a_request = 512 * 8 + 6 * (1 + 1) + 2 * (5 * 8 + 4)
    assert ledger.entries[0].cost.flops == (5 * 4 + 8 * 2) * 8 + 2 * a_request


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"similarity": "euclidean"}, "compares by 'cosine'"), ({"rescored": 0}, "rescored must be at least 1")],
)
def test_settings_that_two_levels_cannot_have(settings, told):
    with pytest.raises(ConfigError, match=told):
        Content(HashEncoder(), storage="two-level", **settings)
