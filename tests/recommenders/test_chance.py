from dataclasses import replace

import numpy as np

from frugalrec.cost import Ledger
from frugalrec.data.dataset import Query
from frugalrec.recommenders.chance import Chance
from frugalrec.testing.data import toy_dataset


def test_scores_are_uniform():
    dataset = toy_dataset(n_items=40)
    scores = Chance().fit(dataset).score([Query(user=user) for user in range(500)])
    assert scores.min() >= 0
    assert scores.max() < 1
    assert abs(scores.mean() - 0.5) < 0.01
    # Every item comes first about equally often: a χ² statistic of 39 degrees of freedom stays below 80 nearly always.
    first = np.bincount(scores.argmax(axis=1), minlength=40)
    assert ((first - 12.5) ** 2 / 12.5).sum() < 80


def test_scores_depend_on_seed_user_and_history_and_on_nothing_else():
    dataset = toy_dataset()
    chance = Chance(seed=1).fit(dataset)
    query = dataset.query(3)
    row = chance.score([query])
    for same in (query, replace(query, now=5.0, text="words", exclude=query.history)):
        np.testing.assert_array_equal(chance.score([dataset.query(0), same])[1:], row)
    for other in (replace(query, user=4), replace(query, user=None), replace(query, history=query.history[1:])):
        assert not np.array_equal(chance.score([other]), row)
    assert not np.array_equal(Chance(seed=2).fit(dataset).score([query]), row)


def test_one_flop_a_number():
    ledger = Ledger()
    chance = Chance().fit(toy_dataset(n_items=40))
    with ledger.span("score"):
        chance.score([Query(), Query()])
    assert ledger.entries[0].cost.flops == 80
