from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from frugalrec.data.dataset import Split
from frugalrec.data.samples import miniature, sampled
from frugalrec.data.splits.leave_last_out import LeaveLastOut
from frugalrec.errors import ConfigError
from frugalrec.testing.data import toy_dataset

SPLIT: Split = LeaveLastOut().split(toy_dataset(n_users=200, n_items=60, cold=3, seed=2))


def users_of(split: Split) -> set[int]:
    return {int(u) for u in split.train.interactions.user}


def events_by_name(split: Split, user: int) -> list[str]:
    log = split.train.interactions
    return [log.items.ids[i] for i in log.item[log.events_of(user)]]


def test_a_sample_holds_whole_users_and_their_queries() -> None:
    part = sampled(SPLIT, 0.25, max_queries=1000)
    chosen = users_of(part)
    assert 25 <= len(chosen) <= 75
    assert {q.user for q in part.validation.queries} == chosen
    assert len(part.test) == 0
    for user in chosen:
        assert events_by_name(part, user) == events_by_name(SPLIT, user)


def test_items_keep_their_names_under_new_codes() -> None:
    part = sampled(SPLIT, 0.05, max_queries=1000)
    assert part.train.n_items < SPLIT.train.n_items
    whole = {q.user: i for i, q in enumerate(SPLIT.validation.queries)}
    names, all_names = part.train.catalog.items.ids, SPLIT.train.catalog.items.ids
    for query, relevant in zip(part.validation.queries, part.validation.relevant, strict=True):
        i = whole[query.user]
        assert names[query.history].tolist() == all_names[SPLIT.validation.queries[i].history].tolist()
        assert names[relevant].tolist() == all_names[SPLIT.validation.relevant[i]].tolist()
    titles = dict(zip(all_names, SPLIT.train.catalog.texts(), strict=True))
    assert part.train.catalog.texts() == [titles[name] for name in names]


def test_a_larger_sample_has_the_same_users_and_more() -> None:
    small, large = (users_of(sampled(SPLIT, share, max_queries=1000, seed=3)) for share in (0.2, 0.6))
    assert small < large
    assert users_of(sampled(SPLIT, 1.0, max_queries=1000)) == users_of(SPLIT)
    assert len(sampled(SPLIT, 1.0, max_queries=7).validation) == 7


def test_candidates_and_strangers_are_sampled_too() -> None:
    fold = SPLIT.validation
    strange = [replace(q, user=None, candidates=np.arange(SPLIT.train.n_items, dtype=np.int32)) for q in fold.queries]
    part = sampled(replace(SPLIT, validation=replace(fold, queries=strange)), 0.25, max_queries=1000)
    assert 25 <= len(part.validation) <= 75
    for query in part.validation.queries:
        assert query.candidates is not None
        assert query.candidates.tolist() == list(range(part.train.n_items))


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5])
def test_what_is_no_share_is_told(share: float) -> None:
    with pytest.raises(ConfigError, match="a share above 0 and at most 1"):
        sampled(SPLIT, share, max_queries=10)


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
