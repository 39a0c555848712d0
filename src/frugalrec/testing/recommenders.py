"""What every recommender must do, as plain functions that raise `AssertionError`.

A check takes a function that makes a fresh recommender and a data set that suits it (text where it reads text):

>>> from frugalrec.recommenders.popularity import Popularity
>>> from frugalrec.testing.data import toy_dataset
>>> for check in CHECKS:
...     check(Popularity, toy_dataset(cold=2))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from frugalrec.cost import Ledger
from frugalrec.data.dataset import Dataset, Query
from frugalrec.data.interactions import IntArray
from frugalrec.data.shape import DataShape
from frugalrec.errors import NotFittedError
from frugalrec.interfaces import Expects, Explains, Matrix, Recommender

HONEST = 1.5

Make = Callable[[], Recommender]
Check = Callable[[Make, Dataset], None]

N_QUERIES = 6
K = 5


def refuses_to_answer_before_fit(make: Make, dataset: Dataset) -> None:
    """`score`, `recommend` and `explain` raise `NotFittedError` with a hint."""
    recommender = make()
    query = dataset.query(0)
    calls: list[Callable[[], object]] = [
        lambda: recommender.score([query]),
        lambda: recommender.recommend([query], K),
    ]
    if isinstance(recommender, Explains):
        explains = recommender
        calls.append(lambda: explains.explain(query, np.zeros(1, dtype=np.int32)))
    for call in calls:
        error = _refusal(call)
        assert error is not None, "answered before fit"
        assert error.hint, "the error does not say what to do"


def scores_the_whole_catalogue(make: Make, dataset: Dataset) -> None:
    """Scores are finite float32 ``(n_queries, n_items)``, and the caller's to change."""
    recommender = make().fit(dataset)
    queries = requests(dataset)
    scores = recommender.score(queries)
    assert scores.shape == (len(queries), dataset.n_items)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    before = scores.copy()
    scores[:] = 0.0
    np.testing.assert_array_equal(recommender.score(queries), before)
    assert recommender.score([]).shape == (0, dataset.n_items)


def lists_are_short_distinct_and_descending(make: Make, dataset: Dataset) -> None:
    """At most k items, none twice, best first; a k beyond the catalogue returns what there is."""
    recommender = make().fit(dataset)
    assert recommender.recommend([], K) == []
    for k in (1, K, dataset.n_items + 10):
        for query, ranking in zip(requests(dataset), recommender.recommend(requests(dataset), k), strict=True):
            possible = dataset.n_items - len(np.unique(query.history))
            assert len(ranking) == len(ranking.scores) == min(k, possible)
            assert len(set(ranking.items.tolist())) == len(ranking)
            assert (np.diff(ranking.scores) <= 0).all()
            assert np.isfinite(ranking.scores).all()


def history_is_left_out(make: Make, dataset: Dataset) -> None:
    """Nothing already met comes back, unless the query allows it."""
    recommender = make().fit(dataset)
    queries = requests(dataset)
    for query, ranking in zip(queries, recommender.recommend(queries, dataset.n_items), strict=True):
        assert not np.isin(ranking.items, query.history).any()
    for ranking in recommender.recommend([replace(q, repeats=True) for q in queries], dataset.n_items):
        assert len(ranking) == dataset.n_items


def candidates_and_exclusions_are_respected(make: Make, dataset: Dataset) -> None:
    """Only candidates are returned, and never an excluded item, repeats or not."""
    recommender = make().fit(dataset)
    candidates = np.arange(0, dataset.n_items, 2, dtype=np.int32)
    exclude = np.array([0, 4], dtype=np.int32)
    for query in requests(dataset):
        for repeats in (False, True):
            asked = replace(query, candidates=candidates, exclude=exclude, repeats=repeats)
            (ranking,) = recommender.recommend([asked], dataset.n_items)
            allowed = np.setdiff1d(candidates, exclude if repeats else np.concatenate([exclude, query.history]))
            assert sorted(ranking.items.tolist()) == allowed.tolist()
        (nothing,) = recommender.recommend([replace(query, candidates=np.empty(0, dtype=np.int32))], K)
        assert len(nothing) == 0


def the_same_seed_gives_the_same_answer(make: Make, dataset: Dataset) -> None:
    """Two fits on the same data agree, to rounding."""
    queries = requests(dataset)
    _agree(make().fit(dataset).score(queries), make().fit(dataset).score(queries))


