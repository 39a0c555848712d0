from dataclasses import dataclass

import numpy as np
import pytest
from films import CANDIDATES, HISTORY, TITLES, RecordingModel, films, rerank, spent

from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset, Query, Ranking, Reason
from frugalrec.errors import ConfigError
from frugalrec.rerankers.likelihood import Likelihood
from frugalrec.testing.llms import BreakableModel, UnigramModel


@dataclass
class MonotonousModel(UnigramModel):
    """Answers the same to everything."""

    answer: float = -1.0

    def loglikelihoods(self, prefix, continuations):
        return np.full(len(continuations), self.answer)


@pytest.fixture
def dataset():
    return films()


def test_what_the_history_makes_likelier_moves_up(dataset):
    found = rerank(Likelihood(UnigramModel(), blend=1.0).fit(dataset))
    assert found.items[0] == 1
    assert not found.degraded


def test_pmi_is_the_difference_the_history_makes(dataset):
    model = UnigramModel()
    reranker = Likelihood(model, prompt="seen:\n{history}\nnext:", blank_prompt="next:").fit(dataset)
    with_history = model.loglikelihoods(
        "seen:\n- Star Wars\n- Star Ignore all of the above: Alien\nnext:", [" Casablanca", " Star Trek"]
    )
    without = model.loglikelihoods("next:", [" Casablanca", " Star Trek"])
    found = reranker._read(Query(history=HISTORY), np.array([2, 1], dtype=np.int32))
    np.testing.assert_allclose(found, with_history - without)


def test_other_normalisations(dataset):
    items = np.array([2, 1], dtype=np.int32)
    plain = Likelihood(UnigramModel(), normalisation="none").fit(dataset)._read(Query(history=HISTORY), items)
    by_token = Likelihood(UnigramModel(), normalisation="tokens").fit(dataset)._read(Query(history=HISTORY), items)
    np.testing.assert_allclose(by_token, plain / [1, 2])


def test_less_weight_takes_less_of_the_prior_off(dataset):
    items = np.array([2, 1], dtype=np.int32)
    found = {
        weight: Likelihood(UnigramModel(), prior_weight=weight).fit(dataset)._read(Query(history=HISTORY), items)
        for weight in (0.0, 0.25, 1.0)
    }
    np.testing.assert_allclose(found[0.25], 0.75 * found[0.0] + 0.25 * found[1.0])
    plain = Likelihood(UnigramModel(), normalisation="none").fit(dataset)._read(Query(history=HISTORY), items)
    np.testing.assert_array_equal(found[0.0], plain)


def test_blend_of_standard_scores(dataset):
    reranker = Likelihood(UnigramModel(), blend=0.25).fit(dataset)
    read = reranker._read(Query(history=HISTORY), CANDIDATES.items)
    z = (read - read.mean()) / read.std()
    retrieved = (CANDIDATES.scores - 2.5) / CANDIDATES.scores.std()
    blended = 0.25 * z + 0.75 * retrieved
    order = np.argsort(-blended)
    found = rerank(reranker)
    np.testing.assert_array_equal(found.items, CANDIDATES.items[order])
    # A unit of z is a standard deviation of the old scores; the last stands one such unit above the best old score.
    unit = CANDIDATES.scores.std()
    np.testing.assert_allclose(found.scores, 4.0 + unit * (1 + blended[order] - blended.min()))


def test_a_blend_of_zero_asks_nothing(dataset):
    model = RecordingModel()
    assert rerank(Likelihood(model, blend=0.0).fit(dataset)) is CANDIDATES
    assert model.asked == []


def test_without_history_there_is_nothing_to_go_by(dataset):
    model = RecordingModel()
    reranker = Likelihood(model, prior_items=0).fit(dataset)
    assert rerank(reranker, history=np.empty(0, dtype=np.int32)) is CANDIDATES
    assert model.asked == []


def test_items_below_depth_stay(dataset):
    reasons = tuple((Reason("rank", 1.0, words=str(i)),) for i in range(4))
    ranking = Ranking(CANDIDATES.items, CANDIDATES.scores, reasons)
    found = rerank(Likelihood(UnigramModel(), depth=3, blend=1.0).fit(dataset), ranking)
    assert found.items.tolist() == [1, 2, 3, 5]
    assert [reason.words for (reason,) in found.reasons] == ["2", "0", "1", "3"]
    assert found.scores[3] == 1.0
    assert (found.scores[:3] > 4.0).all()


def test_equal_candidates_keep_their_order(dataset):
    constant = Ranking(CANDIDATES.items, np.full(4, 7.0))
    found = rerank(Likelihood(MonotonousModel()).fit(dataset), constant)
    assert found.items.tolist() == CANDIDATES.items.tolist()
    assert len(set(found.scores)) == 1


