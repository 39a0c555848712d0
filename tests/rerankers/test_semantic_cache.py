import numpy as np
import pytest
from films import RecordingModel, films, spent

from frugalrec.cost import Ledger
from frugalrec.data.dataset import Query, Ranking, Reason
from frugalrec.data.shape import DataShape
from frugalrec.encoders.bag_of_words import BagOfWords
from frugalrec.errors import ConfigError
from frugalrec.llms._cached import CachedLanguageModel
from frugalrec.plan import Plan, Spec
from frugalrec.rerankers.likelihood import Likelihood
from frugalrec.rerankers.semantic_cache import SemanticCache
from frugalrec.stores.array_cache import ArrayCache
from frugalrec.testing.data import checkerboard
from frugalrec.testing.llms import BreakableModel, UnigramModel

TITLES = [
    "star wars",
    "star wars two",
    "war and peace",
    "the star",
    "green garden",
    "garden tools",
    "wild war",
    "roses",
]
RANKING = Ranking(np.array([6, 3, 5, 7], dtype=np.int32), np.array([4.0, 3.0, 2.0, 1.0]))


def cache(model=None, **settings):
    reranker = Likelihood(RecordingModel() if model is None else model, blend=1.0, depth=4)
    return SemanticCache(reranker, BagOfWords(), **settings).fit(films(TITLES))


def ask(reranker, history, ranking=RANKING, **query):
    (found,) = reranker.rerank([Query(history=np.array(history, dtype=np.int32), **query)], [ranking])
    return found


def test_a_like_history_gets_the_order_of_the_earlier_one():
    reranker = cache(threshold=0.8)
    first = ask(reranker, [0])
    asked = len(reranker.reranker.model.asked)
    second = ask(reranker, [0, 0, 1])
    assert (first.reused, second.reused) == (False, True)
    assert second.items.tolist() == first.items.tolist() != RANKING.items.tolist()
    np.testing.assert_array_equal(second.scores, first.scores)
    assert len(reranker.reranker.model.asked) == asked
    assert (reranker.hits, reranker.misses) == (1, 1)


def test_another_history_is_asked_about():
    reranker = cache(threshold=0.8)
    ask(reranker, [0])
    found = ask(reranker, [4, 5])
    assert not found.reused
    fresh = ask(cache(), [4, 5])
    np.testing.assert_array_equal(found.items, fresh.items)
    assert (reranker.hits, reranker.misses) == (0, 2)


def test_a_threshold_of_one_takes_the_same_history_alone():
    reranker = cache(threshold=1.0)
    ask(reranker, [0, 1, 2])
    assert ask(reranker, [2, 0, 1]).reused  # a history is a bag
    assert not ask(reranker, [0, 1, 2, 3]).reused


def test_the_nearest_earlier_request_is_taken():
    near, far = ask(cache(), [0, 1, 3]), ask(cache(), [4, 5])
    assert near.items.tolist() != far.items.tolist()
    reranker = cache(threshold=0.999)
    for history in ([4, 5], [0, 1, 3]):
        ask(reranker, history)
    reranker.threshold = -1.0
    assert ask(reranker, [0, 1]).items.tolist() == near.items.tolist()
    assert ask(reranker, [4]).items.tolist() == far.items.tolist()


def test_other_words_are_another_request():
    reranker = cache()
    ask(reranker, [0], text="something with war")
    assert not ask(reranker, [0], text="something with roses").reused
    assert ask(reranker, [0], text="something with war").reused


def test_an_order_says_nothing_of_candidates_it_did_not_have():
    others = Ranking(np.array([6, 3, 5, 2], dtype=np.int32), np.array([4.0, 3.0, 2.0, 1.0]))
    strict, lenient = cache(), cache(overlap=0.75)
    for reranker in (strict, lenient):
        order = ask(reranker, [0]).items.tolist()
    assert not ask(strict, [0], others).reused
    # 6, 3 and 5 change places among themselves; 2 stays last.
    shown = Ranking(np.array([5, 2, 6, 3], dtype=np.int32), np.array([4.0, 3.0, 2.0, 1.0]))
    found = ask(lenient, [0], shown)
    assert found.reused
    best, *others = [item for item in order if item != 7]
    assert found.items.tolist() == [best, 2, *others]


def test_fewer_of_the_same_candidates_are_in_the_same_order():
    reranker = cache()
    order = ask(reranker, [0]).items.tolist()
    found = ask(reranker, [0], Ranking(RANKING.items[:3], RANKING.scores[:3]))
    assert found.reused
    assert found.items.tolist() == [item for item in order if item != 7]


