from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pytest

from frugalrec.cost import Ledger
from frugalrec.data.dataset import Dataset
from frugalrec.data.shards import ShardedLog
from frugalrec.encoders.bag_of_words import BagOfWords
from frugalrec.executors import executing
from frugalrec.executors._shared import PASSED_BYTES
from frugalrec.executors.local import Local
from frugalrec.recommenders import _sharded
from frugalrec.recommenders._sharded import (
    accumulated,
    accumulated_from,
    added,
    added_in_place,
    packed,
    unpacked,
)
from frugalrec.recommenders.ease import Ease
from frugalrec.recommenders.sequential_linear import SequentialLinear
from frugalrec.testing.data import toy_dataset

MODELS = [
    Ease(encoder=BagOfWords(dim=64)),
    Ease(activity_discount=0.5),
    SequentialLinear(half_lives=(1.5, 8.0), gap_half_life=3600.0, reversed_weight=0.3),
]


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.setattr(_sharded, "EVENTS_A_SHARD", 150)
    return toy_dataset(n_users=120, n_items=60, cold=3)


@pytest.mark.parametrize("model", MODELS, ids=["ease", "discounted", "sequential"])
def test_shards_come_to_the_whole(data: Dataset, model: Ease) -> None:
    whole = packed(model.accumulate(data.interactions))
    found = {}
    for workers in (1, 2):
        with executing(Local(workers=workers)):
            found[workers] = packed(accumulated(model, data.interactions))
    assert found[1].keys() == whole.keys()
    for name, array in found[1].items():
        assert np.array_equal(array, found[2][name]), name
        if isinstance(model, Ease) and not model.activity_discount:
            assert np.array_equal(array, whole[name]), name
        np.testing.assert_allclose(array, whole[name], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("workers", [1, 2])
def test_large_sums_are_made_where_others_find_them(data: Dataset, workers: int) -> None:
    """Tables of megabytes pass between processes as files in memory: the same bits, and this process may write them."""
    data = toy_dataset(n_users=150, n_items=200, length=30)
    model = SequentialLinear(half_lives=(1.5, 15.0), gap_half_life=3600.0)
    whole = model.accumulate(data.interactions)
    assert isinstance(whole.gram, np.ndarray)
    assert whole.gram.nbytes > PASSED_BYTES
    with executing(Local(workers=workers)):
        found = accumulated(model, data.interactions)
    with executing(Local()):
        alone = accumulated(model, data.interactions)
    assert not found.upper
    assert np.array_equal(found.gram, alone.gram)
    assert np.array_equal(found.cross, alone.cross)
    assert np.array_equal(found.gram, found.gram.T)
    np.testing.assert_allclose(found.gram, whole.gram, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.cross, whole.cross, rtol=1e-12, atol=1e-12)
    assert found.gram.flags.writeable


def test_sparse_sums_survive(data: Dataset) -> None:
    sums = SequentialLinear().accumulate(toy_dataset(n_users=3, n_items=200).interactions)
    assert not isinstance(sums.gram, np.ndarray)
    again = unpacked(packed(sums))
    assert (again.gram != sums.gram).nnz == 0
    assert (again.n_users, again.n_events) == (3, 36)


def test_sums_are_added_in_place_where_they_can_be() -> None:
    model = SequentialLinear(half_lives=(1.5, 8.0))
    logs = [toy_dataset(n_users=150, n_items=60, length=length).interactions for length in (20, 30, 2)]
    left, right, sparse = (packed(model.accumulate_part(log)) for log in logs)
    expected, tables = added({name: array.copy() for name, array in left.items()}, right), dict(left)
    assert added_in_place(left, right)
    assert all(left[name] is tables[name] for name in tables)
    assert left.keys() == expected.keys()
    assert all(np.array_equal(left[name], expected[name]) for name in expected)
    assert "gram" not in sparse
    assert not added_in_place(left, sparse)
    assert not added_in_place(sparse, sparse)
    assert all(np.array_equal(left[name], expected[name]) for name in expected)


def test_costs_are_counted_whoever_pays_them(data: Dataset) -> None:
    flops = []
    for workers in (1, 2):
        ledger = Ledger()
        with executing(Local(workers=workers)), ledger.span("fit"):
            Ease().fit(data)
        flops.append(ledger.total().flops)
    assert flops[0] is not None
    assert flops[0] == flops[1] > 0


def test_what_was_summed_is_not_summed_again(data: Dataset, tmp_path: Path) -> None:
    ledger = Ledger()
    for name in ("first", "second"):
        with executing(Local(checkpoints=str(tmp_path))), ledger.span(name):
            accumulated(Ease(ridge=1.0), data.interactions)
    first, second = ledger.entries
    assert first.reused.flops == 0
    assert second.reused.seconds is not None
    assert second.reused.seconds > 0
    assert len(list(tmp_path.iterdir())) == 1
    with executing(Local(checkpoints=str(tmp_path))):
        accumulated(Ease(ridge=2.0), data.interactions)  # another ridge, the same sums
        assert len(list(tmp_path.iterdir())) == 1
        accumulated(Ease(activity_discount=0.5), data.interactions)
        accumulated(Ease(), data.interactions.without_users(np.array([3], dtype=np.int32)))
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("workers", [None, 2])
def test_a_log_on_disk_comes_to_the_same(data: Dataset, tmp_path: Path, workers: int | None) -> None:
    log = data.interactions
    assert log.timestamp is not None
    columns = {"u": log.user, "i": log.item, "t": log.timestamp}
    with duckdb.connect() as database:
        database.register("columns", columns)
        chosen = "SELECT 'user-' || u AS user_id, 'item-' || i AS item_id, t AS timestamp FROM columns"
        database.execute(f"COPY ({chosen}) TO '{tmp_path}/log.parquet' (FORMAT parquet)")
    cut = ShardedLog.write(f"{tmp_path}/log.parquet", f"{tmp_path}/cut", shards=5)
    model = SequentialLinear(half_lives=(2.0,))
    if workers is None:
        sums = accumulated_from(model, cut)
    else:
        with executing(Local(workers=workers)):
            sums = accumulated_from(model, cut)
    whole = model.accumulate(log)
    codes = log.items.codes(cut.items.ids.tolist())
    for there, here in ((sums.gram, whole.gram), (sums.cross, whole.cross)):
        np.testing.assert_allclose(there, np.asarray(here)[np.ix_(codes, codes)], rtol=1e-6, atol=1e-9)
    assert (sums.n_users, sums.n_events) == (whole.n_users, whole.n_events)
