"""A small copy of a split keeps what it keeps as it was."""

from __future__ import annotations

import numpy as np
import pytest

from frugalrec.data.dataset import Split
from frugalrec.data.miniature import miniature
from frugalrec.data.splits.leave_last_out import LeaveLastOut
from frugalrec.testing.data import toy_dataset


@pytest.fixture(scope="module")
def split() -> Split:
    return LeaveLastOut().split(toy_dataset(n_users=60, n_items=40, seed=1))


def _ids(split: Split, codes: np.ndarray) -> list[str]:
    return split.train.catalog.items.ids[codes].tolist()


def test_the_most_popular_items_stay_with_their_text_and_events(split: Split) -> None:
    small = miniature(split, n_items=10, n_events=10**9, n_queries=1000)
    popularity = split.train.interactions.popularity
    assert small.train.n_items == 10
    assert popularity[split.train.catalog.items.codes(small.train.catalog.items.ids.tolist())].sum() == (
        np.sort(popularity)[-10:].sum()
    )
    assert len(small.train.interactions) == np.sort(popularity)[-10:].sum()
    for code, text in enumerate(small.train.catalog.texts()):
        assert text == split.train.catalog.texts()[split.train.catalog.items.code(_ids(small, np.array([code]))[0])]
    kept = set(small.train.catalog.items.ids.tolist())
    for user, items in small.train.interactions.sequences():
        whole = _ids(split, split.train.interactions.item[split.train.interactions.events_of(user)])
        assert _ids(small, items) == [id_ for id_ in whole if id_ in kept]


def test_requests_keep_their_histories_and_what_they_ask_for(split: Split) -> None:
    small = miniature(split, n_items=15, n_events=10**9, n_queries=1000)
    kept = set(small.train.catalog.items.ids.tolist())
    expected = [
        (
            [id_ for id_ in _ids(split, query.history) if id_ in kept],
            [id_ for id_ in _ids(split, relevant) if id_ in kept],
        )
        for query, relevant in zip(split.validation.queries, split.validation.relevant, strict=True)
    ]
    expected = [(history, relevant) for history, relevant in expected if relevant]
    found = [
        (_ids(small, query.history), _ids(small, relevant))
        for query, relevant in zip(small.validation.queries, small.validation.relevant, strict=True)
    ]
    assert found == expected
    assert len(small.test) == 0
    assert all(q.times is None or len(q.times) == len(q.history) for q in small.validation.queries)


def test_it_is_no_larger_than_asked(split: Split) -> None:
    whole = miniature(split, n_items=1000, n_events=10**9, n_queries=10**6)
    assert len(whole.train.interactions) == len(split.train.interactions)
    small = miniature(split, n_items=1000, n_events=50, n_queries=5, seed=3)
    longest = np.diff(split.train.interactions.offsets).max()
    assert 50 <= len(small.train.interactions) < 50 + longest
    assert len(small.validation) == 5
    again = miniature(split, n_items=1000, n_events=50, n_queries=5, seed=3)
    assert small.train.fingerprint() == again.train.fingerprint()
