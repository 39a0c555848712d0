from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import rankdata

from frugalrec.cost import Ledger
from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset, Query, Reason
from frugalrec.errors import ConfigError
from frugalrec.recommenders._base import Scores
from frugalrec.recommenders.chance import Chance
from frugalrec.recommenders.content import Content
from frugalrec.recommenders.ease import Ease
from frugalrec.recommenders.hybrid import Hybrid
from frugalrec.recommenders.item_knn import ItemKnn
from frugalrec.recommenders.popularity import Popularity
from frugalrec.testing.data import toy_dataset
from frugalrec.testing.encoders import HashEncoder

METHODS = pytest.mark.parametrize("method", ["z-score", "reciprocal-rank", "scale"])


def codes(*items):
    return np.array(items, dtype=np.int32)


class Fixed(Scores):
    """A recommender with given scores, the same for every query."""

    def __init__(self, scores, cold=False, words=""):
        self.scores, self.scores_cold_items, self.words = np.array(scores, dtype=np.float32), cold, words

    def fit(self, dataset):
        self.n_items_ = dataset.n_items
        return self

    def score(self, queries):
        return np.tile(self.scores, (len(queries), 1))

    def explain(self, query, items):
        return [(Reason("fixed", 1.0, words=self.words),) for _ in items]


def fuse(members, query=None, *, cold=0, **settings):
    """Return the fused scores of ``members`` over their items, the last ``cold`` of which have no events."""
    n = len(members[0].scores)
    hybrid = Hybrid(tuple(members), **settings).fit(toy_dataset(n_users=10 * n, n_items=n, cold=cold, length=3))
    assert hybrid.warm_.sum() == n - cold
    return hybrid.score([query or Query()])[0]


@pytest.mark.parametrize(
    ("members", "weights", "message"),
    [
        ((Popularity(),), (1.0,), "at least two members, not 1"),
        ((Popularity(), Chance()), (1.0, 2.0, 3.0), "2 members got 3 weights"),
        ((Popularity(), Chance()), (), "2 members got 0 weights"),
        ((Popularity(), Chance()), (1.0, -0.5), "at least 0, not -0.5"),
    ],
)
def test_bad_settings_are_refused(members, weights, message):
    with pytest.raises(ConfigError, match=message):
        Hybrid(members, weights)


def test_z_scores_by_hand():
    fused = fuse([Fixed([0, 2, 4, 6]), Fixed([10, 10, 10, 30])], weights=(1.0, 2.0))
    one, two = np.array([-3, -1, 1, 3]) / np.sqrt(5), np.array([-1, -1, -1, 3]) / np.sqrt(3)
    np.testing.assert_allclose(fused, one + 2 * two, rtol=1e-5)


@given(
    scores=arrays.arrays(np.float32, 8, elements=st.integers(-50, 50).map(float)),
    scale=st.sampled_from([0.5, 8.0]),
    shift=st.sampled_from([-4.0, 0.0, 1000.0]),
)
@settings(max_examples=30, deadline=None)
def test_scale_and_shift_of_a_member_do_not_matter(scores, scale, shift):
    other = Fixed(np.arange(8))
    for method in ("z-score", "reciprocal-rank"):
        plain = fuse([Fixed(scores), other], method=method)
        np.testing.assert_allclose(fuse([Fixed(scores * scale + shift), other], method=method), plain, atol=1e-4)


@METHODS
def test_a_member_without_opinion_changes_no_order(method):
    scores = [0.3, 0.1, 0.9, 0.5]
    assert fuse([Fixed(scores), Fixed([7.1] * 4)], method=method).argsort().tolist() == np.argsort(scores).tolist()


def test_what_may_not_be_recommended_does_not_move_the_scale():
    query = Query(history=codes(3), exclude=codes(0))
    fused = fuse([Fixed([-500, 1, 2, 900, 3]), Fixed([0, 0, 0, 0, 0])], query)
    np.testing.assert_allclose(fused[[1, 2, 4]], np.array([-1, 0, 1]) * np.sqrt(1.5), rtol=1e-5)
    assert np.isfinite(fused).all()


