import numpy as np
import pytest
from films import CANDIDATES, HISTORY, RecordingModel, films, rerank, spent

from frugalrec.data.dataset import Query
from frugalrec.errors import ConfigError
from frugalrec.rerankers.pointwise import Pointwise
from frugalrec.testing.llms import UnigramModel

ODDS = {"yes": " star", "no": " holiday", "prior_weight": 0.0, "blend": 1.0}


def directly(model, reranker, history, item):
    """Return the log-odds from a whole prompt that ends with the candidate."""
    lines = "\n".join(f"- {reranker.titles_[code]}" for code in history)
    prompt = reranker.prompt.replace("{history}", lines).replace("{candidate}", reranker.titles_[item])
    yes, no = model.loglikelihoods(prompt, [reranker.yes, reranker.no])
    return yes - no


def test_scores_are_the_log_odds_after_the_whole_prompt():
    model = UnigramModel()
    reranker = Pointwise(model, **ODDS).fit(films())
    found = reranker._read(Query(history=HISTORY), CANDIDATES.items)
    np.testing.assert_allclose(found, [directly(model, reranker, HISTORY, item) for item in CANDIDATES.items])
    # "star" stands twice in the history, once more in Star Trek; "holiday" in Roman Holiday alone.
    assert rerank(reranker).items.tolist() == [1, 2, 5, 3]


def test_a_history_is_read_once_for_all_candidates():
    model = RecordingModel()
    reranker = Pointwise(model, prior_weight=0.0).fit(films())
    cost = spent(lambda: rerank(reranker))
    ((prompt, following),) = model.asked
    assert prompt.splitlines()[-1] == "Would the same person choose"
    assert following[:2] == [" Casablanca?\nAnswer: Yes", " Casablanca?\nAnswer: No"]
    assert len(following) == 2 * len(CANDIDATES)
    assert cost.tokens_in == model.count_tokens(prompt) + sum(map(model.count_tokens, following))


def test_the_prior_is_the_odds_without_history():
    model = UnigramModel()
    with_prior = Pointwise(model, **{**ODDS, "prior_weight": 0.5}).fit(films())
    without = Pointwise(model, **ODDS).fit(films())
    query = Query(history=HISTORY)
    prior = []
    for item in CANDIDATES.items:
        prompt = with_prior.blank_prompt.replace("{candidate}", with_prior.titles_[item])
        prior.append(np.subtract(*model.loglikelihoods(prompt, [" star", " holiday"])))
    expected = without._read(query, CANDIDATES.items) - 0.5 * np.array(prior)
    np.testing.assert_allclose(with_prior._read(query, CANDIDATES.items), expected)


def test_llama_cpp_gives_the_odds_of_whole_prompts():
    """The chain rule on a real model, up to rounding by batch shape."""
    pytest.importorskip("llama_cpp")
    from frugalrec.llms.llama_cpp import LlamaCpp

    model = LlamaCpp(threads=1)
    reranker = Pointwise(model, prior_weight=0.0).fit(films())
    found = reranker._read(Query(history=HISTORY), CANDIDATES.items)
    expected = [directly(model, reranker, HISTORY, item) for item in CANDIDATES.items]
    np.testing.assert_allclose(found, expected, atol=0.25)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompt": "Is {candidate} next after {history}?"}, "must come after '{history}'"),
        ({"blank_prompt": "Is it?"}, "once in blank_prompt"),
        ({"blank_prompt": "Is {candidate} good?"}, "must be the same in prompt and blank_prompt"),
        ({"yes": ""}, "yes and no must be texts"),
        ({"prompt": "{history} only"}, "where to put '{candidate}'"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ConfigError, match=message):
        Pointwise(UnigramModel(), **settings)
