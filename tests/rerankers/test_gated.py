from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from frugalrec.cost import Ledger, charge
from frugalrec.data.dataset import Ranking
from frugalrec.errors import ConfigError, NotFittedError
from frugalrec.pipeline import build
from frugalrec.plan import Plan, Spec
from frugalrec.recommenders.popularity import Popularity
from frugalrec.rerankers._order import reordered
from frugalrec.rerankers._practice import practise
from frugalrec.rerankers.gated import Gated, _regression
from frugalrec.testing.data import toy_dataset
from frugalrec.testing.encoders import HashEncoder


@dataclass
class Oracle:
    """Knows what comes next of those with a long history, and harms all others; a call costs a token."""

    depth: int = 20
    long: int = 8
    asked: list[int] = field(default_factory=list)

    def fit(self, dataset):
        self.whole = dataset
        return self

    def rerank(self, queries, rankings):
        found = []
        for query, ranking in zip(queries, rankings, strict=True):
            charge(tokens_in=1.0, flops=0.0)
            self.asked.append(len(query.history))
            # On the ring of the toy data, the item after the newest one is the likeliest.
            after = (query.history[-1] + 1) % 40 == ranking.items[: self.depth]
            found.append(reordered(ranking, after * (1.0 if len(query.history) >= self.long else -1.0)))
        return found


@pytest.fixture(scope="module")
def data():
    """Users of very different length."""
    whole = toy_dataset(n_users=300, length=16)
    log = whole.interactions
    keep = np.ones(len(log), dtype=bool)
    for user in range(0, 300, 2):
        rows = log.events_of(user)
        keep[rows.start + 5 : rows.stop] = False
    return whole.with_interactions(log.take(keep))


@pytest.fixture(scope="module")
def requests(data):
    queries = [data.query(user) for user in range(300)]
    return queries, Popularity().fit(data).recommend(queries, 40)


def gate(**settings):
    return Gated(Oracle(depth=40), Popularity(), **settings)


def test_asks_where_it_gains(data, requests):
    found = gate(share=0.5).fit(data)
    asked = found.asks(*requests)
    long = np.array([len(q.history) >= 8 for q in requests[0]])
    assert asked[long].mean() > 0.8
    assert asked[~long].mean() < 0.1
    assert found.predicted(*requests)[long].mean() > 0 > found.predicted(*requests)[~long].mean()


def test_share_bounds_the_calls_and_the_ledger_shows_them(data, requests):
    spent = []
    for share in (0.0, 0.2, 1.0):
        found = gate(share=share).fit(data)
        ledger = Ledger()
        with ledger.span("rerank"):
            found.rerank(*requests)
        spent.append(ledger.total().tokens_in)
    assert spent[0] == 0
    assert 0 < spent[1] <= 0.3 * 300
    assert spent[2] == 300


def test_those_not_asked_keep_their_order_and_are_not_marked(data, requests):
    found = gate(share=0.3).fit(data)
    asked = found.asks(*requests)
    after = found.rerank(*requests)
    for chosen, old, new in zip(asked, requests[1], after, strict=True):
        if not chosen:
            assert new is old
    assert not any(ranking.degraded for ranking in after)


def test_a_reranker_that_failed_is_passed_on(data, requests):
    found = gate(share=1.0).fit(data)
    found.reranker.rerank = lambda queries, rankings: [replace(r, degraded=True) for r in rankings]
    assert all(ranking.degraded for ranking in found.rerank(*requests))


def test_the_answers_it_learned_from_were_held_out(data):
    found = gate(requests=50).fit(data)
    lists = practise(data, Popularity(), 40, requests=50)
    assert found.reranker.whole.fingerprint() == lists.earlier.fingerprint()
    assert len(found.reranker.asked) == (lists.places >= 0).sum()


def test_gain_is_that_of_asking_everybody(data):
    found = gate().fit(data)
    lists = practise(data, Popularity(), 40, requests=1000)
    before = lists.rankings
    after = Oracle(depth=40).fit(lists.earlier).rerank(lists.queries, before)
    gains = []
    for old, new, place in zip(before, after, lists.places, strict=True):
        if place < 0:
            gains.append(0.0)
            continue
        answer = old.items[place]
        places = [int(np.flatnonzero(r.items == answer)[0]) for r in (new, old)]
        discounts = [1 / np.log2(2 + p) if p < 10 else 0.0 for p in places]
        gains.append(discounts[0] - discounts[1])
    assert found.gain[0] == pytest.approx(np.mean(gains))
    assert found.gain[1] == pytest.approx(np.std(gains) / np.sqrt(len(gains)))


def test_text_is_a_feature_where_there_are_vectors(data, requests):
    with_text, without = gate(encoder=HashEncoder()).fit(data), gate().fit(data)
    assert len(with_text.weights_) == 11
    assert len(without.weights_) == 8
    assert np.isfinite(with_text.predicted(*requests)).all()


def test_regression_finds_what_there_is():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(400, 3)) * [1, 10, 0]
    gains = 0.3 + features @ [0.5, -0.02, 0] + rng.normal(size=400) * 0.01
    weights, foreseen = _regression(features, gains, rng)
    np.testing.assert_allclose(weights, [0.3, 0.5, -0.02, 0], atol=0.02)
    assert np.corrcoef(foreseen, gains)[0, 1] > 0.9
    assert not any(found.any() for found in _regression(features[:5], gains[:5], rng))


