from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.errors import DataError

USERS, ITEMS = IdMap(["ann", "bob", "cem"]), IdMap(["a", "b", "c", "d"])


def log(
    rows: list[tuple[int, int, float]], *, users: IdMap = USERS, items: IdMap = ITEMS, **options: Any
) -> Interactions:
    """Build a log of (user, item, timestamp) rows."""
    user, item, timestamp = (np.array([row[i] for row in rows]) for i in range(3))
    return Interactions.from_events(
        user.astype(np.int32), item.astype(np.int32), users, items, timestamp=timestamp, **options
    )


def test_canonical_order_is_user_then_time_then_file() -> None:
    events = log([(1, 0, 5.0), (0, 3, 2.0), (0, 2, 1.0), (1, 1, 4.0), (0, 1, 2.0)], value=np.arange(5.0))
    assert events.user.tolist() == [0, 0, 0, 1, 1]
    assert events.item.tolist() == [2, 3, 1, 1, 0]
    assert events.timestamp is not None
    assert events.timestamp.tolist() == [1, 2, 2, 4, 5]
    assert events.value is not None
    assert events.value.tolist() == [2, 1, 4, 3, 0]
    assert events.user.dtype == events.item.dtype == np.int32
    assert events.value.dtype == np.float32
    assert events.timestamp.dtype == np.float64


TIED = [(0, 2, 1.0), (0, 0, 1.0), (0, 3, 1.0), (0, 1, 1.0), (0, 1, 0.0)]


def test_ties_in_time_are_broken_as_asked() -> None:
    assert log(TIED).item.tolist() == [1, 2, 0, 3, 1]
    assert log(TIED, ties="file").item.tolist() == [1, 2, 0, 3, 1]
    assert log(TIED, ties="item-id").item.tolist() == [1, 0, 1, 2, 3]
    shuffled = [tuple(log(TIED, ties="random", seed=seed).item.tolist()) for seed in range(20)]
    assert all(order[0] == 1 and sorted(order[1:]) == [0, 1, 2, 3] for order in shuffled)
    assert len(set(shuffled)) > 5
    assert log(TIED, ties="random", seed=3).item.tolist() == list(shuffled[3])


@pytest.mark.parametrize("timestamp", [None, np.zeros(1)])
def test_an_unknown_order_of_ties_is_refused(timestamp: Any) -> None:
    one = np.zeros(1, dtype=np.int32)
    with pytest.raises(DataError, match="'file', 'item-id' or 'random', not 'fiel'"):
        Interactions.from_events(one, one, USERS, ITEMS, timestamp=timestamp, ties="fiel")  # type: ignore[arg-type]


def test_without_timestamps_the_order_of_rows_counts() -> None:
    user, item = np.array([1, 0, 1, 0], dtype=np.int32), np.array([3, 2, 1, 0], dtype=np.int32)
    for ties in ("file", "item-id", "random"):
        events = Interactions.from_events(user, item, USERS, ITEMS, ties=ties)
        assert events.item.tolist() == [2, 0, 3, 1]
        assert events.timestamp is None


def test_columns_must_fit() -> None:
    two, three = np.zeros(2, dtype=np.int32), np.zeros(3, dtype=np.int32)
    with pytest.raises(DataError, match="column 'item' has 3 rows, 'user' has 2"):
        Interactions.from_events(two, three, USERS, ITEMS)
    with pytest.raises(DataError, match="column 'value' has 3 rows"):
        Interactions.from_events(two, two, USERS, ITEMS, value=np.zeros(3))
    for user, item in ((3, 0), (0, 4), (-1, 0), (0, -1)):
        with pytest.raises(DataError, match="outside its id map"):
            Interactions.from_events(np.array([user], np.int32), np.array([item], np.int32), USERS, ITEMS)


def test_each_user_owns_a_run_of_rows() -> None:
    events = log([(0, 0, 1.0), (2, 1, 1.0), (2, 2, 2.0)])
    assert events.offsets.tolist() == [0, 1, 1, 3]
    assert events.events_of(1) == slice(1, 1)
    assert events.item[events.events_of(2)].tolist() == [1, 2]
    assert [(user, items.tolist()) for user, items in events.sequences()] == [(0, [0]), (2, [1, 2])]
    assert (len(events), events.n_users, events.n_items) == (3, 3, 4)