def batches_do_not_matter(make: Make, dataset: Dataset) -> None:
    """A query gets the same answer alone, among others, and in any order, to rounding."""
    recommender = make().fit(dataset)
    queries = requests(dataset)
    together = recommender.score(queries)
    _agree(together[::-1], recommender.score(queries[::-1]))
    lists = recommender.recommend(queries, K)
    for query, row, ranking in zip(queries, together, lists, strict=True):
        _agree(row[None], recommender.score([query]))
        (alone,) = recommender.recommend([query], K)
        _agree(alone.scores[None], ranking.scores[None])


def strangers_get_an_answer(make: Make, dataset: Dataset) -> None:
    """No history, no user, a user code nobody has: still finite scores and a list."""
    recommender = make().fit(dataset)
    known = dataset.query(0)
    for query in (
        Query(),
        replace(known, user=None),
        replace(known, user=dataset.n_users + 7),
        replace(known, now=1e9),
    ):
        assert np.isfinite(recommender.score([query])).all()
        assert len(recommender.recommend([query], 1)[0]) == 1


def words_count_where_they_are_read(make: Make, dataset: Dataset) -> None:
    """A stranger's words change the scores if the recommender ``reads_words``, and do not otherwise."""
    recommender = make().fit(dataset)
    silent, asked = recommender.score([Query(), Query(text=dataset.catalog.title(0))])
    assert bool((silent != asked).any()) == bool(getattr(recommender, "reads_words", False))


def unknown_items_in_the_history_do_no_harm(make: Make, dataset: Dataset) -> None:
    """An item that was never seen in training may stand in a history, first, last or alone."""
    events = dataset.interactions
    novel = int(events.item[0])
    recommender = make().fit(dataset.with_interactions(events.take(events.item != novel)))
    others = events.item[events.item != novel][:3]
    for history in ([novel], [novel, *others], [*others, novel], [novel, novel]):
        scores = recommender.score([Query(history=np.array(history, dtype=np.int32))])
        assert np.isfinite(scores).all()


def reasons_are_well_formed(make: Make, dataset: Dataset) -> None:
    """One tuple of reasons an item, largest share first, shares finite, history items from the history."""
    recommender = make().fit(dataset)
    if not isinstance(recommender, Explains):
        return
    items: IntArray = np.arange(dataset.n_items, dtype=np.int32)
    asked = [*requests(dataset), Query()]
    for query in [*asked, *(replace(q, text=dataset.catalog.title(0)) for q in asked)]:
        reasons = recommender.explain(query, items)
        assert len(reasons) == len(items)
        for given in reasons:
            shares = [reason.share for reason in given]
            assert np.isfinite(shares).all()
            assert shares == sorted(shares, reverse=True)
            assert all(reason.kind for reason in given)
            assert all(reason.item is None or reason.item in query.history for reason in given)
        assert recommender.explain(query, items[:0]) == []


def flops_are_charged(make: Make, dataset: Dataset) -> None:
    """Fitting and scoring tell their FLOPs (0 where there are none), and more queries cost more."""
    ledger = Ledger()
    recommender = make()
    with ledger.span("fit"):
        recommender.fit(dataset)
    queries = requests(dataset)
    for batch in (queries[:1], queries):
        with ledger.span("score"):
            recommender.score(batch)
    fit, one, many = (entry.cost.flops for entry in ledger.entries)
    assert fit is not None, "fit charged no FLOPs"
    assert one is not None, "score charged no FLOPs"
    assert many is not None
    assert fit >= 0
    assert many >= one >= 0


def expected_flops_are_those_charged(make: Make, dataset: Dataset) -> None:
    """What a recommender says it will take is what it then charges, within the spread that it admits to.

    A component that says nothing passes: its cost is unknown, and shown so.
    """
    recommender = make()
    if not isinstance(recommender, Expects):
        return
    expected = recommender.expected(DataShape.of(dataset))
    if expected.fit.flops is None:
        return
    ledger = Ledger()
    with ledger.span("fit"):
        recommender.fit(dataset)
    charged = ledger.entries[0].cost.flops
    assert charged is not None, "an amount was expected and none charged"
    low, high = expected.fit.flops / expected.fit.spread, expected.fit.flops * expected.fit.spread
    assert low * (1 - 1e-9) <= charged <= high * (1 + 1e-9), f"expected {low:g} to {high:g} FLOPs, charged {charged:g}"


