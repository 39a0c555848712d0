"""What holds for every split, whatever the log: nothing held out is learned from, and every event is accounted for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from frugalrec import registry
from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset, Fold, Split
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.errors import ConfigError, DataError

N_USERS, N_ITEMS = 5, 12


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    """Logs with repeated events and many ties in time; ``value`` tells events apart."""
    n = draw(st.integers(25, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_users = draw(st.integers(1, N_USERS))
    items = IdMap(f"i{i}" for i in range(N_ITEMS + 1))  # one more than anybody touches
    log = Interactions.from_events(
        rng.integers(n_users, size=n).astype(np.int32),
        rng.integers(N_ITEMS, size=n).astype(np.int32),
        IdMap(f"u{u}" for u in range(N_USERS)),
        items,
        value=np.arange(n, dtype=np.float64),
        timestamp=rng.integers(draw(st.integers(5, 200)), size=n).astype(np.float64),
    )
    return Dataset(log, Catalog(items))


def split_or_reject(kind: str, dataset: Dataset, **options: Any) -> Split:
    try:
        return registry.build("split", kind, options).split(dataset)  # type: ignore[no-any-return]
    except DataError:
        reject()


def event_ids(fold: Fold) -> list[np.ndarray[Any, Any]]:
    assert fold.values is not None
    return [values.astype(int) for values in fold.values]


def owner(log: Interactions) -> dict[int, tuple[int, int]]:
    """Return ``{event id: (user, item)}``."""
    assert log.value is not None
    columns = (log.value.astype(int), log.user, log.item)
    return {v: (u, i) for v, u, i in zip(*(column.tolist() for column in columns), strict=True)}


CASES: list[tuple[str, dict[str, Any]]] = [(kind, {}) for kind in registry.names("split")] + [
    ("leave-last-out", {"repeats": True}),
    ("leave-last-out", {"min-events": 6}),
    ("global-time", {"cold-users": "keep", "fractions": [0.5, 0.25, 0.25]}),
    ("random", {"fractions": [0.2, 0.4, 0.4], "seed": 3}),
    ("cold-items", {"min-events": 2, "seed": 3}),
]


@pytest.mark.parametrize(("kind", "options"), CASES)
@given(dataset=datasets())
@settings(max_examples=60, deadline=None)
def test_every_event_is_in_train_or_relevant_or_counted_as_dropped(
    kind: str, options: dict[str, Any], dataset: Dataset
) -> None:
    split = split_or_reject(kind, dataset, **options)
    accounted = len(split.train.interactions)
    assert accounted == split.settings["train_events"]
    for name, fold in (("validation", split.validation), ("test", split.test)):
        counts = split.settings[name]
        relevant = sum(map(len, fold.relevant))
        assert relevant == counts["relevant"]
        accounted += relevant + counts["dropped_seen"] + counts["dropped_repeated"] + counts["dropped_cold"]
    accounted += split.settings.get("unused_events", 0)
    assert accounted == len(dataset.interactions) == split.settings["events"]


@pytest.mark.parametrize(("kind", "options"), CASES)
@given(dataset=datasets())
@settings(max_examples=60, deadline=None)
def test_no_held_out_event_reaches_train_or_an_earlier_history(
    kind: str, options: dict[str, Any], dataset: Dataset
) -> None:
    split = split_or_reject(kind, dataset, **options)
    log, train = dataset.interactions, split.train.interactions
    owners = owner(log)
    trained = owner(train)
    assert trained.items() <= owners.items()
    held: dict[str, set[int]] = {}
    asked: dict[str, set[tuple[int, int]]] = {}
    for name, fold in (("validation", split.validation), ("test", split.test)):
        ids = event_ids(fold)
        held[name] = {int(v) for values in ids for v in values}
        asked[name] = {owners[v] for v in held[name]}
        for query, relevant, values in zip(fold.queries, fold.relevant, ids, strict=True):
            users = {owners[int(v)][0] for v in values}
            assert len(users) == 1
            (user,) = users
            assert relevant.tolist() == [owners[int(v)][1] for v in values]
            assert len(set(relevant.tolist())) == len(relevant) > 0
            mine = train.item[train.events_of(user)].tolist()
            assert query.user == (user if mine else None)
            if name == "validation" or kind == "cold-items":
                assert query.history.tolist() == mine
            assert query.times is not None
            assert len(query.times) == len(query.history)
            assert (np.diff(query.times) >= 0).all()
            if query.now is not None:
                assert (query.times <= query.now).all()
            if not query.repeats:
                assert not set(relevant.tolist()) & set(query.history.tolist())
    assert held["validation"].isdisjoint(held["test"])
    assert held["validation"].isdisjoint(trained)
    assert held["test"].isdisjoint(trained)
    if not options.get("repeats"):
        assert asked["validation"].isdisjoint(asked["test"])
        assert asked["test"].isdisjoint(trained.values())
        assert asked["validation"].isdisjoint(trained.values())


@pytest.mark.parametrize("kind", registry.names("split"))
@given(dataset=datasets())
@settings(max_examples=20, deadline=None)
def test_train_keeps_catalogue_and_id_maps_and_splitting_again_gives_the_same(kind: str, dataset: Dataset) -> None:
    split = split_or_reject(kind, dataset)
    again = split_or_reject(kind, dataset)
    assert split.kind == kind
    assert split.train.catalog is dataset.catalog
    assert split.train.interactions.users is dataset.interactions.users
    assert split.train.interactions.fingerprint() == again.train.interactions.fingerprint()
    assert split.settings == again.settings
    for fold, other in ((split.validation, again.validation), (split.test, again.test)):
        assert [r.tolist() for r in fold.relevant] == [r.tolist() for r in other.relevant]


@pytest.mark.parametrize("kind", registry.names("split"))
def test_a_log_too_small_to_split_is_a_data_error(kind: str) -> None:
    items = IdMap(["a", "b"])
    for n in (0, 1):
        log = Interactions.from_events(
            np.zeros(n, np.int32), np.zeros(n, np.int32), IdMap(["u"]), items, timestamp=np.zeros(n)
        )
        with pytest.raises(DataError, match=kind) as caught:
            registry.load("split", kind)().split(Dataset(log, Catalog(items)))
        assert caught.value.hint


@pytest.mark.parametrize("kind", ["global-time", "random", "cold-items"])
@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.2), (0.9, 0.1, 0.0), (1.1, -0.2, 0.1), (0.9, 0.1)])
def test_fractions_that_are_no_shares_are_refused(kind: str, fractions: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="fractions"):
        registry.load("split", kind)(fractions=fractions)


@pytest.mark.parametrize("kind", [k for k in registry.names("split") if k != "global-time"])
def test_logs_without_timestamps_or_values_split_by_the_order_of_rows(kind: str) -> None:
    items = IdMap(map(str, range(40)))
    log = Interactions.from_events(
        np.repeat(np.arange(4, dtype=np.int32), 10), np.arange(40, dtype=np.int32), IdMap("wxyz"), items
    )
    split = registry.load("split", kind)().split(Dataset(log, Catalog(items)))
    assert split.validation.values is None
    assert all(q.times is None and q.now is None for q in [*split.validation.queries, *split.test.queries])
