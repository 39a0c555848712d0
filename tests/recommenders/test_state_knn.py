"""Known answers of the neighbours among training states, and what the two-stage search may lose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset, Query
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.errors import ConfigError
from frugalrec.recommenders.state_knn import StateKnn
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