def test_what_a_hit_spares_is_charged_at_its_first_price(tmp_path):
    store = ArrayCache(tmp_path / "arrays.sqlite")
    ledger = Ledger()
    reranker = cache(CachedLanguageModel(UnigramModel(), store))
    for name in ("miss", "hit"):
        with ledger.span(name):
            ask(reranker, [0])
    miss, hit = ledger.entries
    assert miss.cost.tokens_in > 0
    assert hit.cost.tokens_in == 0
    assert hit.cost.tokens_cached == miss.cost.tokens_in
    assert hit.reused.tokens_in == miss.cost.tokens_in
    assert hit.reused.seconds > 0
    assert hit.whole.tokens_in == miss.whole.tokens_in
    # What a store below spared counts towards the first price of an order as well.
    again = SemanticCache(reranker.reranker, BagOfWords()).fit(films(TITLES))
    with ledger.span("from the store"):
        ask(again, [0])
    with ledger.span("hit"):
        ask(again, [0])
    assert ledger.entries[2].cost.tokens_in == 0
    assert ledger.entries[3].reused.tokens_in == miss.cost.tokens_in
    store.close()


def test_a_failure_is_not_kept():
    model = BreakableModel()
    reranker = cache(model)
    model.error = TimeoutError("no answer")
    assert ask(reranker, [0]).degraded
    model.error = None
    found = ask(reranker, [0])
    assert not found.reused
    assert not found.degraded
    assert ask(reranker, [0]).reused


def test_only_the_newest_are_kept():
    reranker = cache(size=2, threshold=0.999)
    for history in ([0], [4], [2]):
        ask(reranker, history)
    assert ask(reranker, [4]).reused
    assert ask(reranker, [2]).reused
    assert not ask(reranker, [0]).reused  # and now it has taken the place of [4]
    assert not ask(reranker, [4]).reused
    assert len(reranker._kept) == 2


def test_fitting_again_forgets():
    reranker = cache()
    ask(reranker, [0])
    reranker.fit(films(TITLES))
    assert (reranker.hits, reranker.misses) == (0, 0)
    assert not ask(reranker, [0]).reused


def test_without_history_or_order_the_reranker_decides():
    reranker = cache()
    assert ask(reranker, []) is RANKING
    one = Ranking(RANKING.items[:1], RANKING.scores[:1])
    assert ask(reranker, [0], one) is one
    assert (reranker.hits, reranker.misses) == (0, 0)


def test_items_below_depth_and_reasons_stay():
    reasons = tuple((Reason("rank", 1.0, words=str(i)),) for i in range(4))
    reranker = cache()
    reranker.reranker.depth = 3
    for _ in range(2):
        found = ask(reranker, [0], Ranking(RANKING.items, RANKING.scores, reasons))
        assert found.items[3] == 7
        assert [RANKING.items[int(reason.words)] for (reason,) in found.reasons] == found.items.tolist()
        assert (np.diff(found.scores) <= 0).all()


def test_expects_what_its_reranker_does():
    shape = DataShape.of(checkerboard(8))
    reranker = cache()
    expected, inner = reranker.expected(shape), reranker.reranker.expected(shape)
    for stage, of_reranker in ((expected.fit, inner.fit), (expected.score, inner.score)):
        assert set(of_reranker.work) <= set(stage.work)
        assert (stage.tokens_in, stage.spread) == (of_reranker.tokens_in, of_reranker.spread)


def test_in_a_plan_it_counts_as_a_model_on_every_request_and_is_saved(tmp_path):
    model = Spec("likelihood", {"model": Spec("llama-cpp"), "depth": 5})
    spec = Spec("semantic-cache", {"reranker": model, "encoder": Spec("bag-of-words")})
    plan = Plan("p", Spec("popularity"), reranker=spec)
    plan.check()
    assert plan.language_model == "per request"
    data = checkerboard(8)
    pipeline = plan.build()
    pipeline.reranker.reranker.model = UnigramModel()
    pipeline.fit(data)
    pipeline.save(tmp_path)
    loaded = plan.build().load(tmp_path)
    loaded.reranker.reranker.model = UnigramModel()
    query = data.query(1)
    (expected,), (found,) = pipeline.recommend([query], 3), loaded.recommend([query], 3)
    np.testing.assert_array_equal(found.items, expected.items)
    assert not found.reused
    assert pipeline.recommend([query], 3)[0].reused


def test_a_search_through_what_is_kept_has_its_price():
    reranker = cache()
    ask(reranker, [0])
    cost = spent(lambda: ask(reranker, [0]))
    assert cost.flops == 2 * reranker.vectors_.shape[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 1.5}, "threshold must be a cosine"),
        ({"overlap": 0.0}, "overlap must be above 0"),
        ({"size": 0}, "size must be at least 1, not 0"),
        ({"history_length": 0}, "history_length must be at least 1, not 0"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ConfigError, match=message):
        SemanticCache(Likelihood(UnigramModel()), BagOfWords(), **settings)
