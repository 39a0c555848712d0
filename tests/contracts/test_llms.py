"""What every language model does: those of ``frugalrec.llms``, found by the registry, and the fake."""

import numpy as np
import pytest

from frugalrec import registry
from frugalrec.cost import Ledger
from frugalrec.interfaces import LanguageModel
from frugalrec.llms.http import Http
from frugalrec.testing.llms import UnigramModel
from frugalrec.testing.models import tiny_causal
from frugalrec.testing.openai_server import served

PREFIX = "apple banana apple cherry apple banana apple cherry apple banana apple"
CONTINUATIONS = [" cherry", " sandpaper", "", " banana apple"]


@pytest.fixture(scope="module", params=["unigram", *registry.names("llm")])
def model(request):
    if request.param == "unigram":
        return UnigramModel()
    if extra := registry.missing_extra("llm", request.param):
        pytest.skip(f"needs frugalrec[{extra}]")
    if request.param == "http":
        server = request.getfixturevalue("server")
        return registry.build("llm", "http", {"url": server.url, "model": "tiny", "api": "completions"})
    if request.param == "transformers":
        folder = request.getfixturevalue("tmp_path_factory").mktemp("causal")
        read = [f"{PREFIX} cherry", "sandpaper one two three"]  # one thing alone follows PREFIX, on any processor
        return registry.build("llm", "transformers", {"path": str(tiny_causal(folder, read, steps=200))})
    return registry.build("llm", request.param, {})


@pytest.fixture(scope="module")
def server():
    with served() as running:
        yield running


def needs_home(model):
    """Skip what only a model on this machine can keep: it shares prefixes, and knows its FLOPs and its tokens."""
    if isinstance(model, Http):
        pytest.skip("tokens are what the endpoint reports, FLOPs are unknown")


def spent(call):
    ledger = Ledger()
    with ledger.span("call"):
        result = call()
    return result, ledger.total()


def test_is_a_language_model(model):
    assert isinstance(model, LanguageModel)


def test_log_probabilities(model):
    found = model.loglikelihoods(PREFIX, CONTINUATIONS)
    assert found.dtype == np.float64
    assert found.shape == (4,)
    assert np.isfinite(found).all()
    assert (found <= 0).all()
    assert found[2] == 0.0


def test_no_continuations(model):
    found, cost = spent(lambda: model.loglikelihoods(PREFIX, []))
    assert found.shape == (0,)
    assert cost.tokens_in == 0


def test_what_the_context_holds_is_likelier(model):
    cherry, sandpaper, *_ = model.loglikelihoods(PREFIX, CONTINUATIONS)
    assert cherry > sandpaper


def test_the_same_question_gets_the_same_answer(model):
    np.testing.assert_array_equal(
        model.loglikelihoods(PREFIX, CONTINUATIONS), model.loglikelihoods(PREFIX, CONTINUATIONS)
    )
    assert model.generate([PREFIX], max_tokens=4) == model.generate([PREFIX], max_tokens=4)


def test_an_empty_prefix_is_a_context_too(model):
    assert np.isfinite(model.loglikelihoods("", [" apple"])).all()


def test_order_of_continuations_does_not_matter(model):
    found = model.loglikelihoods(PREFIX, CONTINUATIONS)
    reversed_ = model.loglikelihoods(PREFIX, CONTINUATIONS[::-1])[::-1]
    lengths = np.array([model.count_tokens(c) for c in CONTINUATIONS])
    assert (np.abs(found - reversed_) <= 0.5 * lengths).all()


def test_a_prefix_is_paid_once(model):
    needs_home(model)
    _, cost = spent(lambda: model.loglikelihoods(PREFIX, CONTINUATIONS))
    prefix, rest = model.count_tokens(PREFIX), sum(map(model.count_tokens, CONTINUATIONS))
    assert prefix <= cost.tokens_in <= prefix + 1 + rest  # a model may open a text with a token of its own
    assert cost.tokens_cached in (2 * prefix, 2 * (prefix + 1))
    assert cost.tokens_out == 0
    assert cost.flops is not None


def test_generates_one_text_a_prompt(model):
    texts, cost = spent(lambda: model.generate([PREFIX, "one two three"], max_tokens=5))
    assert len(texts) == 2
    assert all(isinstance(text, str) for text in texts)
    assert 0 < cost.tokens_out <= 10
    assert cost.tokens_in > 0
    if not isinstance(model, Http):
        assert cost.tokens_in >= model.count_tokens(PREFIX)
        assert cost.flops is not None
    assert model.generate([], max_tokens=5) == []


def test_stops_before_a_stop_string(model):
    (free,) = model.generate([PREFIX], max_tokens=8)
    stop = free.strip()[:3]
    (cut,) = model.generate([PREFIX], max_tokens=8, stop=[stop])
    assert free.startswith(cut)
    assert stop not in cut


def test_counts_tokens(model):
    assert model.count_tokens("") == 0
    assert 0 < model.count_tokens("apple") < model.count_tokens("apple banana cherry")


def test_fingerprint_is_stable(model):
    assert model.fingerprint()
    assert model.fingerprint() == model.fingerprint()
