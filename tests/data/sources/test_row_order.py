from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from frugalrec.data.dataset import Dataset
from frugalrec.data.loading import LoadReport, SourceConfig, load

RNG = np.random.default_rng(0)
LIVED = [(u, int(i)) for u in range(40) for i in RNG.permutation(30)[: 6 + u % 5]]
"""Users whose events are in an order of their own."""

BY_ITEM = sorted(LIVED, key=lambda row: (row[1], (7 * row[0]) % 40))
BY_USER_AND_ITEM = sorted(LIVED)
BY_USER_FROM_THE_LAST = sorted(LIVED, key=lambda row: (row[0], -row[1]))


def loaded(rows: list[tuple[int, int]], folder: Path, *, time: str = "", **options: str) -> tuple[Dataset, LoadReport]:
    lines = [f"u{user},{100 + item}{time and ',' + time.format(k)}" for k, (user, item) in enumerate(rows)]
    header = "user_id,item_id" + (",timestamp" if time else "")
    (folder / "log.csv").write_text("\n".join([header, *lines]) + "\n")
    return load(SourceConfig(folder / "log.csv", **options))  # type: ignore[arg-type]


def sequences(data: Dataset) -> dict[str, list[str]]:
    log = data.interactions
    return {log.users.ids[user]: data.catalog.items.ids[items].tolist() for user, items in log.sequences()}


def of_rows(rows: list[tuple[int, int]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for user, item in rows:
        found.setdefault(f"u{user}", []).append(str(100 + item))
    return found


@pytest.mark.parametrize("rows", [BY_ITEM, BY_USER_AND_ITEM, BY_USER_FROM_THE_LAST])
@pytest.mark.parametrize("time", ["", "1600000000"])
def test_rows_that_go_by_item_are_in_no_order_of_time(rows: list[tuple[int, int]], time: str, tmp_path: Path) -> None:
    data, report = loaded(rows, tmp_path, time=time)
    found, written = sequences(data), of_rows(rows)
    assert {user: sorted(items) for user, items in found.items()} == {u: sorted(i) for u, i in written.items()}
    assert sum(found[user] == written[user] for user in found) < 4
    assert sum("rows go by item" in line for line in report.rules) == 1
    assert not any(line.startswith(("no times: the order", "ties:")) for line in report.rules)
    assert loaded(rows, tmp_path, time=time)[0].fingerprint() == data.fingerprint()
    assert sequences(loaded(rows, tmp_path, time=time, ties="file")[0]) == written


def test_an_order_of_their_own_is_kept(tmp_path: Path) -> None:
    data, report = loaded(LIVED, tmp_path)
    assert sequences(data) == of_rows(LIVED)
    assert "no times: the order of rows is the order of events" in report.rules


def test_times_are_believed_even_where_they_go_by_item(tmp_path: Path) -> None:
    data, report = loaded(BY_ITEM, tmp_path, time="16000{:05d}")
    assert sequences(data) == of_rows(BY_ITEM)
    assert not any("go by item" in line for line in report.rules)


def test_items_that_nobody_else_had_say_nothing(tmp_path: Path) -> None:
    rows = [(k // 5, k) for k in range(200)]
    assert sequences(loaded(rows, tmp_path)[0]) == of_rows(rows)