@dataclass
class Dice(Oracle):
    """Puts any item first, whoever asks."""

    def rerank(self, queries, rankings):
        dice = np.random.default_rng(len(queries))
        return [reordered(ranking, dice.normal(size=len(ranking.items))) for ranking in rankings]


def test_nobody_is_asked_where_gains_cannot_be_foreseen(data, requests):
    assert gate(share=0.5).fit(data).asks(*requests).any()
    found = Gated(Dice(depth=40), Popularity(), share=0.5).fit(data)
    assert found.threshold_ == float("inf")
    assert not found.asks(*requests).any()


def test_where_nothing_can_be_predicted_nobody_is_asked():
    lonely = toy_dataset(n_users=3)
    found = gate(share=0.5).fit(lonely)
    query = lonely.query(0)
    assert not found.asks([query], [Ranking(np.arange(20, 30, dtype=np.int32), np.linspace(1, 0, 10))]).any()


def test_a_gated_plan_still_asks_on_requests():
    inside = Spec("likelihood", {"model": Spec("llama-cpp")})
    plan = Plan("gate", Spec("popularity"), Spec("gated", {"reranker": inside, "retriever": Spec("popularity")}))
    assert plan.language_model == "per request"


@dataclass
class Kin:
    """Puts first what is of the newest item's colour, which a student can learn from vectors of titles."""

    depth: int = 24
    asked: int = 0

    def fit(self, dataset):
        self.titles = dataset.catalog.fields["title"]
        return self

    def rerank(self, queries, rankings):
        self.asked += len(queries)
        colour = [title.split()[0] for title in self.titles]
        return [
            reordered(r, np.array([float(colour[i] == colour[q.history[-1]]) for i in r.items[: self.depth]]))
            for q, r in zip(queries, rankings, strict=True)
        ]


@pytest.fixture(scope="module")
def with_student(colours):
    return Gated(Kin(), Popularity(), encoder=HashEncoder(), tail=2, share=0.1, otherwise="student", dimension=8).fit(
        colours
    )


def test_a_student_orders_what_is_not_asked(with_student, colours):
    queries = [colours.query(user) for user in range(60)]
    before = Popularity().fit(colours).recommend(queries, 18)
    asked = with_student.asks(queries, before)
    assert asked.mean() < 0.3
    calls = with_student.reranker.asked
    after = with_student.rerank(queries, before)
    assert with_student.reranker.asked - calls == asked.sum()
    everybody = with_student.reranker.rerank(queries, before)
    same = [a.items[0] in b.items[:3] for a, b in zip(after, everybody, strict=True)]
    assert np.mean(same) > 0.8
    for chosen, found, whole in zip(asked, after, everybody, strict=True):
        if chosen:
            np.testing.assert_array_equal(found.items, whole.items)


def test_what_the_student_gains_is_told_beside_the_rerankers_own(with_student, colours):
    (gain, error), (copied, _) = with_student.gain, with_student.student_gain
    assert gain > 2 * error
    assert copied > 0.6 * gain
    assert Gated(Kin(), Popularity()).fit(colours).student_gain == (0.0, 0.0)


def test_lists_that_judge_a_student_taught_another(colours):
    found = Gated(Kin(), Popularity(), encoder=HashEncoder(), tail=2, otherwise="student", dimension=8).fit(colours)
    lists = practise(colours, Popularity(), 24, requests=1000, tail=2)
    learnt = []

    @dataclass
    class Watched(type(found.student)):
        def copy(self, dataset, lists, taught):
            learnt.append(set(lists.owners.tolist()))
            return super().copy(dataset, lists, taught)

        def rerank(self, queries, rankings):
            assert not learnt[-1] & {query.user for query in queries}
            return super().rerank(queries, rankings)

    student = Watched(Kin(), Popularity(), HashEncoder(), depth=24, dimension=8)
    found._copied(student, colours, lists, found.reranker.rerank(lists.queries, lists.rankings))
    assert learnt[0] | learnt[1] == set(lists.owners.tolist())
    assert not learnt[0] & learnt[1]


def test_a_saved_gate_keeps_its_student(colours, tmp_path):
    inside = Spec("linear", {"retriever": Spec("popularity")})
    settings = {
        "reranker": inside, "retriever": Spec("popularity"), "encoder": Spec("bag-of-words"),
        "otherwise": "student", "dimension": 8,
    }  # fmt: skip
    plan = Plan("gate", Spec("popularity"), Spec("gated", settings))
    pipeline = build(plan).fit(colours)
    pipeline.save(tmp_path)
    loaded = build(plan).load(tmp_path)
    queries = [colours.query(user) for user in range(10)]
    for a, b in zip(pipeline.recommend(queries, 5), loaded.recommend(queries, 5), strict=True):
        np.testing.assert_array_equal(a.items, b.items)
    assert loaded.reranker.student_gain == pipeline.reranker.student_gain


def test_says_what_is_wrong():
    with pytest.raises(NotFittedError):
        _ = gate().gain
    for settings in ({"share": 1.5}, {"cutoff": 0}, {"tail": 0}, {"half_life": 0.0}, {"otherwise": "teacher"}):
        with pytest.raises(ConfigError, match=next(iter(settings))):
            gate(**settings)
    with pytest.raises(ConfigError, match="needs an encoder"):
        gate(otherwise="student")