@given(scores=arrays.arrays(np.float32, (2, 9), elements=st.sampled_from([0.0, 0.5, 1.0, 3.0])))
@settings(max_examples=30, deadline=None)
def test_reciprocal_ranks_share_the_average_rank(scores):
    fused = fuse([Fixed(scores[0]), Fixed(scores[1])], method="reciprocal-rank", weights=(1.0, 0.5))
    ranks = rankdata(-scores, axis=1, method="average")
    np.testing.assert_allclose(fused, 1 / (60 + ranks[0]) + 0.5 / (60 + ranks[1]), rtol=1e-5)


@METHODS
def test_a_cold_item_stands_where_its_text_places_it(method):
    collaborative = Fixed([9, 5, 3, 2, 1, 0, 0, 0])
    text = Fixed([3, 1, 2, 0, 4, 9, 2.5, -1], cold=True)
    fused = fuse([collaborative, text], cold=3, method=method)
    warm = np.sort(fused[:5])
    best, middle, worst = fused[5:]
    assert best > warm[-1]
    assert warm[2] < middle < warm[3]  # by text above three of the five
    assert worst == warm[0]


@pytest.mark.parametrize("method", ["z-score", "reciprocal-rank"])  # "scale" depends on the training users
def test_warm_items_are_fused_as_if_the_cold_ones_were_not_there(method):
    collaborative, text = [5, 4, 3, 2, 1, 0, 0], [3, 1, 2, 0, 4, 9, -40]
    alone = fuse([Fixed(collaborative[:5]), Fixed(text[:5], cold=True)], method=method)
    together = fuse([Fixed(collaborative), Fixed(text, cold=True)], cold=2, method=method)
    np.testing.assert_allclose(together[:5], alone, rtol=1e-5)


def test_better_than_every_warm_item_keeps_its_order_among_the_cold():
    fused = fuse([Fixed([5, 4, 0, 0, 0, 0]), Fixed([0, 1, 2, 7, 9, 8], cold=True)], cold=3)
    assert fused[3:].argsort().tolist() == [0, 2, 1]


def test_a_text_member_without_opinion_places_cold_items_in_the_middle():
    fused = fuse([Fixed([5, 4, 3, 2, 1, 0]), Fixed([1, 1, 1, 1, 1, 1], cold=True)], cold=1)
    assert fused[5] == pytest.approx(np.median(fused[:5]), abs=1e-6)


def test_without_a_text_member_cold_items_keep_their_floor():
    hybrid = Hybrid((Fixed([5, 4, 3, 0]), Fixed([9, 1, 2, 0])))
    assert not hybrid.scores_cold_items
    fused = fuse(hybrid.members, cold=1)
    assert fused.argmin() == 3


@METHODS
def test_among_cold_candidates_only_the_text_decides(method):
    query = Query(candidates=codes(4, 5, 6))
    fused = fuse([Fixed([9, 8, 7, 6, 0, 0, 0]), Fixed([0, 0, 0, 0, 2, 3, 1], cold=True)], query, cold=3, method=method)
    assert fused[[4, 5, 6]].argsort().tolist() == [2, 0, 1]


def ndcg(recommender, queries, relevant):
    """Return NDCG@10 with one relevant item a query."""
    lists = recommender.recommend(queries, 10)
    ranks = [np.flatnonzero(found.items == item) for found, item in zip(lists, relevant, strict=True)]
    return np.mean([1 / np.log2(rank[0] + 2) if len(rank) else 0.0 for rank in ranks])


@METHODS
def test_a_cold_item_with_the_right_text_is_found_and_warm_quality_stands(method):
    whole = toy_dataset(n_users=150, n_items=100, cold=10, length=15)
    titles = list(whole.catalog.fields["title"])
    titles[95] = "an opera about whales"
    dataset = Dataset(whole.interactions, Catalog(whole.catalog.items, {"title": titles}, ("title",)))
    last = dataset.interactions.offsets[1:] - 1
    kept = np.ones(len(dataset.interactions), dtype=bool)
    kept[last] = False
    train = dataset.with_interactions(dataset.interactions.take(kept))
    queries, relevant = [train.query(user) for user in range(150)], dataset.interactions.item[last]
    members = (ItemKnn(half_life=2.0), Content(HashEncoder(dim=64), half_life=2.0))
    hybrid = Hybrid(members, weights=(1.0, 0.3), method=method).fit(train)

    asked = [replace(query, text="opera about whales") for query in queries]
    found = [95 in ranking.items for ranking in hybrid.recommend(asked, 10)]
    assert np.mean(found) > 0.95
    warm_only = [replace(query, exclude=np.arange(90, 100, dtype=np.int32)) for query in queries]
    assert ndcg(hybrid, queries, relevant) > 0.9 * ndcg(hybrid, warm_only, relevant) > 0.4


