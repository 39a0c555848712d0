from __future__ import annotations

import numpy as np
import pytest

from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.data.splits.global_time import GlobalTime
from frugalrec.errors import ConfigError, DataError


def dataset(*events: tuple[int, int, float]) -> Dataset:
    """Events as (user, item, time)."""
    user, item, time = (np.array(column) for column in zip(*events, strict=True))
    items = IdMap(map(str, range(20)))
    log = Interactions.from_events(
        user.astype(np.int32), item.astype(np.int32), IdMap(map(str, range(5))), items, timestamp=time
    )
    return Dataset(log, Catalog(items))


START = [(0, 0, 0.0), (0, 1, 1.0), (1, 2, 2.0), (1, 3, 3.0), (0, 4, 4.0), (2, 5, 5.0), (0, 6, 6.0), (1, 7, 7.0)]


def test_cuts_worked_by_hand() -> None:
    split = GlobalTime().split(dataset(*START, (0, 8, 8.0), (1, 9, 9.0)))
    assert split.settings["validation_from"] == 8.0
    assert split.settings["test_from"] == 9.0
    assert len(split.train.interactions) == 8
    (validation,), (test,) = split.validation.queries, split.test.queries
    assert validation.user == 0
    assert validation.now == 8.0
    assert validation.history.tolist() == [0, 1, 4, 6]
    assert test.user == 1
    assert test.history.tolist() == [2, 3, 7]
    assert split.test.relevant[0].tolist() == [9]


def test_events_at_the_cut_are_all_on_the_later_side() -> None:
    # The cut falls on time 7, which two events of user 1 share: both are held out.
    events = [*START[:7], (1, 7, 7.0), (1, 8, 7.0), (0, 9, 9.0)]
    split = GlobalTime().split(dataset(*events))
    assert split.train.interactions.timestamp is not None
    assert split.train.interactions.timestamp.max() == 6.0
    assert split.validation.relevant[0].tolist() == [7, 8]
    assert split.validation.queries[0].history.tolist() == [2, 3]


def test_test_history_holds_the_validation_events() -> None:
    split = GlobalTime().split(dataset(*START, (0, 8, 8.0), (0, 9, 9.0)))
    assert split.test.queries[0].history.tolist() == [0, 1, 4, 6, 8]


def test_seen_and_repeated_items_are_no_answers() -> None:
    data = dataset(*START, *START, (0, 8, 8.0), (0, 8, 8.5), (0, 0, 9.0), (0, 9, 9.0))
    split = GlobalTime(fractions=(0.8, 0.1, 0.1)).split(data)
    assert split.validation.relevant[0].tolist() == [8]
    assert split.settings["validation"]["dropped_repeated"] == 1
    assert split.test.relevant[0].tolist() == [9]
    assert split.settings["test"]["dropped_seen"] == 1


# With four more events after these there are twenty: the cuts fall on times 8 and 9.
SIXTEEN = [*START, *[(0, 10 + i, 7.1 + i / 100) for i in range(8)]]


def test_cold_users_are_dropped_and_counted_or_kept() -> None:
    data = dataset(*SIXTEEN, (0, 8, 8.0), (3, 8, 8.5), (0, 9, 9.0), (4, 9, 9.5))
    dropped = GlobalTime().split(data)
    assert [q.user for q in dropped.validation.queries] == [0]
    assert dropped.settings["validation"]["cold_users"] == dropped.settings["validation"]["dropped_cold"] == 1
    assert dropped.settings["test"]["cold_users"] == 1
    kept = GlobalTime(cold_users="keep").split(data)
    assert [q.user for q in kept.validation.queries] == [0, None]
    assert kept.validation.queries[1].history.tolist() == []
    assert kept.settings["validation"]["dropped_cold"] == 0


def test_a_user_first_seen_in_the_validation_window_has_a_history_in_test_but_no_code() -> None:
    data = dataset(*SIXTEEN, (0, 8, 8.0), (3, 8, 8.5), (0, 9, 9.0), (3, 9, 9.5))
    split = GlobalTime().split(data)
    assert [(q.user, q.history.tolist()) for q in split.test.queries][1] == (None, [8])


def test_timestamps_are_needed() -> None:
    items = IdMap("ab")
    log = Interactions.from_events(np.zeros(2, np.int32), np.arange(2, dtype=np.int32), IdMap(["u"]), items)
    with pytest.raises(DataError, match="timestamps") as caught:
        GlobalTime().split(Dataset(log, Catalog(items)))
    assert "leave-last-out" in caught.value.hint


def test_one_moment_for_all_events_cannot_be_split() -> None:
    with pytest.raises(DataError, match="nothing for train"):
        GlobalTime().split(dataset(*[(0, i, 1.0) for i in range(10)]))


def test_cold_users_must_be_known_words() -> None:
    with pytest.raises(ConfigError, match="cold_users"):
        GlobalTime(cold_users="maybe")  # type: ignore[arg-type]
