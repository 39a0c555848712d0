from dataclasses import dataclass, field

import numpy as np
import pytest

from frugalrec.cost import Ledger
from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset, Query, Ranking
from frugalrec.errors import ConfigError, NotFittedError
from frugalrec.pipeline import build
from frugalrec.plan import Plan, Spec
from frugalrec.recommenders.popularity import Popularity
from frugalrec.rerankers._features import item_words
from frugalrec.rerankers._order import reordered
from frugalrec.rerankers.distilled import Distilled
from frugalrec.rerankers.likelihood import Likelihood
from frugalrec.testing.data import toy_dataset
from frugalrec.testing.encoders import HashEncoder
from frugalrec.testing.llms import UnigramModel


@dataclass
class Teacher:
    """Scores by a secret bilinear form of the text vectors, or by what no vector tells."""

    secret: bool = False
    depth: int = 20
    asked: list[int] = field(default_factory=list)

    def fit(self, dataset):
        self.vectors = HashEncoder().encode(dataset.catalog.texts()).astype(np.float64)
        self.form = np.random.default_rng(5).normal(size=(16, 16))
        return self

    def rerank(self, queries, rankings):
        self.asked.append(len(queries))
        found = []
        for query, ranking in zip(queries, rankings, strict=True):
            head = ranking.items[: self.depth]
            taste = np.exp2(-np.arange(len(query.history))[::-1] / 3.0) @ self.vectors[query.history]
            said = self.vectors[head] @ self.form @ taste
            if self.secret:
                said = np.array([hash((int(i), len(query.history), int(query.history[0]))) % 1000 for i in head]) / 1.0
            found.append(reordered(ranking, said))
        return found


def test_a_linear_teacher_is_copied(colours):
    student = Distilled(Teacher(), Popularity(), HashEncoder(), dimension=16, requests=60).fit(colours)
    found = student.fidelity
    assert found["r2"] > 0.95
    assert found["rank correlation"] > 0.9
    assert found["same first"] > 0.5  # of 18 items
    assert found["retrieval r2"] < 0.5
    queries = [colours.query(user) for user in range(12)]
    before = Popularity().fit(colours).recommend(queries, 18)
    expected = Teacher().fit(colours).rerank(queries, before)
    same = [a.items[0] == b.items[0] for a, b in zip(student.rerank(queries, before), expected, strict=True)]
    assert np.mean(same) > 0.7


@dataclass
class WordReader(Teacher):
    """Likes what shares rare words with the newest item: a sum over more axes than a form of few has."""

    def fit(self, dataset):
        self.words = item_words(dataset)
        return self

    def rerank(self, queries, rankings):
        heads = [
            (query.history[-1:], ranking.items[: self.depth]) for query, ranking in zip(queries, rankings, strict=True)
        ]
        said = [(self.words[head] @ self.words[newest].T).toarray()[:, 0] for newest, head in heads]
        return [reordered(ranking, values) for ranking, values in zip(rankings, said, strict=True)]


def test_a_teacher_of_shared_words_is_copied_with_few_axes():
    data = toy_dataset(n_users=120, n_items=60)
    rng = np.random.default_rng(0)
    titles = [" ".join(f"word{w}" for w in rng.choice(40, 4, replace=False)) for _ in range(60)]
    data = Dataset(data.interactions, Catalog(data.catalog.items, {"title": titles}, ("title",)))
    student = Distilled(WordReader(), Popularity(), HashEncoder(), dimension=2, requests=100).fit(data)
    assert student.fidelity["r2"] > 0.95


def test_what_no_vector_tells_is_not_copied_and_that_is_said(colours):
    student = Distilled(Teacher(secret=True), Popularity(), HashEncoder(), dimension=16, requests=60).fit(colours)
    assert student.fidelity["r2"] < 0.3


def test_a_teacher_that_keeps_the_order_is_copied_without_text(colours):
    teacher = Likelihood(UnigramModel(), blend=0.0)
    student = Distilled(teacher, Popularity(), HashEncoder(), dimension=8, requests=60).fit(colours)
    assert student.fidelity["retrieval r2"] == pytest.approx(1.0)
    assert student.fidelity["r2"] > 0.99
    assert student.fidelity["retrieval rank correlation"] == pytest.approx(1.0)


def test_no_request_asks_the_teacher(colours):
    student = Distilled(Likelihood(UnigramModel(), blend=1.0), Popularity(), HashEncoder(), depth=3, dimension=8)
    student.fit(colours)
    query, ranking = (
        Query(np.array([1, 2], dtype=np.int32)),
        Ranking(np.arange(5, dtype=np.int32), np.arange(5.0)[::-1]),
    )
    ledger = Ledger()
    with ledger.span("rerank"):
        student.rerank([query], [ranking])
    assert ledger.total().tokens_in == 0
    # The mean of the history, the form, ten plain features and a bias, and cosines of three candidates with two items.
    assert ledger.total().flops == 2 * 2 * 8 + 2 * 8 * (8 + 3) + (2 * 8 + 1) * 3 + 2 * 3 * 2 * (16 + 2)


def test_a_plan_pays_its_teacher_once(colours, tmp_path):
    teacher = Spec("likelihood", {"model": Spec("llama-cpp")})
    settings = {"teacher": teacher, "retriever": Spec("popularity"), "encoder": Spec("bag-of-words")}
    assert Plan("copy", Spec("popularity"), Spec("distilled", settings)).language_model == "once"
    assert Plan("ask", Spec("popularity"), teacher).language_model == "per request"


def test_a_saved_student_needs_no_teacher(colours, tmp_path):
    settings = {
        "teacher": Spec("linear", {"retriever": Spec("popularity")}),
        "retriever": Spec("popularity"), "encoder": Spec("bag-of-words"), "dimension": 8,
    }  # fmt: skip
    plan = Plan("copy", Spec("popularity"), Spec("distilled", settings))
    pipeline = build(plan).fit(colours)
    assert not hasattr(pipeline.reranker.teacher, "weights_")
    pipeline.save(tmp_path)
    loaded = build(plan).load(tmp_path)
    queries = [colours.query(user) for user in range(5)]
    for a, b in zip(pipeline.recommend(queries, 5), loaded.recommend(queries, 5), strict=True):
        np.testing.assert_array_equal(a.items, b.items)
    assert loaded.reranker.fidelity == pipeline.reranker.fidelity


def test_lists_the_teacher_failed_on_teach_nothing(colours):
    class Failing(Teacher):
        def rerank(self, queries, rankings):
            from dataclasses import replace

            return [replace(ranking, degraded=True) for ranking in rankings]

    student = Distilled(dataclass(Failing)(), Popularity(), HashEncoder(), dimension=8).fit(colours)
    assert np.isnan(student.fidelity["r2"])
    assert not student.matrix_.any()


def test_says_what_is_wrong():
    with pytest.raises(NotFittedError):
        _ = Distilled(Teacher(), Popularity(), HashEncoder()).fidelity
    for settings in ({"depth": 0}, {"dimension": 0}, {"half_life": 0.0}):
        with pytest.raises(ConfigError, match=next(iter(settings))):
            Distilled(Teacher(), Popularity(), HashEncoder(), **settings)