def test_popularity_counts_events_and_the_matrix_does_not() -> None:
    events = log([(0, 0, 1.0), (0, 0, 2.0), (1, 0, 1.0), (1, 2, 1.0)])
    assert events.popularity.tolist() == [3, 0, 1, 0]
    np.testing.assert_array_equal(events.matrix().toarray(), [[1, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]])
    assert events.matrix().dtype == np.float32


def test_an_empty_log_is_a_log() -> None:
    nothing = np.empty(0, dtype=np.int32)
    events = Interactions.from_events(nothing, nothing, IdMap([]), ITEMS)
    assert events.offsets.tolist() == [0]
    assert events.popularity.tolist() == [0, 0, 0, 0]
    assert list(events.sequences()) == []
    assert events.matrix().shape == (0, 4)


def test_taking_rows_keeps_everything_in_step() -> None:
    events = log([(0, 0, 1.0), (0, 1, 2.0), (1, 2, 3.0)], value=np.array([5.0, 4.0, 3.0]))
    for rows in (np.array([0, 2]), np.array([True, False, True])):
        taken = events.take(rows)
        assert taken.item.tolist() == [0, 2]
        assert taken.value is not None
        assert taken.value.tolist() == [5, 3]
        assert taken.timestamp is not None
        assert taken.timestamp.tolist() == [1, 3]
        assert taken.users is events.users
        assert taken.offsets.tolist() == [0, 1, 2, 2]


def test_forgetting_users_keeps_the_id_maps() -> None:
    events = log([(0, 0, 1.0), (1, 1, 1.0), (2, 2, 1.0), (1, 3, 2.0)])
    left = events.without_users(np.array([1], dtype=np.int32))
    assert left.user.tolist() == [0, 2]
    assert left.n_users == 3
    assert left.offsets.tolist() == [0, 1, 1, 2]
    assert len(events) == 4


def test_the_fingerprint_changes_with_whatever_matters() -> None:
    rows = [(0, 0, 1.0), (0, 1, 2.0), (1, 2, 3.0)]
    prints = [
        log(rows).fingerprint(),
        log([(0, 1, 1.0), (0, 0, 2.0), (1, 2, 3.0)]).fingerprint(),
        log([(0, 0, 1.0), (0, 1, 2.5), (1, 2, 3.0)]).fingerprint(),
        log([(0, 0, 1.0), (1, 1, 2.0), (1, 2, 3.0)]).fingerprint(),
        log(rows[:2]).fingerprint(),
        log(rows, value=np.ones(3)).fingerprint(),
        log(rows, users=IdMap(["ann", "bob", "cey"])).fingerprint(),
        log(rows, items=IdMap(["a", "b", "c", "e"])).fingerprint(),
    ]
    assert len(set(prints)) == len(prints)
    assert log(rows[::-1]).fingerprint() == prints[0]


def test_ids_that_join_to_the_same_text_are_told_apart() -> None:
    one = [(0, 0, 1.0)]
    assert (
        log(one, users=IdMap(["a"]), items=IdMap(["bc"])).fingerprint()
        != log(one, users=IdMap(["ab"]), items=IdMap(["c"])).fingerprint()
    )


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 3).map(float)), max_size=20),
    st.sampled_from(["file", "item-id", "random"]),
)
def test_ordering_loses_nothing_and_is_stable_once_done(rows: list[tuple[int, int, float]], ties: Any) -> None:
    events = log(rows, ties=ties)
    assert events.timestamp is not None
    found = list(zip(events.user.tolist(), events.item.tolist(), events.timestamp.tolist(), strict=True))
    assert sorted(found) == sorted(rows)
    keys = [(user, time) for user, _, time in found]
    assert keys == sorted(keys)
    again = Interactions.from_events(events.user, events.item, USERS, ITEMS, timestamp=events.timestamp)
    assert again.fingerprint() == events.fingerprint()