@METHODS
def test_reasons_are_those_of_the_members_by_their_part(method):
    members = (Fixed([5, 4, 3, 0], words="chosen"), Fixed([9, 1, 2, 8], cold=True, words="read"))
    hybrid = Hybrid(members, weights=(1.0, 3.0), method=method).fit(
        toy_dataset(n_users=40, n_items=4, cold=1, length=3)
    )
    first, _, cold = hybrid.explain(Query(), codes(0, 1, 3))
    assert [reason.words for reason in first] == ["read", "chosen"]
    assert sum(reason.share for reason in first) == pytest.approx(1.0)
    assert cold[0] == Reason("fixed", pytest.approx(1.0), words="read")


@pytest.mark.parametrize(
    ("method", "cold", "placing", "flops"),
    [
        ("z-score", 0, 1, 2 * 8 * 12),
        ("z-score", 2, 1, 2 * 8 * 12),
        ("z-score", 2, 2, 4 * 8 * 12),
        ("reciprocal-rank", 0, 1, 2 * 5 * 12),
    ],
)
def test_flops(method, cold, placing, flops):
    hybrid = Hybrid((Fixed(np.arange(6), cold=placing > 1), Fixed(np.arange(6), cold=True)), method=method)
    hybrid.fit(toy_dataset(n_users=60, n_items=6, cold=cold, length=3))
    ledger = Ledger()
    with ledger.span("score"):
        hybrid.score([Query(), Query()])
    assert ledger.entries[0].cost.flops == flops


def test_scale_divides_each_member_by_one_number_for_all_queries():
    # Nothing is masked for an empty query; among training users the deviation is over what they have not chosen.
    one, two = Fixed([1.0, 2.0, 4.0, 0.0]), Sure([10.0, 0.0, -2.0, 1.0])
    data = toy_dataset(n_users=40, n_items=4, length=2)
    hybrid = Hybrid((one, two), weights=(1.0, 0.5), method="scale").fit(data)
    queries = [data.query(user) for user in range(40)]
    spread = []
    for scores in (one.scores, two.scores):
        of_query = [np.delete(scores, query.history).std() for query in queries]
        spread.append(np.sqrt(np.mean(np.square(of_query))))
    np.testing.assert_allclose(hybrid.scales_, spread, rtol=1e-6)
    plain, doubled = hybrid.score([Query(), Query(text="sure")])
    np.testing.assert_allclose(plain, one.scores / spread[0] + 0.5 * two.scores / spread[1], rtol=1e-5)
    # A member that is twice as sure of a query counts twice as much there, as z-scores would not have it.
    np.testing.assert_allclose(doubled, one.scores / spread[0] + two.scores / spread[1], rtol=1e-5)


class Sure(Fixed):
    """Twice as sure of a query that says so."""

    def score(self, queries):
        return super().score(queries) * np.array([[2.0 if query.text else 1.0] for query in queries], dtype=np.float32)


def test_a_reason_that_two_members_give_is_one() -> None:
    data = toy_dataset()
    model = Hybrid((Ease(ridge=5.0), ItemKnn()), method="scale").fit(data)
    query = data.query(3)
    (reasons,) = model.explain(query, model.recommend([query], 1)[0].items)
    items = [reason.item for reason in reasons]
    assert len(set(items)) == len(items)
    alone = [member.explain(query, model.recommend([query], 1)[0].items)[0] for member in model.members]
    assert {r.item for r in alone[0]} & {r.item for r in alone[1]}, "the members have no reason in common"
