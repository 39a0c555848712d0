"""Ranks without one item of the history are those that a shorter history gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from frugalrec.data.dataset import Query
from frugalrec.recommenders.ease import Ease
from frugalrec.recommenders.item_knn import ItemKnn
from frugalrec.recommenders.popularity import Popularity
from frugalrec.recommenders.sequential_linear import SequentialLinear
from frugalrec.tasks.counterfactuals import counterfactuals
from frugalrec.testing.data import toy_dataset

DATA = toy_dataset(n_users=40, n_items=25)


@pytest.mark.parametrize("model", [Ease(), SequentialLinear(ridge=1.0), ItemKnn()], ids=lambda m: type(m).__name__)
def test_ranks_are_those_of_asking_again(model) -> None:
    model.fit(DATA)
    query = DATA.query(3)
    (ranking,) = model.recommend([query], 5)
    for item, found in zip(ranking.items, counterfactuals(model, query, ranking.items), strict=True):
        assert {c.without for c in found} == set(query.history.tolist())
        assert len({c.rank for c in found}) == 1
        for each in found:
            kept = query.history != each.without
            shorter = replace(query, history=query.history[kept], times=query.times[kept], exclude=query.history[~kept])
            (again,) = model.recommend([shorter], DATA.n_items)
            scores = model.score([shorter])[0]
            level = int((scores[again.items] == scores[item]).sum())
            first = int((scores[again.items] > scores[item]).sum()) + 1
            assert each.rank_without == pytest.approx(first + (level - 1) / 2)


def test_what_matters_most_comes_first() -> None:
    model = SequentialLinear(ridge=1.0).fit(DATA)
    query = DATA.query(0)
    (ranking,) = model.recommend([query], 1)
    (found,) = counterfactuals(model, query, ranking.items)
    falls = [c.rank_without - c.rank for c in found]
    assert falls == sorted(falls, reverse=True)
    assert found[0].without == query.history[-1]  # the next on the ring follows from the newest
    assert falls[0] > 0


def test_a_model_without_memory_does_not_mind() -> None:
    model = Popularity().fit(DATA)
    query = DATA.query(0)
    (ranking,) = model.recommend([query], 2)
    for found in counterfactuals(model, query, ranking.items):
        assert all(c.rank == c.rank_without for c in found)


def test_nothing_to_leave_out() -> None:
    model = Popularity().fit(DATA)
    assert counterfactuals(model, Query(), np.array([1, 2], dtype=np.int32)) == [[], []]
