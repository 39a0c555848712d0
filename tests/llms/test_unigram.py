import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frugalrec.cost import Ledger
from frugalrec.errors import ConfigError
from frugalrec.testing.llms import BreakableModel, ChoosingModel, UnigramModel

words = st.lists(st.sampled_from(["alien", "aliens", "brazil", "casablanca", "1995"]), max_size=6).map(" ".join)


def test_probabilities_are_counts_over_words():
    (found,) = UnigramModel(vocabulary=4).loglikelihoods("a b a", ["a b"])
    assert found == pytest.approx(np.log((2 + 1 / 4) / 4) + np.log((1 + 1 / 4) / 5))


def test_probabilities_of_all_words_sum_to_one():
    found = UnigramModel(vocabulary=4).loglikelihoods("a b a", ["a", "b", "c", "d"])
    assert np.exp(found).sum() == pytest.approx(1.0)


@given(words, words, words)
def test_chain_rule(prefix, first, second):
    model = UnigramModel()
    (whole,) = model.loglikelihoods(prefix, [f"{first} {second}"])
    (start,) = model.loglikelihoods(prefix, [first])
    (end,) = model.loglikelihoods(f"{prefix} {first}", [second])
    assert whole == pytest.approx(start + end, abs=1e-12)


@given(words, words)
def test_conditional_log_probabilities_of_words_sum_to_the_joint_one(prefix, text):
    model, read = UnigramModel(), prefix
    total = 0.0
    for word in text.split():
        total += model.loglikelihoods(read, [word])[0]
        read += f" {word}"
    assert model.loglikelihoods(prefix, [text])[0] == pytest.approx(total, abs=1e-9)


def test_case_and_punctuation_do_not_count():
    model = UnigramModel()
    assert model.loglikelihoods("Alien (1979)", ["ALIEN, 1979"]) == model.loglikelihoods("alien 1979", ["alien 1979"])


def test_tokens_are_words_and_charged():
    ledger = Ledger()
    with ledger.span("read"):
        UnigramModel().loglikelihoods("one two three", ["four", "five six", ""])
    cost = ledger.total()
    assert (cost.tokens_in, cost.tokens_cached, cost.tokens_out, cost.flops) == (6, 3, 0, 0)


def test_generates_the_most_frequent_words_first():
    assert UnigramModel().generate(["b a b c", ""], max_tokens=2) == ["b a", ""]
    assert UnigramModel().generate(["b a b c"], stop=(" a",)) == ["b"]


def test_a_vocabulary_has_words():
    with pytest.raises(ConfigError, match="vocabulary must be at least 1, not 0"):
        UnigramModel(vocabulary=0)


def test_a_breakable_model_answers_until_it_breaks():
    model = BreakableModel()
    assert model.loglikelihoods("a", ["b"]) == UnigramModel().loglikelihoods("a", ["b"])
    assert model.generate(["a"]) == ["a"]
    model.error = TimeoutError("no answer")
    with pytest.raises(TimeoutError, match="no answer"):
        model.loglikelihoods("a", ["b"])
    with pytest.raises(TimeoutError, match="no answer"):
        model.generate(["a"])


def test_letters_are_as_likely_as_what_stands_beside_them():
    prompt = "alien, aliens, alien\nA. casablanca\nB. alien\nC. brazil\nAnswer:"
    a, b, c = ChoosingModel().loglikelihoods(prompt, [" A", " B", " C"])
    assert b > a == c
    early = ChoosingModel(early=1.0).loglikelihoods(prompt, [" A", " B", " C"])
    np.testing.assert_allclose(early - [a, b, c], [2.0, 1.0, 0.0])


def test_other_answers_than_letters_are_texts():
    prompt = "alien\nA. alien\nAnswer:"
    assert ChoosingModel().loglikelihoods(prompt, [" alien"]) == UnigramModel().loglikelihoods(prompt, [" alien"])
