"""The shape of data: counts against counting one by one."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from frugalrec.data import shape as shape_module
from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.data.shape import DataShape
from frugalrec.errors import ConfigError
from frugalrec.testing.data import toy_dataset

NOBODY = (np.zeros(0), np.zeros(0))


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Return users of different activity, with repeats of items and irregular times."""
    rng = np.random.default_rng(3)
    base = toy_dataset(n_users=25, n_items=30, cold=4)
    log = base.interactions
    kept = rng.random(len(log)) < 0.6
    user, item = log.user[kept], rng.integers(0, 12, int(kept.sum())).astype(np.int32)
    times = np.sort(rng.integers(0, 2000, len(user))).astype(np.float64)
    return base.with_interactions(Interactions.from_events(user, item, log.users, log.items, timestamp=times))


def sequences(dataset: Dataset) -> list[np.ndarray]:
    return [items for _, items in dataset.interactions.sequences()]


def test_counts(dataset: Dataset) -> None:
    shape, walks = DataShape.of(dataset), sequences(dataset)
    assert shape.n_users == len(walks)
    assert shape.n_events == sum(map(len, walks))
    assert shape.n_chosen == sum(len(set(w)) for w in walks)
    assert shape.squares == sum(len(set(w)) ** 2 for w in walks)
    assert shape.n_warm == len(set(np.concatenate(walks)))
    assert shape.mean_reached(3.0) == pytest.approx(np.mean([min(len(w), 4) for w in walks]))
    positions = np.concatenate([np.arange(len(w)) for w in walks])
    assert shape.mean_position(2.0) == pytest.approx(np.minimum(positions, 2).mean())


@pytest.mark.parametrize(("first", "last"), [(1, 1), (1, 4), (5, 9), (1, 1000), (3.0, 5.7)])
def test_pairs_by_position(dataset: Dataset, first: float, last: float) -> None:
    counted = sum(1 for w in sequences(dataset) for b in range(len(w)) for a in range(b) if first <= b - a <= last)
    assert DataShape.of(dataset).pairs(first, last) == counted


@pytest.mark.parametrize(
    ("seconds", "ahead", "same"), [(100.0, 0, False), (300.0, 5, True), (1e6, 0, False), (0, 2, True)]
)
def test_pairs_by_time(dataset: Dataset, seconds: float, ahead: int, same: bool) -> None:
    log, counted = dataset.interactions, 0
    assert log.timestamp is not None
    for start, end in zip(log.offsets[:-1], log.offsets[1:], strict=True):
        times = log.timestamp[start:end]
        for b in range(len(times) - ahead):
            counted += sum(times[b] - times[a] <= seconds for a in range(b + same))
    shape = DataShape.of(dataset)
    assert shape.pairs_within(seconds, ahead=ahead, same=same) == counted
    # What was counted goes along with the shape when the log does not.
    again = DataShape.from_dict(json.loads(json.dumps(shape.to_dict())))
    assert again.pairs_within(seconds, ahead=ahead, same=same) == counted
    assert again.pairs_within(seconds + 1, ahead=ahead, same=same) is None


def test_without_times_nothing_is_within_seconds() -> None:
    assert DataShape.of(toy_dataset(timestamps=False)).pairs_within(60.0) is None


def test_scaled_users_do_what_they_did(dataset: Dataset) -> None:
    shape = DataShape.of(dataset)
    large = shape.scaled(users=10 * shape.users)
    assert large.n_events == pytest.approx(10 * shape.n_events)
    assert large.squares == pytest.approx(10 * shape.squares)
    assert large.mean_history == pytest.approx(shape.mean_history)
    assert large.pairs_within(100.0) == pytest.approx(10 * (shape.pairs_within(100.0) or 0))
    assert not large.exact
    wide = shape.scaled(items=100 * shape.items)
    assert wide.n_warm == pytest.approx(100 * shape.n_warm)
    assert wide.mean_popularity == pytest.approx(shape.mean_popularity / 100)
    for users in (0.0, -5.0, float("nan")):
        with pytest.raises(ConfigError, match="users must be at least 1"):
            shape.scaled(users=users)


