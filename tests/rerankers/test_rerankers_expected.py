"""Cost formulas of fits that practise: FLOPs of linear algebra exact, the rest within what is admitted."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest

from frugalrec.cost import Ledger, charge
from frugalrec.data.shape import DataShape
from frugalrec.encoders.bag_of_words import BagOfWords
from frugalrec.recommenders.popularity import Popularity
from frugalrec.rerankers._expected import FOUND
from frugalrec.rerankers._practice import practise
from frugalrec.rerankers.cross_encoder import CrossEncoder
from frugalrec.rerankers.distilled import Distilled
from frugalrec.rerankers.gated import Gated
from frugalrec.rerankers.likelihood import Likelihood
from frugalrec.rerankers.linear import Linear
from frugalrec.rerankers.semantic_cache import SemanticCache
from frugalrec.testing.data import long_tailed, toy_dataset
from frugalrec.testing.encoders import HashEncoder
from frugalrec.testing.llms import UnigramModel
from frugalrec.testing.memory import peaks_of_fit
from frugalrec.work import Expected, Stages


@dataclass
class Free:
    """Leaves every order, costs nothing, and says so."""

    depth: int = 20

    def fit(self, dataset):
        charge(flops=0.0)
        return self

    def rerank(self, queries, rankings):
        return list(rankings)

    def expected(self, shape):
        return Stages(Expected.nothing(), Expected.nothing())


@dataclass
class Silent(Free):
    expected = None


def charged(reranker, data):
    ledger = Ledger()
    with ledger.span("fit"):
        reranker.fit(data)
    return ledger.entries[0].cost


@pytest.mark.parametrize(
    "reranker",
    [
        Distilled(Free(), Popularity(), HashEncoder(), dimension=12),
        Distilled(Free(), Popularity(), HashEncoder(), dimension=40, depth=7),
        Gated(Free(), Popularity(), tail=3),
        Gated(Free(), Popularity(), encoder=HashEncoder()),
    ],
    ids=["distilled", "distilled on all axes", "gated", "gated with texts"],
)
def test_flops_are_those_charged_where_no_answer_decides(colours, reranker):
    expected = reranker.expected(DataShape.of(colours)).fit
    assert expected.flops == pytest.approx(charged(reranker, colours).flops, rel=0.02)


@pytest.mark.parametrize("tail", [1, 4])
def test_practice_is_as_large_as_settings_and_data_say(colours, tail):
    lists = practise(colours, Popularity(), 20, requests=30, tail=tail)
    shape = DataShape.of(colours)
    for requests in (30, 10_000):
        found = practise(colours, Popularity(), 20, requests=requests, tail=tail)
        linear = Linear(Popularity(), requests=requests, tail=tail)
        words = next(w for w in linear.expected(shape).fit.work if w.kind == "rank-query")
        assert words.amount == pytest.approx(len(found), abs=tail)
    assert len(lists) < 60 * tail


def test_a_teacher_is_asked_about_every_list_and_a_gate_about_those_with_an_answer(colours):
    model = UnigramModel()
    shape = DataShape.of(colours)
    one = Likelihood(model).expected(shape)
    taught = Distilled(Likelihood(model), Popularity(), HashEncoder(), requests=50).expected(shape).fit
    assert taught.tokens_in == pytest.approx(one.fit.tokens_in + 50 * one.score.tokens_in, rel=0.1)
    gate = Gated(Likelihood(model), Popularity())
    expected, spent = gate.expected(shape).fit, charged(gate, colours)
    assert expected.tokens_in / expected.spread <= spent.tokens_in <= expected.tokens_in * expected.spread


def test_what_a_part_does_not_tell_is_unknown():
    shape = DataShape.of(toy_dataset())
    silent = Silent()
    assert Distilled(silent, Popularity(), HashEncoder()).expected(shape).fit.work is None
    assert Gated(silent, Popularity()).expected(shape).fit.work is None
    assert Linear(silent).expected(shape).fit.work is None


def test_requests_of_a_gate_are_told_where_no_data_decide():
    shape = DataShape.of(toy_dataset())
    model = Likelihood(UnigramModel())
    told = {share: Gated(model, Popularity(), share=share).expected(shape).score.tokens_in for share in (0.0, 0.5, 1.0)}
    assert told == {0.0: 0.0, 0.5: None, 1.0: model.expected(shape).score.tokens_in}


@dataclass
class Bought(Popularity):
    """Buys a million tokens for a fit, which stand out beside those that a reranker reads."""

    def fit(self, dataset):
        charge(tokens_in=1e6)
        return super().fit(dataset)

    def expected(self, shape):
        stages = super().expected(shape)
        return replace(stages, fit=replace(stages.fit, tokens_in=1e6))


def test_a_cross_encoder_fits_its_retriever_and_reads_the_lists_that_hold_the_answer(tiny, colours):
    how = {"requests": 100, "tail": 3}
    settings = {"path": str(tiny), "epochs": 2, "patience": 0, **how}
    shape = DataShape.of(colours)
    bought = CrossEncoder(Bought(), **settings)
    assert bought.expected(shape).fit.tokens_in == pytest.approx(charged(bought, colours).tokens_in, rel=0.02)
    plain = CrossEncoder(Popularity(), **settings)
    expected, spent = plain.expected(shape).fit, charged(plain, colours)
    assert expected.tokens_in / expected.spread <= spent.tokens_in <= expected.tokens_in * expected.spread
    told = np.mean(practise(colours, Popularity(), plain.depth, **how).places >= 0)
    assert expected.tokens_in * told / FOUND == pytest.approx(spent.tokens_in, rel=0.15)
    assert CrossEncoder(Silent(), **settings).expected(shape).fit.work is None


def test_a_cache_takes_its_reranker_its_item_vectors_and_a_look(colours):
    cache = SemanticCache(Linear(Popularity()), HashEncoder(dim=20), size=5)
    inner = cache.reranker.expected(DataShape.of(colours))
    expected = cache.expected(DataShape.of(colours))
    assert expected.fit.flops == inner.fit.flops
    assert expected.fit.held_bytes == pytest.approx(inner.fit.held_bytes + cache.fit(colours).vectors_.nbytes)
    queries = [replace(colours.query(user), text=str(user)) for user in range(60)]  # nobody asks for the same
    rankings = Popularity().fit(colours).recommend(queries, 20)
    cache.rerank(queries[:10], rankings[:10])  # until it is full
    ledgers = Ledger(), Ledger()
    for ledger, reranker in zip(ledgers, (cache, cache.reranker), strict=True):
        with ledger.span("rerank"):
            reranker.rerank(queries[10:], rankings[10:])
    assert cache.hits == 0
    looked = ledgers[0].entries[-1].cost.flops - ledgers[1].entries[-1].cost.flops
    assert looked == pytest.approx(50 * (expected.score.flops - inner.score.flops))


@pytest.mark.parametrize(
    "model",
    [
        partial(Linear, Popularity(), encoder=BagOfWords()),
        partial(Distilled, Linear(Popularity(), requests=500), Popularity(), BagOfWords()),
        partial(SemanticCache, Linear(Popularity(), requests=10), BagOfWords()),
    ],
    ids=["linear", "distilled", "semantic-cache"],
)
def test_peak_memory_is_within_30_percent(model):
    expected, measured = peaks_of_fit(model, partial(long_tailed, 2000, 20_000, 30))
    if measured is None:
        pytest.skip("the system does not tell peak memory")
    assert expected == pytest.approx(measured, rel=0.3)
