from __future__ import annotations

import pytest

from frugalrec.data.loading import SourceConfig, detect, load
from frugalrec.errors import DataError


def test_one_user_a_line(put, events):
    log = put("sequences.txt.gz", "1 10 30 20\n\n02 30 40\n1  20\t10 \n")
    items = put("items.tsv", 'item_id\ttitle\n10\tTen\n99\tCold, "so"\n')
    dataset, report = load(SourceConfig(interactions=log, items=items, format="sequences"))
    assert events(dataset) == [
        *(("1", item, None, None) for item in ("10", "30", "20", "20", "10")),
        *(("02", item, None, None) for item in ("30", "40")),
    ]
    assert list(dataset.catalog.items.ids) == ["10", "30", "20", "40", "99"]
    assert report.formats == ("sequences", "csv")
    assert report.rows == 7


def test_a_table_is_not_taken_for_sequences(put):
    assert detect(put("sequences.txt", "1 10 30 20\n2 30 40\n")) == "sequences"
    with pytest.raises(DataError, match="no format knows its name or first line") as caught:
        detect(put("graph.txt", "1 10 3\n2 30 4\n"))
    assert "set format to one of amazon, csv" in caught.value.hint


def test_a_user_without_items_is_a_bad_row(put):
    log = put("sequences.txt", "1 10 30\n\n2\n3 10\n")
    with pytest.raises(
        DataError, match="line 3: expected a user and at least one item, found '2' \\(1 row affected\\)"
    ):
        load(SourceConfig(interactions=log, format="sequences"))
    dataset, report = load(SourceConfig(interactions=log, format="sequences", on_bad_rows="skip"))
    assert (report.rows, report.bad_rows, report.events, dataset.n_users) == (4, 1, 3, 2)


def test_they_have_no_item_files(put):
    with pytest.raises(DataError, match="sequences have no item files"):
        load(SourceConfig(items=put("sequences.txt", "1 10 30\n2 3\n")))
