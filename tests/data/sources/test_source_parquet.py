from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from frugalrec.data.loading import BadRowsError, SourceConfig, detect, load
from frugalrec.errors import DataError


@pytest.fixture
def parquet(tmp_path):
    """Write the result of a query as Parquet and return its path."""

    def write(query: str, name: str = "log.parquet") -> Path:
        path = tmp_path / name
        with duckdb.connect() as connection:
            connection.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
        return path

    return write


def test_native_types(parquet, events):
    log = parquet("""
        SELECT 7::BIGINT AS user_id, 'ä' AS item_id, 4.5::DECIMAL(4, 1) AS rating,
            TIMESTAMP '1970-01-02 00:00:00' AS timestamp
        UNION ALL SELECT 7, 'b', 3, TIMESTAMP '1970-01-01 00:00:01.5'""")
    dataset, _ = load(SourceConfig(interactions=log))
    assert events(dataset) == [("7", "b", 3.0, 1.5), ("7", "ä", 4.5, 86400.0)]
    day = parquet("SELECT 'u' AS user_id, 'i' AS item_id, DATE '1970-01-02' AS timestamp", "day.parquet")
    assert events(load(SourceConfig(interactions=day))[0]) == [("u", "i", None, 86400.0)]
    milliseconds = parquet("SELECT 'u' AS user_id, 'i' AS item_id, 1500000000500 AS timestamp", "ms.parquet")
    assert events(load(SourceConfig(interactions=milliseconds))[0]) == [("u", "i", None, 1500000000.5)]


def test_detected_by_content(parquet):
    assert detect(parquet("SELECT 1 AS user_id", "log.dat")) == "parquet"


@pytest.mark.parametrize(
    ("column", "type_"),
    [("user_id", "DOUBLE"), ("item_id", "BOOLEAN"), ("rating", "BOOLEAN"), ("timestamp", "VARCHAR[]")],
)
def test_columns_of_the_wrong_type(parquet, column, type_):
    types = {"user_id": "VARCHAR", "item_id": "VARCHAR", "rating": "FLOAT", "timestamp": "BIGINT", column: type_}
    log = parquet("SELECT " + ", ".join(f"NULL::{t} AS {c}" for c, t in types.items()))
    expected = (
        rf"log\.parquet: column '{column}': expected .*, found the type {type_.replace('[', '.').replace(']', '.')}"
    )
    with pytest.raises(DataError, match=expected):
        load(SourceConfig(interactions=log))


def test_bad_rows_are_told_by_their_number(parquet):
    log = parquet("""SELECT * FROM (VALUES
        ('u', 'i', 1::FLOAT, 5), ('u', NULL, 1, 6), (' ', 'i', 1, NULL), ('u', 'i', 'nan', 7))
        AS rows(user_id, item_id, rating, timestamp)""")
    with pytest.raises(
        BadRowsError, match=r"log\.parquet: row 2, column 'item_id': expected an item id, found nothing"
    ):
        load(SourceConfig(interactions=log))
    with pytest.raises(BadRowsError) as caught:
        load(SourceConfig(interactions=log, on_bad_rows="report"))
    assert [(p.places[0].number, p.column) for p in caught.value.problems] == [
        (2, "item_id"), (3, "user_id"), (3, "timestamp"), (4, "rating"),
    ]  # fmt: skip


def test_items_with_lists(parquet):
    items = parquet(
        "SELECT 1 AS item_id, 'T' AS title, ['a', 'b'] AS tags, 2.5 AS price UNION ALL SELECT 2, NULL, NULL, NULL"
    )
    dataset, report = load(SourceConfig(items=items))
    assert dataset.catalog.fields == {"title": ["T", ""], "tags": ["a, b", ""], "price": ["2.5", ""]}
    assert report.empty_texts == 1


def test_hostile_column_names_are_only_names(parquet, events):
    log = parquet("""SELECT 'u' AS "a"";DROP TABLE log;--", 'i' AS "b'c", 2 AS "r "" r" """)
    found = load(SourceConfig(interactions=log, user='a";DROP TABLE log;--', item="b'c", rating='r " r'))[0]
    assert events(found) == [("u", "i", 2.0, None)]


def test_damaged_and_false_files(put, parquet):
    with pytest.raises(DataError, match="expected a Parquet file"):
        load(SourceConfig(interactions=put("x.parquet", "user_id,item_id\n")))
    whole = parquet("SELECT 1 AS user_id, 2 AS item_id")
    whole.write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"log\.parquet: cannot be parsed"):
        load(SourceConfig(interactions=whole))


def test_a_folder_is_one_log_and_its_partitions_are_columns(parquet, tmp_path, events):
    (tmp_path / "log" / "shop=007").mkdir(parents=True)
    (tmp_path / "log" / "shop=02").mkdir()
    (tmp_path / "log" / "_temporary").mkdir()
    parquet("SELECT 'u' AS user_id, 'a' AS item_id UNION ALL SELECT 'v', 'b'", "log/shop=007/part-0.parquet")
    parquet("SELECT 'u' AS user_id, 'b' AS item_id", "log/shop=02/part-0.parquet")
    parquet("SELECT 'x' AS user_id, 'x' AS item_id", "log/_temporary/part-0.parquet")
    parquet("SELECT 'x' AS user_id, 'x' AS item_id", "log/.part-1.parquet")
    folder = tmp_path / "log"
    assert detect(folder) == "parquet"
    dataset, report = load(SourceConfig(interactions=folder))
    assert events(dataset) == [("u", "a", None, None), ("u", "b", None, None), ("v", "b", None, None)]
    assert report.files == (str(folder),)
    shops, _ = load(SourceConfig(interactions=folder, item="shop"))
    assert shops.interactions.items.ids.tolist() == ["007", "02"]  # text, as all ids


def test_a_row_of_a_folder_is_told_by_its_file(parquet, tmp_path):
    (tmp_path / "log").mkdir()
    parquet("SELECT 'u' AS user_id, 'a' AS item_id FROM range(3)", "log/1.parquet")
    parquet("SELECT 'u' AS user_id, i::VARCHAR AS item_id FROM (VALUES ('a'), (NULL)) rows(i)", "log/2.parquet")
    with pytest.raises(BadRowsError, match=r"log/2\.parquet: row 2, column 'item_id': expected an item id"):
        load(SourceConfig(interactions=tmp_path / "log"))
    (tmp_path / "log" / "3.parquet").write_text("PART")
    with pytest.raises(DataError, match=r"log/3\.parquet: expected a Parquet file"):
        load(SourceConfig(interactions=tmp_path / "log"))