def expected_flops_of_requests_are_those_charged(make: Make, dataset: Dataset) -> None:
    """What a recommender says a request takes is what requests charge in the mean, within a factor of `HONEST`.

    A factor beside the spread that it admits to, since formulas are of the average history, whose items differ.
    """
    recommender = make()
    if not isinstance(recommender, Expects):
        return
    expected = recommender.expected(DataShape.of(dataset))
    if expected.score.flops is None:
        return
    queries = [query for user in range(dataset.n_users) if len((query := dataset.query(user)).history)]
    recommender.fit(dataset)
    ledger = Ledger()
    with ledger.span("score"):
        for query in queries:
            recommender.score([query])
    charged = ledger.entries[0].cost.flops
    assert charged is not None, "an amount was expected and none charged"
    mean, factor = charged / len(queries), HONEST * expected.score.spread
    assert expected.score.flops / factor <= mean <= expected.score.flops * factor, (
        f"expected {expected.score.flops:g} FLOPs a request, charged {mean:g}"
    )


def an_empty_log_can_be_estimated(make: Make, dataset: Dataset) -> None:
    """What an empty log takes can be asked, as before anybody has come."""
    recommender = make()
    if not isinstance(recommender, Expects):
        return
    empty = dataset.with_interactions(dataset.interactions.take(np.empty(0, dtype=np.int64)))
    flops = recommender.expected(DataShape.of(empty)).fit.flops
    assert flops is None or 0 <= flops < np.inf, f"expected {flops} FLOPs of nothing"


def what_was_learned_is_enough(make: Make, dataset: Dataset) -> None:
    """A fresh recommender given the attributes that end in ``_`` answers like the fitted one; all can be stored."""
    fitted, fresh = make().fit(dataset), make()
    for source, target in zip(_with_members(fitted), _with_members(fresh), strict=True):
        for name, value in vars(source).items():
            if name.endswith("_") and not name.startswith("_"):
                plain = value is None or isinstance(value, bool | int | float | str | list | tuple | np.ndarray)
                assert plain or getattr(value, "format", "") == "csr", f"{name} is a {type(value).__name__}"
                setattr(target, name, value)
    queries = requests(dataset)
    _agree(fitted.score(queries), fresh.score(queries))


CHECKS: tuple[Check, ...] = (
    refuses_to_answer_before_fit,
    scores_the_whole_catalogue,
    lists_are_short_distinct_and_descending,
    history_is_left_out,
    candidates_and_exclusions_are_respected,
    the_same_seed_gives_the_same_answer,
    batches_do_not_matter,
    strangers_get_an_answer,
    words_count_where_they_are_read,
    unknown_items_in_the_history_do_no_harm,
    reasons_are_well_formed,
    flops_are_charged,
    expected_flops_are_those_charged,
    expected_flops_of_requests_are_those_charged,
    an_empty_log_can_be_estimated,
    what_was_learned_is_enough,
)
"""Every check, in the order to read a failure in."""


def requests(dataset: Dataset) -> list[Query]:
    """Return the queries that the checks ask: the first users, without their last event."""
    queries = [dataset.query(user) for user in range(min(N_QUERIES, dataset.n_users))]
    return [replace(q, history=q.history[:-1], times=None if q.times is None else q.times[:-1]) for q in queries]


def _refusal(call: Callable[[], object]) -> NotFittedError | None:
    try:
        call()
    except NotFittedError as error:
        return error
    return None


def _with_members(recommender: Recommender) -> Iterator[Any]:
    yield recommender
    for member in getattr(recommender, "members", [m for m in [getattr(recommender, "member", None)] if m is not None]):
        yield from _with_members(member)


def _agree(one: Matrix, other: Matrix) -> None:
    scale = max(1e-3, float(np.abs(one).max(initial=0.0)))
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4 * scale)


__all__ = [
    "CHECKS",
    "an_empty_log_can_be_estimated",
    "batches_do_not_matter",
    "candidates_and_exclusions_are_respected",
    "expected_flops_are_those_charged",
    "expected_flops_of_requests_are_those_charged",
    "flops_are_charged",
    "history_is_left_out",
    "lists_are_short_distinct_and_descending",
    "reasons_are_well_formed",
    "refuses_to_answer_before_fit",
    "requests",
    "scores_the_whole_catalogue",
    "strangers_get_an_answer",
    "the_same_seed_gives_the_same_answer",
    "unknown_items_in_the_history_do_no_harm",
    "what_was_learned_is_enough",
    "words_count_where_they_are_read",
]
