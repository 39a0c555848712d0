import math

import numpy as np
import pytest
from films import RecordingModel, films
from hypothesis import given
from hypothesis import strategies as st

from frugalrec.data.dataset import Query, Ranking
from frugalrec.errors import ConfigError
from frugalrec.rerankers.setwise import Setwise
from frugalrec.testing.llms import UnigramModel


class Oracle(UnigramModel):
    """Answers with the letter of the largest number shown."""

    calls = 0

    def loglikelihoods(self, prefix, continuations):
        self.calls += 1
        shown = {line[0]: float(line[3:]) for line in prefix.splitlines() if line[1:3] == ". "}
        return np.array([shown[text.strip()] for text in continuations])


def sorted_by(model, numbers, **settings):
    reranker = Setwise(model, calibrate=False, blend=1.0, depth=len(numbers), **settings)
    reranker = reranker.fit(films([str(number) for number in numbers]))
    items = np.arange(len(numbers), dtype=np.int32)
    ranking = Ranking(items, -np.arange(len(numbers), dtype=np.float64))
    (found,) = reranker.rerank([Query(history=np.array([0], dtype=np.int32))], [ranking])
    assert not found.degraded
    return found.items.tolist()


@given(
    st.lists(st.integers(0, 99), unique=True, min_size=2, max_size=25),
    st.integers(1, 6),
    st.integers(1, 25),
    st.integers(0, 2),
)
def test_the_best_stand_in_order_and_the_others_as_they_were(numbers, children, top, shuffles):
    found = sorted_by(Oracle(), numbers, children=children, top=top, shuffles=shuffles)
    best = sorted(range(len(numbers)), key=lambda i: -numbers[i])[:top]
    assert found == best + [i for i in range(len(numbers)) if i not in best]


def test_comparisons_are_those_of_a_heap_that_stops():
    """From the worst order: every level is gone down when the heap is made; at most two families a level later."""
    numbers = list(range(20))
    model = Oracle()
    sorted_by(model, numbers, children=3, top=5)
    levels = math.ceil(math.log(20, 3))
    assert 7 <= model.calls <= 7 * 2 + 5 * levels
    again = Oracle()
    sorted_by(again, numbers, children=3, top=20)
    assert again.calls > model.calls


def test_each_comparison_shows_a_parent_and_its_children():
    model = RecordingModel()
    titles = [f"film {i}" for i in range(9)]
    reranker = Setwise(model, children=3, top=1, shuffles=0, calibrate=False).fit(films(titles))
    ranking = Ranking(np.arange(9, dtype=np.int32), -np.arange(9.0))
    reranker.rerank([Query(history=np.array([0], dtype=np.int32))], [ranking])
    shown = [[line[3:] for line in prompt.splitlines() if line[1:3] == ". "] for prompt, _ in model.asked]
    assert shown[:3] == [
        ["film 2", "film 7", "film 8"],
        ["film 1", "film 4", "film 5", "film 6"],
        ["film 0", "film 1", "film 2", "film 3"],
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"children": 0}, "children must be from 1 to 25, not 0"),
        ({"children": 26}, "children must be from 1 to 25, not 26"),
        ({"top": 0}, "top must be at least 1, not 0"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ConfigError, match=message):
        Setwise(UnigramModel(), **settings)
