"""The sequential linear model: its equations, its text, its explanations, and what it forgets."""

from __future__ import annotations

import numpy as np
import pytest

from frugalrec.cost import Ledger
from frugalrec.data.dataset import Query
from frugalrec.errors import ConfigError, DataError, NotFittedError
from frugalrec.recommenders.sequential_linear import SequentialLinear, decayed_histories
from frugalrec.testing.data import toy_dataset
from frugalrec.testing.encoders import HashEncoder


def test_order_matters_to_it() -> None:
    """On a ring where i leads to i + 1, the newest item decides."""
    data = toy_dataset(n_users=120, n_items=20, seed=0)
    model = SequentialLinear(half_lives=(1.0,), ridge=1.0).fit(data)
    hits = 0
    for item in range(19):
        history = np.array([(item + 10) % 20, item], np.int32)
        hits += model.recommend([Query(history=history)], 1)[0].items[0] == item + 1
    assert hits >= 17


def test_states_weigh_history_by_age() -> None:
    from frugalrec.recommenders._statistics import Decay

    queries = [
        Query(history=np.array([3, 1, 3], np.int32), times=np.array([0.0, 60.0, 120.0])),
        Query(history=np.array([2, 0], np.int32)),
        Query(),
    ]
    found = decayed_histories(queries, [Decay(1.0, "positions"), Decay(60.0, "seconds")], 4).toarray()
    assert found[0].tolist() == [0, 0.5, 0, 1.25, 0, 0.5, 0, 1.25]
    # Without times the block in seconds sees the newest event alone.
    assert found[1].tolist() == [1, 0, 0.5, 0, 1, 0, 0, 0]
    assert not found[2].any()


def test_shards_fit_like_the_whole() -> None:
    data = toy_dataset(n_users=60, n_items=20, seed=1)
    log = data.interactions
    make = SequentialLinear(half_lives=(1.5, 8.0), gap_half_life=86400.0, reversed_weight=0.3, precision="float64")
    whole = make.fit(data).weights_
    model = make.read(data.catalog)
    parts = [model.accumulate(log.take(log.user % 3 == s)) for s in range(3)]
    np.testing.assert_allclose(model.solve(parts[2] + parts[0] + parts[1]).weights_, whole, atol=1e-8)


def test_forgetting_a_user_equals_refitting_without_them() -> None:
    data = toy_dataset(n_users=40, n_items=20, seed=2)
    log = data.interactions
    model = SequentialLinear(ridge=2.0, encoder=HashEncoder(), text_prior=2.0, precision="float64").read(data.catalog)
    forgotten = model.solve(model.accumulate(log) - model.accumulate(log.take(log.user == 7))).weights_
    rest = data.with_interactions(log.without_users(np.array([7], np.int32)))
    refitted = SequentialLinear(ridge=2.0, encoder=HashEncoder(), text_prior=2.0, precision="float64").fit(rest)
    np.testing.assert_allclose(forgotten, refitted.weights_, atol=1e-8)


def test_float32_ranks_as_float64_does() -> None:
    data = toy_dataset(n_users=80, n_items=30, seed=3)
    queries = [data.query(u) for u in range(80)]
    single = SequentialLinear(ridge=5.0).fit(data).score(queries)
    double = SequentialLinear(ridge=5.0, precision="float64").fit(data).score(queries)
    np.testing.assert_allclose(single, double, atol=1e-4)


def test_cold_items_are_ranked_by_text() -> None:
    data = toy_dataset(n_users=60, n_items=25, seed=4, cold=5)
    cold = np.arange(20, 25)
    query = Query(history=np.array([19, 18], np.int32))
    plain = SequentialLinear().fit(data).score([query])[0, cold]
    text = SequentialLinear(encoder=HashEncoder(), text_weight=4.0).fit(data).score([query])[0, cold]
    assert np.ptp(plain) == 0.0
    assert np.ptp(text) > 0.0


def test_words_move_the_ranking_of_a_stranger() -> None:
    data = toy_dataset(n_users=60, n_items=25, seed=5)
    model = SequentialLinear(encoder=HashEncoder(), whitening=0.3).fit(data)
    wanted = 17
    words = data.catalog.texts()[wanted]
    (ranking,) = model.recommend([Query(text=words)], 5)
    assert wanted in ranking.items


def test_explanations_are_the_terms_of_the_score() -> None:
    data = toy_dataset(n_users=60, n_items=25, seed=6)
    model = SequentialLinear(encoder=HashEncoder(), text_weight=2.0, ridge=5.0).fit(data)
    query = Query(history=np.array([4, 9], np.int32))
    items = np.array([10, 5], np.int32)
    score = model.score([query])[0, items]
    for total, reasons in zip(score, model.explain(query, items), strict=True):
        if total > 0 and len(reasons) == 2:
            assert sum(r.share for r in reasons) == pytest.approx(1.0, abs=1e-4)


def test_text_weight_zero_is_no_text() -> None:
    data = toy_dataset(n_users=40, n_items=20, seed=7)
    queries = [data.query(3)]
    with_text = SequentialLinear(encoder=HashEncoder(), text_weight=0.0).fit(data).score(queries)
    np.testing.assert_array_equal(with_text, SequentialLinear().fit(data).score(queries))


def test_flops_of_a_score() -> None:
    data = toy_dataset(n_users=40, n_items=20, seed=8)
    model = SequentialLinear(half_lives=(2.0,)).fit(data)
    ledger = Ledger()
    with ledger.span("score"):
        model.score([Query(history=np.array([1, 2, 3], np.int32))])
    assert ledger.entries[0].cost.flops == 2.0 * 3 * 20


def test_wrong_settings_and_early_use_are_told() -> None:
    with pytest.raises(ConfigError, match="half-life"):
        SequentialLinear(half_lives=())
    with pytest.raises(ConfigError, match="ridge"):
        SequentialLinear(ridge=-1.0)
    with pytest.raises(ConfigError, match="half_lives"):
        SequentialLinear(half_lives=(0.0,))
    with pytest.raises(NotFittedError, match="fit"):
        SequentialLinear().score([Query()])
    with pytest.raises(DataError, match="timestamps"):
        SequentialLinear(gap_half_life=60.0).fit(toy_dataset(n_users=5, n_items=20, timestamps=False))
