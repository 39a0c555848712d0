"""Known answers of the neighbours among training states, and what the two-stage search may lose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset, Query
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.errors import ConfigError
from frugalrec.recommenders import state_knn
from frugalrec.recommenders.state_knn import StateKnn, _largest
from frugalrec.testing.data import toy_dataset


def _dataset(*sequences: str, times: list[float] | None = None) -> Dataset:
    items = IdMap("abcdefgh")
    user = np.repeat(np.arange(len(sequences)), [len(s) for s in sequences]).astype(np.int32)
    item = np.array(["abcdefgh".index(c) for s in sequences for c in s], dtype=np.int32)
    users = IdMap([f"u{i}" for i in range(len(sequences))])
    stamps = None if times is None else np.array(times)
    return Dataset(Interactions.from_events(user, item, users, items, timestamp=stamps), Catalog(items))


def _history(text: str) -> np.ndarray:
    return np.array(["abcdefgh".index(c) for c in text], dtype=np.int32)


def test_votes_of_hand_worked_states() -> None:
    # Half-life 1: the state "ab" weighs a ½, b 1. Of the training states with a future only "ab" (cosine 1) and "a"
    # share an item with it; "a" has cosine ½ / √1.25. With sharpness 1, "ab" votes c; "a" votes b, and c by half.
    model = StateKnn(half_life=1.0, sharpness=1.0).fit(_dataset("abc", "dh"))
    scores = model.score([Query(history=_history("ab"))])[0]
    near = 0.5 / np.sqrt(1.25)
    expected = np.zeros(8)
    expected[2] = (1.0 + 0.5 * near) / (1.0 + near)
    expected[1] = near / (1.0 + near)
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_reasons_share_out_the_votes_by_the_terms_of_the_cosines() -> None:
    # As above: c has a whole vote from "ab", whose cosine is a fifth a's and four fifths b's, and half a vote from "a".
    model = StateKnn(half_life=1.0, sharpness=1.0).fit(_dataset("abc", "dh"))
    query = Query(history=_history("ab"))
    (reasons,) = model.explain(query, _history("c"))
    near = 0.5 / np.sqrt(1.25)
    from_a, from_b = 0.2 + 0.5 * near, 0.8
    shares = {reason.item: reason.share for reason in reasons}
    assert shares[0] == pytest.approx(from_a / (from_a + from_b), rel=1e-6)
    assert shares[1] == pytest.approx(from_b / (from_a + from_b), rel=1e-6)


def test_what_is_recalled_is_what_would_be_found() -> None:
    data = toy_dataset(n_users=60, n_items=20, seed=0)
    queries = [data.query(user) for user in range(20)]
    model, recalling = StateKnn(neighbours=5).fit(data), StateKnn(neighbours=5)
    recalling.recalled = {}
    recalling.fit(data)
    for neighbours, sharpness in ((5, 5.0), (20, 5.0), (20, 1.0)):
        for one in (model, recalling):
            one.neighbours, one.sharpness = neighbours, sharpness
        np.testing.assert_array_equal(recalling.score(queries), model.score(queries))
        assert len(recalling.recalled) == 20
    recalling.half_life = model.half_life = 1.0
    np.testing.assert_array_equal(recalling.fit(data).score(queries), model.fit(data).score(queries))


def test_no_more_is_recalled_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_knn, "MOST_RECALLED", 10)
    data = toy_dataset(n_users=60, n_items=20, seed=0)
    queries = [data.query(user) for user in range(20)]
    model = StateKnn().fit(data)
    wanted = model.score(queries)
    model.recalled = {}
    model.score(queries[:8])
    np.testing.assert_array_equal(model.score(queries), wanted)
    assert len(model.recalled) == 8


@pytest.mark.parametrize("timed", [False, True])
def test_with_a_pool_of_all_states_cosines_are_those_of_the_definition(timed: bool) -> None:
    data = toy_dataset(n_users=12, n_items=8, seed=3)
    log = data.interactions if timed else replace(data.interactions, timestamp=None)
    data = replace(data, interactions=log)
    model = StateKnn(neighbours=10**6, pool=10**6, sharpness=1.0, reach=4, half_life=2.0).fit(data)
    query = data.query(0)
    mine = _state(query.history, query.times if timed else None)
    expected = np.zeros(data.n_items)
    total = 0.0
    for user in range(log.n_users):
        rows = log.events_of(user)
        for t in range(rows.start, rows.stop - 1):
            known = slice(rows.start, t + 1)
            theirs = _state(log.item[known], log.timestamp[known] if timed else None)
            shared = [i for i in theirs if i in {int(i) for i in query.history[-8:]}]
            cosine = sum(mine.get(i, 0.0) * w for i, w in theirs.items()) / _norm(theirs) / _norm(mine)
            if not shared:
                continue
            total += cosine
            for j, item in enumerate(log.item[t + 1 : min(t + 6, rows.stop)]):
                expected[item] += cosine * 2.0**-j
    np.testing.assert_allclose(model.score([query])[0], expected / total, rtol=1e-5)


def _state(items: np.ndarray, times: np.ndarray | None) -> dict[int, float]:
    state: dict[int, float] = {}
    for lag, item in enumerate(items[::-1][:4].tolist()):
        recent = 1.0 if times is None else 2.0 ** (-(times[-1] - times[len(times) - 1 - lag]) / 60.0)
        state[item] = state.get(item, 0.0) + 2.0 ** (-lag / 2.0) * (0.3 + 0.7 * recent)
    return state


def _norm(state: dict[int, float]) -> float:
    return float(np.sqrt(sum(weight**2 for weight in state.values())))


@pytest.mark.parametrize("stretch", [1, 7, 64])
def test_scores_do_not_depend_on_how_the_log_is_cut(stretch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = toy_dataset(30, 20, seed=2)
    queries = [data.query(user) for user in range(30)]
    whole = StateKnn().fit(data).score(queries)
    monkeypatch.setattr(state_knn, "STRETCH", stretch)
    cut = StateKnn().fit(data)
    np.testing.assert_array_equal(cut.score(queries), whole)
    np.testing.assert_array_equal(np.concatenate([cut.score([query]) for query in queries]), whole)


def test_order_tells_two_paths_apart() -> None:
    model = StateKnn(half_life=1.0, neighbours=1).fit(_dataset("abcd", "badh"))
    ahead, back = model.recommend([Query(history=_history("ab")), Query(history=_history("ba"))], k=1)
    assert ahead.items.tolist() == [2]
    assert back.items.tolist() == [3]


def test_long_gaps_weaken_what_lies_before() -> None:
    # Both states are "ab"; in the first a is a day old, in the second a second. A query in a hurry follows the second.
    data = _dataset("abc", "abd", times=[0.0, 86_400.0, 86_401.0, 0.0, 1.0, 2.0])
    model = StateKnn(neighbours=1).fit(data)
    query = Query(history=_history("ab"), times=np.array([0.0, 1.0]))
    assert model.recommend([query], k=1)[0].items.tolist() == [3]
    late = replace(query, times=np.array([0.0, 86_400.0]))
    assert model.recommend([late], k=1)[0].items.tolist() == [2]


@pytest.mark.parametrize("seed", [0, 1])
def test_estimating_first_finds_what_the_full_comparison_finds(seed: int) -> None:
    data = toy_dataset(n_users=60, n_items=25, seed=seed)
    queries = [data.query(user) for user in range(20)]
    whole = StateKnn(neighbours=5, pool=10**6).fit(data).recommend(queries, 5)
    quick = StateKnn(neighbours=5, pool=100).fit(data).recommend(queries, 5)
    shared = [len(np.intersect1d(a.items, b.items)) for a, b in zip(whole, quick, strict=True)]
    assert np.mean(shared) >= 4.5


@pytest.mark.parametrize("setting", [{"neighbours": 0}, {"half_life": 0.0}, {"late_share": 1.5}])
def test_settings_out_of_range_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        StateKnn(**setting)  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=3000), st.integers(1, 40))
def test_the_largest_values_are_found_whatever_a_sample_says(values: list[int], k: int) -> None:
    given_values = np.array(values, dtype=np.float32)
    found = _largest(given_values, k)
    assert len(set(found.tolist())) == len(found) == min(k, len(values))
    assert sorted(given_values[found].tolist()) == sorted(values)[-k:]
