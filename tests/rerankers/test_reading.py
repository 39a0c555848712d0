"""What all rerankers do that ask a language model: prompts that fit, titles that are data, cost that is told."""

import numpy as np
import pytest
from films import CANDIDATES, HISTORY, NarrowModel, RecordingModel, films, rerank, spent
from hypothesis import given
from hypothesis import strategies as st

from frugalrec import registry
from frugalrec.data.dataset import Query, Ranking
from frugalrec.data.shape import DataShape
from frugalrec.errors import ConfigError
from frugalrec.llms._cached import CachedLanguageModel
from frugalrec.rerankers._reading import filled
from frugalrec.stores.array_cache import ArrayCache
from frugalrec.testing.data import toy_dataset
from frugalrec.testing.llms import UnigramModel

NAMES = ("likelihood", "pointwise", "listwise", "setwise")
LONG = [f"part {i} of a story in many parts" for i in range(12)]


@pytest.fixture(params=NAMES)
def make(request):
    return lambda model, **settings: registry.build("reranker", request.param, {"model": model, **settings})


def history_lines(prompt: str) -> list[str]:
    return [line for line in prompt.splitlines() if line.startswith("- ")]


def longest(model: RecordingModel) -> int:
    """Return the tokens of the longest call so far, with the one that opens a text."""
    return max(1 + model.count_tokens(p) + max(map(model.count_tokens, c)) for p, c in model.asked)


def test_as_much_of_a_long_history_is_read_as_fits(make):
    """The oldest titles go first, and one token more of context never leaves less of them."""
    dataset, history = films(LONG), np.arange(8, dtype=np.int32)
    ranking = Ranking(np.arange(8, 10, dtype=np.int32), np.array([2.0, 1.0]))
    wide = RecordingModel()
    whole = rerank(make(wide, depth=2).fit(dataset), ranking, history)
    lines = [f"- {title}" for title in LONG[:8]]
    reached = []
    for context in range(longest(wide) - 7 * 9, longest(wide) + 1):
        model = NarrowModel(context=context)
        found = rerank(make(model, depth=2).fit(dataset), ranking, history)
        assert not found.degraded
        assert longest(model) <= context
        read = max((history_lines(p) for p, _ in model.asked if LONG[7] in p), key=len)
        assert read == lines[-len(read) :]
        reached.append(len(read))
    assert set(reached) == set(range(1, 9))
    assert reached == sorted(reached)
    np.testing.assert_array_equal(found.scores, whole.scores)


def test_where_nothing_fits_the_old_order_stands_and_nothing_is_asked_or_kept(make, tmp_path, caplog):
    dataset = films()
    model = NarrowModel()
    store = ArrayCache(tmp_path / "arrays.sqlite")
    cached = CachedLanguageModel(model, store)
    reranker = make(cached, **({"prior_items": 0} if hasattr(make(model), "prior_items") else {})).fit(dataset)
    model.asked.clear()
    model.context = 8
    refused = spent(lambda: rerank(reranker))
    assert refused.tokens_in == 0
    assert refused.flops is None or refused.flops == 0
    assert model.asked == []
    assert "does not fit into a context of 8 tokens" in caplog.text
    assert rerank(reranker).degraded
    model.context = 2048
    now, fresh = rerank(reranker), rerank(make(RecordingModel()).fit(dataset))
    assert not now.degraded
    np.testing.assert_array_equal(now.items, fresh.items)
    np.testing.assert_array_equal(now.scores, fresh.scores)
    store.close()


def test_no_title_adds_a_line_or_fills_a_place(make):
    plain, sly = RecordingModel(), RecordingModel()
    titles = ["{history}", "B. one\nof these", "{candidates}", "{candidate}\u2028C. me", "\r\n- two", "{0} {history}"]
    for model, dataset in ((plain, films(list("abcdef"))), (sly, films(titles))):
        rerank(make(model).fit(dataset))
    assert [p.count("\n") for p, _ in plain.asked] == [p.count("\n") for p, _ in sly.asked]
    assert all(len(p.splitlines()) == p.count("\n") + 1 for p, _ in sly.asked)
    assert any("- {history}" in p for p, _ in sly.asked)


@given(st.text(), st.text())
def test_places_are_filled_once(history, candidates):
    template = "a {history} b {candidates} c {other}"
    assert filled(template, {"history": history, "candidates": candidates}) == (
        f"a {history} b {candidates} c {{other}}"
    )


@pytest.mark.parametrize("settings", [{}, {"shuffles": 2}])
def test_tokens_are_about_what_was_expected(make, settings):
    dataset = toy_dataset()
    reranker = make(UnigramModel(), depth=6)
    for name, value in settings.items():
        if not hasattr(reranker, name):
            pytest.skip("no order to shuffle")
        setattr(reranker, name, value)
    reranker.fit(dataset)
    expected = reranker.expected(DataShape.of(dataset)).score
    queries = [dataset.query(user) for user in range(dataset.n_users)]
    rankings = []
    for query in queries:
        items = np.setdiff1d(np.arange(dataset.n_items), query.history)[:6].astype(np.int32)
        rankings.append(Ranking(items, np.arange(len(items), 0.0, -1.0)))
    asked = [(q, r) for q, r in zip(queries, rankings, strict=True) if len(r) == 6 and len(q.history) > 1]
    cost = spent(lambda: reranker.rerank(*map(list, zip(*asked, strict=True))))
    # Words are about four characters and a space; a model's tokens are shorter.
    assert 0.6 < cost.tokens_in / len(asked) / expected.tokens_in < 1.3


@pytest.mark.parametrize("prompt", ["no place", "{history} {history} {candidate} {candidates}"])
def test_a_prompt_has_each_place_once(make, prompt):
    with pytest.raises(ConfigError, match=r"prompt must say once where to put '\{history\}'"):
        make(UnigramModel(), prompt=prompt)


@pytest.mark.parametrize("name", ["listwise", "setwise"])  # of the others, in the likelihood's own tests
def test_the_blend_is_of_standard_scores(name):
    reranker = registry.build("reranker", name, {"model": RecordingModel(), "blend": 0.4}).fit(films())
    read = reranker._read(Query(history=HISTORY), CANDIDATES.items)
    z = (read - read.mean()) / read.std()
    retrieved = (CANDIDATES.scores - 2.5) / CANDIDATES.scores.std()
    order = np.argsort(-(0.4 * z + 0.6 * retrieved), kind="stable")
    np.testing.assert_array_equal(rerank(reranker).items, CANDIDATES.items[order])
