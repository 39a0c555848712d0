from dataclasses import dataclass

import numpy as np
import pytest

from frugalrec.cost import Ledger
from frugalrec.errors import FrugalrecError
from frugalrec.interfaces import LanguageModel
from frugalrec.llms._cached import CachedLanguageModel
from frugalrec.stores.array_cache import ArrayCache
from frugalrec.testing.llms import BreakableModel, UnigramModel

PREFIX = "apple banana apple"
CONTINUATIONS = [" apple", " cherry banana", "", " 天使爱美丽"]


@dataclass
class CountingModel(UnigramModel):
    """Counts its calls."""

    calls: int = 0

    def loglikelihoods(self, prefix, continuations):
        self.calls += 1
        return super().loglikelihoods(prefix, continuations)


@pytest.fixture
def store(tmp_path):
    cache = ArrayCache(tmp_path / "arrays.sqlite")
    yield cache
    cache.close()


def test_is_a_language_model(store):
    assert isinstance(CachedLanguageModel(UnigramModel(), store), LanguageModel)


def test_how_much_the_model_reads_is_told_where_it_says_so(store):
    @dataclass
    class NarrowModel(UnigramModel):
        context: int = 64

    assert CachedLanguageModel(UnigramModel(), store).context is None
    assert CachedLanguageModel(CachedLanguageModel(NarrowModel(), store), store).context == 64


def test_asks_the_model_once_and_loses_no_bit(store):
    model = CountingModel()
    expected = UnigramModel().loglikelihoods(PREFIX, CONTINUATIONS)
    for _ in range(3):
        found = CachedLanguageModel(model, store).loglikelihoods(PREFIX, CONTINUATIONS)
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, expected)
    assert model.calls == 1


@pytest.mark.parametrize(
    ("prefix", "continuations", "vocabulary"),
    [
        ("other", CONTINUATIONS, 50_000),
        (PREFIX, CONTINUATIONS[:2], 50_000),
        (PREFIX, CONTINUATIONS[::-1], 50_000),
        (PREFIX + CONTINUATIONS[0], CONTINUATIONS[1:], 50_000),
        (PREFIX, CONTINUATIONS, 10),
    ],
)
def test_another_question_is_asked(store, prefix, continuations, vocabulary):
    CachedLanguageModel(UnigramModel(), store).loglikelihoods(PREFIX, CONTINUATIONS)
    model = CountingModel(vocabulary=vocabulary)
    found = CachedLanguageModel(model, store).loglikelihoods(prefix, continuations)
    assert model.calls == 1
    np.testing.assert_array_equal(found, UnigramModel(vocabulary).loglikelihoods(prefix, continuations))


def test_what_was_spared_is_charged_at_its_first_price(store):
    ledger = Ledger()
    for name in ("first", "second"):
        with ledger.span(name):
            CachedLanguageModel(UnigramModel(), store).loglikelihoods(PREFIX, CONTINUATIONS)
    first, second = ledger.entries
    tokens = 3 + 4  # the prefix and every word of a continuation
    assert (first.cost.tokens_in, first.cost.tokens_cached, first.reused.tokens_in) == (tokens, 2 * 3, 0)
    assert (second.cost.tokens_in, second.cost.tokens_cached, second.cost.flops) == (0, tokens, 0)
    assert second.reused.tokens_in == tokens
    assert second.reused.seconds > 0


def test_no_continuations(store):
    for _ in range(2):
        assert CachedLanguageModel(UnigramModel(), store).loglikelihoods(PREFIX, []).shape == (0,)


def test_a_failure_is_not_remembered(store):
    model = BreakableModel(error=FrugalrecError("no answer"))
    cached = CachedLanguageModel(model, store)
    with pytest.raises(FrugalrecError, match="no answer"):
        cached.loglikelihoods(PREFIX, CONTINUATIONS)
    model.error = None
    np.testing.assert_array_equal(
        cached.loglikelihoods(PREFIX, CONTINUATIONS), UnigramModel().loglikelihoods(PREFIX, CONTINUATIONS)
    )


def test_the_rest_is_the_models(store):
    model = UnigramModel()
    cached = CachedLanguageModel(model, store)
    assert cached.generate([PREFIX], max_tokens=1, stop=("z",)) == model.generate([PREFIX], max_tokens=1, stop=("z",))
    assert cached.count_tokens(PREFIX) == 3
    assert cached.fingerprint() == model.fingerprint()
