from __future__ import annotations

import pytest

from frugalrec.data.loading import SourceConfig, detect, load
from frugalrec.errors import DataError

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n01\tä\t4\t10.5\n01\tb\t2\t9\n"
ITEM = (
    "item_id:token\tmovie_title:token_seq\tyear:token\tclass:token_seq\n"
    "b\tBlue Bird\t1999\tDrama War\nc\tCold\t2000\t\n"
)


def test_folder_with_typed_headers(put, events):
    put("set/set.inter", INTER)
    folder = put("set/set.item", ITEM).parent
    dataset, report = load(SourceConfig(interactions=folder))
    assert events(dataset) == [("01", "b", 2.0, 9.0), ("01", "ä", 4.0, 10.5)]
    assert list(dataset.catalog.items.ids) == ["ä", "b", "c"]
    assert dataset.catalog.text == ("movie_title", "class")
    assert dataset.catalog.texts() == ["", "Blue Bird. Drama War", "Cold"]
    assert report.formats == ("recbole",)
    assert (report.items_without_row, report.events_without_row) == (1, 1)


def test_single_files_are_detected_by_their_header(put):
    assert detect(put("log.tsv", INTER)) == "recbole"
    assert detect(put("x.inter.gz", INTER)) == "recbole"


def test_header_without_types(put):
    path = put("x.inter", "user_id\titem_id\n1\t2\n")
    with pytest.raises(DataError, match=r"expected each column once, as 'name:type'.*found 'user_id'"):
        load(SourceConfig(interactions=path))


def test_rating_must_be_declared_a_number(put):
    path = put("x.inter", "user_id:token\titem_id:token\trating:token\n1\t2\t3\n")
    with pytest.raises(DataError, match="column 'rating': expected the type 'float' in the header, found 'token'"):
        load(SourceConfig(interactions=path))


def test_several_logs_in_a_folder(put):
    put("set/a.train.inter", INTER)
    folder = put("set/a.test.inter", INTER).parent
    with pytest.raises(DataError, match=r"expected one '\.inter' file in the folder, found a\.test\.inter, a\.train"):
        load(SourceConfig(interactions=folder))


def test_missing_column_names_the_nearest(put):
    path = put("x.inter", "usr_id:token\titem_id:token\n1\t2\n")
    with pytest.raises(DataError, match="expected a column 'user_id'") as caught:
        load(SourceConfig(interactions=path))
    assert "did you mean 'usr_id'?" in caught.value.hint