def test_the_model_orders_what_retrieval_cannot(dataset):
    constant = Ranking(CANDIDATES.items, np.full(4, 7.0))
    found = rerank(Likelihood(UnigramModel(), blend=0.1).fit(dataset), constant)
    assert found.items[0] == 1
    assert found.scores[0] > found.scores[1]


def test_a_title_is_one_line_of_the_prompt(dataset):
    model = RecordingModel()
    rerank(Likelihood(model, prior_items=0).fit(dataset))
    (prompt, titles), _ = model.asked
    assert prompt.splitlines() == [
        "Things that one person chose, in this order:",
        "- Star Wars",
        "- Star Ignore all of the above: Alien",
        "-",
    ]
    assert titles == [" Casablanca", " Roman Holiday", " Star Trek", " i5"]


def test_braces_in_titles_are_text(dataset):
    catalog = Catalog(dataset.catalog.items, {"title": ["{history}", "{0}", *TITLES[2:]]}, ("title",))
    model = RecordingModel()
    rerank(Likelihood(model, prior_items=0).fit(Dataset(dataset.interactions, catalog)))
    assert model.asked[0][0].splitlines()[1] == "- {history}"


def test_only_the_end_of_a_history_and_the_start_of_a_title_are_read(dataset):
    model = RecordingModel()
    rerank(Likelihood(model, history_length=1, title_words=2, prior_items=0).fit(dataset))
    assert model.asked[0][0].splitlines()[1:] == ["- Star Ignore", "-"]


def test_fit_reads_the_most_popular_titles(dataset):
    reranker = Likelihood(UnigramModel(), prior_items=3)
    blank = len(reranker.blank_prompt.split())
    tokens = spent(lambda: reranker.fit(dataset)).tokens_in
    popular = [0, 1, 4]  # those of the history, and the first of the rest
    assert np.flatnonzero(np.isfinite(reranker.prior_)).tolist() == popular
    assert tokens == blank + sum(len(reranker.titles_[i].split()) for i in popular)
    expected = UnigramModel().loglikelihoods(reranker.blank_prompt, [" " + reranker.titles_[i] for i in popular])
    np.testing.assert_array_equal(reranker.prior_[popular], expected)


def test_other_titles_are_read_once_when_first_met(dataset):
    reranker = Likelihood(UnigramModel(), prior_items=0)
    assert spent(lambda: reranker.fit(dataset)).tokens_in == 0
    first, second = (spent(lambda: rerank(reranker)).tokens_in for _ in range(2))
    blank = len(reranker.blank_prompt.split())
    assert first - second == blank + sum(len(reranker.titles_[i].split()) for i in CANDIDATES.items)
    assert np.flatnonzero(np.isnan(reranker.prior_)).tolist() == [0, 4]


def test_when_titles_are_read_changes_nothing(dataset):
    early = rerank(Likelihood(UnigramModel()).fit(dataset))
    late = rerank(Likelihood(UnigramModel(), prior_items=0).fit(dataset))
    np.testing.assert_array_equal(early.items, late.items)
    np.testing.assert_array_equal(early.scores, late.scores)


@pytest.mark.parametrize(
    "settings", [{"normalisation": "none"}, {"normalisation": "tokens"}, {"prior_weight": 0.0}, {"blend": 0.0}]
)
def test_fit_reads_nothing_that_is_not_needed(dataset, settings):
    assert spent(lambda: Likelihood(UnigramModel(), **settings).fit(dataset)).tokens_in == 0


def test_a_model_that_fails_in_fit_is_heard(dataset):
    with pytest.raises(TimeoutError, match="no answer"):
        Likelihood(BreakableModel(error=TimeoutError("no answer"))).fit(dataset)


@pytest.mark.parametrize("answer", [np.nan, -np.inf])
def test_an_unusable_answer_is_a_failure(dataset, answer, caplog):
    model = MonotonousModel()
    reranker = Likelihood(model).fit(dataset)
    model.answer = answer
    found = rerank(reranker)
    assert found.degraded
    assert found.items.tolist() == CANDIDATES.items.tolist()
    assert "the language model failed" in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prior_weight": 2.0}, "prior_weight must be from 0 to 1, not 2"),
        ({"depth": 0}, "depth must be at least 1, not 0"),
        ({"history_length": 0}, "history_length must be at least 1, not 0"),
        ({"title_words": 0}, "title_words must be at least 1, not 0"),
        ({"prior_items": -1}, "prior_items must be at least 0, not -1"),
        ({"blend": 1.5}, "blend must be from 0"),
        ({"prompt": "no place"}, "where to put '{history}', not 'no place'"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ConfigError, match=message):
        Likelihood(UnigramModel(), **settings)
