"""What every reranker of ``frugalrec.rerankers`` does, found by the registry and run on a model without weights."""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frugalrec import registry
from frugalrec.cost import Ledger
from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset, Query, Ranking, Reason
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.data.shape import DataShape
from frugalrec.errors import NotFittedError
from frugalrec.interfaces import Expects
from frugalrec.rerankers.likelihood import Likelihood
from frugalrec.testing.data import toy_dataset
from frugalrec.testing.encoders import HashEncoder
from frugalrec.testing.llms import BreakableModel, UnigramModel
from frugalrec.testing.models import tiny_bert

N_ITEMS = 40


def takes(name, kind):
    """The settings of a reranker that take a component of that kind."""
    fields = registry.settings_of(registry.load("reranker", name))
    return [key for key, f in fields.items() if registry.kind_of(str(f.type)) == kind]


def build(name, model):
    parts = {
        "llm": model,
        "recommender": registry.build("recommender", "popularity", {}),
        "encoder": HashEncoder(),
        "reranker": Likelihood(model),
    }
    settings = {key: part for kind, part in parts.items() for key in takes(name, kind)}
    if name == "cross-encoder":
        settings |= {"path": str(tiny_weights()), "epochs": 1}
    return registry.build("reranker", name, settings)


@cache
def tiny_weights():
    titles = [f"part {i % 7} of saga {i % 5}" for i in range(N_ITEMS)]
    return tiny_bert(Path(tempfile.mkdtemp(prefix="frugalrec-contract-")), titles, seed=1)


@pytest.fixture(scope="module")
def dataset():
    items, users = IdMap([f"i{i}" for i in range(N_ITEMS)]), IdMap(["u0", "u1"])
    events = np.arange(10, dtype=np.int32)
    titles = [f"part {i % 7} of saga {i % 5}" for i in range(N_ITEMS)]
    return Dataset(
        Interactions.from_events(events % 2, events, users, items), Catalog(items, {"title": titles}, ("title",))
    )


@pytest.fixture(params=registry.names("reranker"))
def name(request):
    if extra := registry.missing_extra("reranker", request.param):
        pytest.skip(f"needs frugalrec[{extra}]")
    return request.param


@pytest.fixture
def fitted(name, dataset):
    return build(name, UnigramModel()).fit(dataset)


@pytest.fixture
def asking(name):
    """A reranker that asks a language model itself, on every request."""
    if not takes(name, "llm"):
        pytest.skip("asks no model itself")
    return name


@st.composite
def requests(draw):
    shown = draw(st.lists(st.integers(0, N_ITEMS - 1), unique=True, max_size=N_ITEMS))
    # A few levels, so that scores are often equal.
    scores = draw(st.lists(st.sampled_from([-3.0, 0.0, 0.5, 2.0, 1e6]), min_size=len(shown), max_size=len(shown)))
    history = draw(st.lists(st.integers(0, N_ITEMS - 1), max_size=15))
    reasons = tuple((Reason("words", 1.0, words=str(item)),) for item in shown) if draw(st.booleans()) else None
    ranking = Ranking(np.array(shown, dtype=np.int32), np.sort(np.array(scores))[::-1], reasons)
    return Query(history=np.array(history, dtype=np.int32)), ranking


