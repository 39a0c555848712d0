from __future__ import annotations

import numpy as np
import pytest

from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.data.splits.leave_last_out import LeaveLastOut
from frugalrec.errors import ConfigError, DataError


def dataset(*sequences: str) -> Dataset:
    """One user a string, one event a letter, a second apart."""
    items = IdMap("abcdefgh")
    user = np.repeat(np.arange(len(sequences), dtype=np.int32), [len(s) for s in sequences])
    time = np.concatenate([np.arange(len(s)) for s in sequences]).astype(np.float64)
    log = Interactions.from_events(
        user, items.codes("".join(sequences)), IdMap(f"u{i}" for i in range(len(sequences))), items, timestamp=time
    )
    return Dataset(log, Catalog(items))


def words(data: Dataset, codes: np.ndarray) -> str:
    return "".join(data.catalog.items.ids[codes])


def test_a_sequence_worked_by_hand() -> None:
    data = dataset("abcde", "fg", "hab")
    split = LeaveLastOut().split(data)
    train = split.train.interactions
    assert [words(data, items) for _, items in train.sequences()] == ["abc", "fg", "h"]
    validation, test = split.validation, split.test
    assert [words(data, q.history) for q in validation.queries] == ["abc", "h"]
    assert [words(data, r) for r in validation.relevant] == ["d", "a"]
    assert [words(data, q.history) for q in test.queries] == ["abcd", "ha"]
    assert [words(data, r) for r in test.relevant] == ["e", "b"]
    assert [q.user for q in test.queries] == [0, 2]
    assert [q.now for q in validation.queries] == [3.0, 1.0]
    assert [q.now for q in test.queries] == [4.0, 2.0]
    times = test.queries[0].times
    assert times is not None
    assert times.tolist() == [0, 1, 2, 3]
    assert split.settings["short_users"] == 1


def test_users_with_fewer_than_min_events_stay_in_train() -> None:
    data = dataset("abcde", "fgha")
    split = LeaveLastOut(min_events=5).split(data)
    assert [words(data, items) for _, items in split.train.interactions.sequences()] == ["abc", "fgha"]
    assert len(split.test) == 1


def test_the_last_events_are_those_with_an_item_new_to_the_user() -> None:
    # The first user met two items in all; of the second the last event repeats the one before, of the third an earlier.
    data = dataset("abab", "cdee", "fgfha", "abcac")
    split = LeaveLastOut().split(data)
    train = [words(data, items) for _, items in split.train.interactions.sequences()]
    assert train == ["abab", "c", "fgf", "a"]
    assert [words(data, q.history) for q in split.validation.queries] == ["c", "fgf", "a"]
    assert [words(data, r) for r in split.validation.relevant] == ["d", "h", "b"]
    assert [words(data, q.history) for q in split.test.queries] == ["cd", "fgfh", "ab"]
    assert [words(data, r) for r in split.test.relevant] == ["e", "a", "c"]
    assert [q.now for q in split.test.queries] == [2.0, 4.0, 2.0]
    assert split.settings["short_users"] == 1
    assert split.settings["unused_events"] == 3


def test_a_log_written_twice_is_split_like_the_log() -> None:
    once, twice = LeaveLastOut().split(dataset("abcd", "efg")), LeaveLastOut().split(dataset("aabbccdd", "eeffgg"))
    assert [r.tolist() for r in twice.test.relevant] == [r.tolist() for r in once.test.relevant]
    assert [r.tolist() for r in twice.validation.relevant] == [r.tolist() for r in once.validation.relevant]


def test_repeats_keep_them_and_allow_every_query_to_return_seen_items() -> None:
    split = LeaveLastOut(repeats=True).split(dataset("abab", "cdee", "fgha"))
    assert len(split.validation) == len(split.test) == 3
    assert all(q.repeats for q in [*split.validation.queries, *split.test.queries])


def test_ties_in_time_keep_the_order_of_the_log() -> None:
    items = IdMap("abcd")
    log = Interactions.from_events(
        np.zeros(4, np.int32), np.array([3, 1, 0, 2], np.int32), IdMap(["u"]), items, timestamp=np.zeros(4)
    )
    split = LeaveLastOut().split(Dataset(log, Catalog(items)))
    assert split.validation.relevant[0].tolist() == [0]
    assert split.test.relevant[0].tolist() == [2]


def test_no_user_with_enough_events() -> None:
    with pytest.raises(DataError, match="nothing for validation"):
        LeaveLastOut().split(dataset("ab", "cd"))


def test_fewer_than_three_events_cannot_be_asked_for() -> None:
    with pytest.raises(ConfigError, match="at least 3"):
        LeaveLastOut(min_events=2)