def test_filled_cells_of_independent_choices() -> None:
    rng = np.random.default_rng(0)
    share = 1.0 / np.arange(1, 301)
    counts = np.round(20_000 * share / share.sum())
    values, n = np.unique(counts[counts > 0], return_counts=True)
    shape = DataShape(1.0, 300.0, (values, n), (values, n), (values.astype(float), n.astype(float)))
    drawn = rng.choice(300, size=(2, 15_000), p=counts / counts.sum())
    assert shape.filled(15_000.0) == pytest.approx(len(np.unique(drawn[0] * 300 + drawn[1])), rel=0.02)


@pytest.fixture
def kinds() -> Dataset:
    """Return 200 users of 10 kinds, each of whom chose the five items of their own kind, and no others."""
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(200), 60).astype(np.int32)
    item = (user % 10 * 5 + rng.integers(0, 5, len(user))).astype(np.int32)
    users, items = (IdMap([f"{p}{i}" for i in range(n)]) for p, n in (("u", 200), ("i", 50)))
    return Dataset(Interactions.from_events(user, item, users, items), Catalog(items))


def test_filled_cells_of_a_log_are_counted(kinds: Dataset) -> None:
    """10 kinds fill 10 · 25 of 50 · 50 cells, where chance would all."""
    shape = DataShape.of(kinds)
    assert shape.squares == 200 * 25.0
    assert shape.filled(shape.squares) == pytest.approx(250.0)
    assert shape.filled(shape.pairs(1, 3), 3.0) == pytest.approx(250.0)
    # What was counted goes along, to larger logs and into a file.
    again = DataShape.from_dict(shape.to_dict())
    assert again.filled(shape.squares) == pytest.approx(250.0)
    assert 240 < shape.scaled(users=2000).filled(10 * shape.squares) < 500
    assert shape.filled(100.0) <= 100.0


def test_who_shares_items_is_counted(kinds: Dataset) -> None:
    """Each of a user's five items was chosen by 20 of the 200, the same 20; by chance it would be many more."""
    shape = DataShape.of(kinds)
    assert shape.choosers() == pytest.approx((100.0, 0.1))
    again = DataShape.from_dict(json.loads(json.dumps(shape.to_dict())))
    assert again.choosers() == pytest.approx((100.0, 0.1))
    assert shape.scaled(users=2000).choosers() == pytest.approx((1000.0, 0.1))
    unknown = dataclasses.replace(shape, log=None, counted={})
    assert unknown.choosers() == pytest.approx((5 * 240, 1 - np.exp(-5 * 240 / 200)), rel=0.01)  # 240 events an item
    assert dataclasses.replace(unknown, lengths=NOBODY, distinct=NOBODY, popularity=NOBODY).choosers() == (0.0, 0.0)


def test_a_sample_of_the_items_tells_how_many_cells_are_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    data = toy_dataset(n_users=300, n_items=200, length=15)
    chosen = data.interactions.matrix()
    true = float((chosen.T @ chosen).nnz)
    monkeypatch.setattr(shape_module, "SAMPLED_PAIRS", 20_000)
    shape = DataShape.of(data)
    assert shape.squares > 40_000
    assert shape.filled(shape.squares) == pytest.approx(true, rel=0.1)


def test_the_tail_is_what_lies_outside_the_head() -> None:
    # Ten items: one with 20 events, four with 5, five with 2. The most popular fifth has 25 of 50 events.
    popularity = (np.array([2.0, 5.0, 20.0]), np.array([5.0, 4.0, 1.0]))
    shape = DataShape(1.0, 10.0, (np.array([50.0]), np.array([1.0])), (np.array([10.0]), np.array([1.0])), popularity)
    assert shape.tail(0.2) == pytest.approx(0.5)
    assert shape.tail(0.0) == 1.0
    assert shape.tail(1.0) == 0.0


def test_what_is_no_shape_is_refused() -> None:
    with pytest.raises(ConfigError, match="not the shape of a data set"):
        DataShape.from_dict({"users": 3})


def test_texts_are_sampled_evenly(dataset: Dataset) -> None:
    texts, scale = DataShape.of(dataset).sampled_texts()
    assert len(texts) == len(set(dataset.catalog.texts()))
    assert scale == 1.0
    assert DataShape.of(toy_dataset(text=False)).sampled_texts() == ([], 1.0)