@given(batch=st.lists(requests(), max_size=3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_reorders_the_top_and_nothing_else(fitted, batch):
    queries, rankings = [q for q, _ in batch], [r for _, r in batch]
    found = fitted.rerank(queries, rankings)
    assert len(found) == len(batch)
    for before, after in zip(rankings, found, strict=True):
        top = slice(None, fitted.depth)
        below = slice(fitted.depth, None)
        assert sorted(after.items[top]) == sorted(before.items[top])
        np.testing.assert_array_equal(after.items[below], before.items[below])
        np.testing.assert_array_equal(after.scores[below], before.scores[below])
        assert len(after.scores) == len(after)
        assert np.isfinite(after.scores).all()
        assert (np.diff(after.scores) <= 0).all()
        assert not after.degraded
        if before.reasons is not None:
            assert [reason.words for (reason,) in after.reasons] == [str(item) for item in after.items]


def test_the_same_request_gets_the_same_answer(name, dataset):
    query = dataset.query(0)
    ranking = Ranking(np.arange(10, 35, dtype=np.int32), np.linspace(5, 1, 25))
    reranker = build(name, UnigramModel()).fit(dataset)
    (first,), (second,) = reranker.rerank([query], [ranking]), reranker.rerank([query], [ranking])
    np.testing.assert_array_equal(first.items, second.items)
    np.testing.assert_array_equal(first.scores, second.scores)


def test_the_input_is_left_as_it_was(name, dataset):
    items, scores = np.arange(10, 35, dtype=np.int32), np.linspace(5, 1, 25)
    build(name, UnigramModel()).fit(dataset).rerank([dataset.query(0)], [Ranking(items, scores)])
    np.testing.assert_array_equal(items, np.arange(10, 35))
    np.testing.assert_array_equal(scores, np.linspace(5, 1, 25))


def test_nothing_to_rank(name, dataset):
    nothing = Ranking(np.empty(0, dtype=np.int32), np.empty(0))
    reranker = build(name, UnigramModel()).fit(dataset)
    (found,) = reranker.rerank([dataset.query(0)], [nothing])
    assert len(found) == 0
    assert reranker.rerank([], []) == []


def test_a_failing_model_leaves_the_retrieved_order(asking, dataset):
    ranking = Ranking(np.arange(10, 35, dtype=np.int32), np.linspace(5, 1, 25))
    model = BreakableModel()
    reranker = build(asking, model).fit(dataset)
    model.error = TimeoutError("no answer")
    (found,) = reranker.rerank([dataset.query(0)], [ranking])
    assert found.degraded
    np.testing.assert_array_equal(found.items, ranking.items)
    np.testing.assert_array_equal(found.scores, ranking.scores)


def test_an_interrupt_is_no_failure_of_the_model(asking, dataset):
    ranking = Ranking(np.arange(10, 35, dtype=np.int32), np.linspace(5, 1, 25))
    model = BreakableModel()
    reranker = build(asking, model).fit(dataset)
    model.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        reranker.rerank([dataset.query(0)], [ranking])


def test_not_before_fit(name, dataset):
    ranking = Ranking(np.arange(10, 35, dtype=np.int32), np.linspace(5, 1, 25))
    with pytest.raises(NotFittedError):
        build(name, UnigramModel()).rerank([dataset.query(0)], [ranking])


def test_what_a_request_is_expected_to_take_is_charged(name):
    """FLOPs within the spread that is admitted, tokens by half as much again: they are guessed from lengths of texts.

    What is not said is unknown, and shown so.
    """
    data = toy_dataset(n_users=40, n_items=60, cold=2)
    reranker = build(name, UnigramModel())
    assert isinstance(reranker, Expects), "a reranker that cannot tell says so by an empty `Stages`"
    expected = reranker.expected(DataShape.of(data)).score
    if expected.flops is None and expected.tokens_in is None:
        return
    fitted = reranker.fit(data)
    ranking = Ranking(np.arange(30, dtype=np.int32), np.arange(30, 0, -1.0))
    queries = [data.query(user) for user in range(data.n_users)]
    ledger = Ledger()
    with ledger.span("requests"):
        for query in queries:
            fitted.rerank([query], [ranking])
    charged = ledger.entries[0].cost
    agrees(expected, charged, len(queries))


def test_what_a_fit_is_expected_to_take_is_charged(name):
    """FLOPs and tokens as above; a reranker whose fit is unknown would hide what its practice takes."""
    data = toy_dataset(n_users=40, n_items=60, cold=2)
    reranker = build(name, UnigramModel())
    expected = reranker.expected(DataShape.of(data)).fit
    if takes(name, "recommender"):
        assert expected.work is not None, "it practises on a retriever's lists, and does not say what that takes"
    ledger = Ledger()
    with ledger.span("fit"):
        reranker.fit(data)
    agrees(expected, ledger.entries[0].cost, 1)


def agrees(expected, charged, n):
    for amount, said, slack in (("flops", expected.flops, 1.0), ("tokens_in", expected.tokens_in, 1.5)):
        if said is not None and getattr(charged, amount) is not None:
            mean, factor = getattr(charged, amount) / n, slack * expected.spread
            assert said / factor <= mean <= said * factor, f"expected {said:g} {amount}, charged {mean:g}"
