from __future__ import annotations

import csv
import gzip
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frugalrec.data.loading import BadRowsError, SourceConfig, load
from frugalrec.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("name", "delimiter", "given_as"),
    [("a.csv", ",", "auto"), ("a.tsv", "\t", "auto"), ("a.txt", ";", "auto"), ("a.log", "|", "auto"),
     ("a.csv", "~", "~"),
     ("a.dat", "\t", "\\t"), ("a.csv.gz", ";", "auto")],
)  # fmt: skip
def test_delimiters(put, events, name, delimiter, given_as):
    rows = [["user_id", "extra", "item_id", "rating"], ["u", "x,y", 'i"1', "2.5"]]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(rows)
    path = put(name, text.getvalue())
    dataset, _ = load(SourceConfig(interactions=path, delimiter=given_as))
    assert events(dataset) == [("u", 'i"1', 2.5, None)]


def test_delimiter_must_be_one_character(put):
    with pytest.raises(ConfigError, match="delimiter must be one character"):
        load(SourceConfig(interactions=put("a.csv", "user_id,item_id\n1,2\n"), delimiter="::"))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_blank_lines_and_byte_order_mark(put, events, end):
    text = end.join(["\ufeffuser_id,item_id,timestamp", "", '"u\n1",i1,5', "", "u2,i2,6", "u2,i2,x", ""])
    path = put("a.csv", text)
    dataset, report = load(SourceConfig(interactions=path, on_bad_rows="skip"))
    assert events(dataset) == [("u\n1", "i1", None, 5.0), ("u2", "i2", None, 6.0)]
    assert report.rows == 3
    assert report.problems[0].places[0].number == 7


def test_mixed_line_ends_are_read_and_said(put, events):
    path = put("a.csv", 'user_id,item_id\r\nu1,"a\nb"\nu2,b\r\nu3,c\n')
    dataset, report = load(SourceConfig(interactions=path))
    assert [(user, item) for user, item, _, _ in events(dataset)] == [("u1", "a\nb"), ("u2", "b"), ("u3", "c")]
    assert any("line ends are mixed (2 of 5 are CRLF)" in rule for rule in report.rules)


def test_a_stray_carriage_return_is_named(put):
    path = put("a.csv", "user_id,item_id\nu1,a\nu\r2,b\n")
    with pytest.raises(DataError, match="line 3: a carriage return stands in the middle of a line"):
        load(SourceConfig(interactions=path))


def test_rows_with_the_wrong_number_of_fields_or_open_quotes(put):
    path = put("a.csv", 'user_id,item_id,rating\nu1,i1,1\nu2,i2\n\nu3,i3,3,3\nu4,"i4,4\n')
    with pytest.raises(BadRowsError) as caught:
        load(SourceConfig(interactions=path, on_bad_rows="report"))
    assert [(p.expected, p.values[0], p.places[0].number) for p in caught.value.problems] == [
        ("3 fields", "2 in: u2,i2", 3),
        ("3 fields", "4 in: u3,i3,3,3", 5),
        ("quotes that are closed", 'u4,"i4,4', 6),
    ]
    _, report = load(SourceConfig(interactions=path, on_bad_rows="skip"))
    assert (report.rows, report.bad_rows, report.events) == (4, 3, 1)


def test_bytes_that_are_not_utf8(put, events):
    path = put("a.csv", "user_id,item_id\nu1,a\nné,b\nu3,c\n", "latin-1")
    with pytest.raises(DataError, match=r"a\.csv: line 3: expected UTF-8 text"):
        load(SourceConfig(interactions=path))
    dataset, report = load(SourceConfig(interactions=path, on_bad_rows="skip"))
    assert [user for user, _, _, _ in events(dataset)] == ["u1", "u3"]
    assert report.bad_rows == 1
    with pytest.raises(DataError, match="line 1: expected UTF-8 text, found other bytes in the header"):
        load(SourceConfig(interactions=put("b.csv", "user_id,item_id,né\n1,2,3\n", "latin-1")))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found an empty file"),
        (b"\n\n\n", "expected rows, found an empty file|nothing but blank lines"),
        (b"user_id,item_id\n", r"expected rows, found none \(a header at most\)"),
        (b"user_id,item_id", r"expected rows, found none \(a header at most\)"),
        ("user_id,item_id\n1,2\n".encode("utf-16"), "found UTF-16 text"),
        (b"PK\x03\x04 zipped", "found a zip archive"),
        (gzip.compress(b"user_id,item_id\n1,2\n" * 9999)[:200], "cut off or damaged"),
        (gzip.compress(b"user_id,item_id\n1,2\n")[:-6] + b"wrong!", "cut off or damaged"),
        (b'"user_id,item_id\n1,2\n', "line 1"),
        (b'user_id,"item\n_id"\n1,2\n', "line 1: expected column names on one line"),
        (b"user_id,item_id,user_id\n1,2,3\n", "expected one column 'user_id', found 2"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, content, message):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load(SourceConfig(interactions=path))
    assert str(path) in str(caught.value)


def test_items_keep_every_named_column(put):
    items = put("items.csv", ',item_id,title,title,price\n0,i1,"A, ""b""",other,3\n1,i2,,x,\n')
    dataset, report = load(SourceConfig(items=items))
    assert dataset.catalog.fields == {"title": ['A, "b"', ""], "price": ["3", ""]}
    assert any("2 columns without a name, or with one used before, were not read" in rule for rule in report.rules)


FIELD = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), min_size=1, max_size=6)
ID = FIELD.filter(lambda text: text == text.strip(" \t\n\r\v\f\ufeff") == text.strip() and text != "")


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.tuples(ID, ID, FIELD), min_size=1, max_size=8), end=st.sampled_from(["\n", "\r\n"]),
       delimiter=st.sampled_from([",", "\t", ";"]))  # fmt: skip
def test_whatever_the_csv_module_writes_is_read_back(tmp_path_factory, rows, end, delimiter):
    path = tmp_path_factory.mktemp("round") / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        # Python quotes a lone CR in a field only where it is part of the line end.
        quoting = csv.QUOTE_ALL if end == "\n" else csv.QUOTE_MINIMAL
        writer = csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=quoting)
        writer.writerows([("user_id", "item_id", "note"), *rows])
    dataset, report = load(SourceConfig(interactions=path))
    log = dataset.interactions
    order = list(dict.fromkeys(user for user, _, _ in rows))
    assert log.users.ids.tolist() == order
    assert dataset.catalog.items.ids.tolist() == list(dict.fromkeys(item for _, item, _ in rows))
    expected = sorted(((u, i) for u, i, _ in rows), key=lambda pair: order.index(pair[0]))
    assert [(log.users.ids[u], log.items.ids[i]) for u, i in zip(log.user, log.item, strict=True)] == expected
    assert report.rows == len(rows)
