from __future__ import annotations

import gzip
import json
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frugalrec.data.loading import BadRowsError, LoadReport, SourceConfig, detect, formats, load
from frugalrec.data.sources._scratch import Scratch
from frugalrec.errors import ConfigError, DataError, UnknownNameError


@pytest.fixture
def put(tmp_path):
    def write(name: str, *lines: str) -> Path:
        path = tmp_path / name
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    return write


def items_of(dataset, user: str) -> list[str]:
    log = dataset.interactions
    return [log.items.ids[code] for code in log.item[log.events_of(log.users.code(user))]]


# ids ------------------------------------------------------------------------------------------------------------------


def test_ids_are_text_and_numbered_by_first_appearance(put):
    log = put("log.csv", "item_id,user_id", "007,b", "7,a", "7.0,b", "用户,a", "1e3,A", "é,b", "e\u0301,b")
    items = put("items.csv", "item_id,title", "cold,Cold", "7,Seven", "colder,")
    dataset, report = load(SourceConfig(interactions=log, items=items))
    assert dataset.interactions.users.ids.tolist() == ["b", "a", "A"]
    assert dataset.catalog.items.ids.tolist() == ["007", "7", "7.0", "用户", "1e3", "é", "e\u0301", "cold", "colder"]
    assert dataset.catalog.texts() == ["", "Seven", "", "", "", "", "", "Cold", ""]
    assert dataset.interactions.items is dataset.catalog.items
    assert dataset.name == "log"
    assert report.items_without_events == 2


def test_white_space_around_ids_is_no_part_of_them(put):
    log = put("log.csv", "user_id,item_id", "u,i 1", " u ,\u3000i 1", "v\t,\u00a0i 1", "u,j")
    items = put("items.csv", "item_id,title", " i 1 ,One")
    dataset, report = load(SourceConfig(interactions=log, items=items))
    assert dataset.interactions.users.ids.tolist() == ["u", "v"]
    assert dataset.catalog.items.ids.tolist() == ["i 1", "j"]
    assert items_of(dataset, "u") == ["i 1", "i 1", "j"]
    assert dataset.catalog.texts() == ["One", ""]
    assert report.trimmed_ids == 5
    assert "5 ids with white space around it, which was removed" in report.lines()


@pytest.mark.parametrize("nothing", ["", "   ", '""', '"\t"', "\u3000"])
def test_a_missing_id_is_a_bad_row(put, nothing):
    log = put("log.csv", "user_id,item_id", "u,i", f"{nothing},i", "u,j")
    with pytest.raises(BadRowsError, match=r"log\.csv: line 3, column 'user_id': expected a user id"):
        load(SourceConfig(interactions=log))
    dataset, report = load(SourceConfig(interactions=log, on_bad_rows="skip"))
    assert (report.rows, report.bad_rows, report.events, dataset.n_users) == (3, 1, 2, 1)


# times ----------------------------------------------------------------------------------------------------------------


def test_without_a_column_of_times_rows_are_in_order(put):
    log = put("log.csv", "user_id,item_id", "u,3", "v,1", "u,1", "u,2")
    dataset, report = load(SourceConfig(interactions=log, ties="item-id"))
    assert items_of(dataset, "u") == ["3", "1", "2"]
    assert (report.timed, report.tied_events, report.tied_share) == (False, 0, None)
    assert "no times: the order of rows is the order of events" in report.rules


def test_a_column_of_times_that_is_nearly_there(put):
    log = put("log.csv", "user_id,item_id,timestmp", "u,1,5")
    _, report = load(SourceConfig(interactions=log))
    assert any("no column 'timestamp'; 'timestmp' was not taken for it" in rule for rule in report.rules)
    with pytest.raises(DataError, match=r"expected a column 'timestamps' \(timestamp\)") as caught:
        load(SourceConfig(interactions=log, timestamp="timestamps"))
    assert "did you mean 'timestmp'?" in caught.value.hint


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("1500000000", 1500000000.0),
        ("1500000000.25", 1500000000.25),
        ("1.5e9", 1.5e9),
        ("-5", -5.0),
        ("1500000000250", 1500000000.25),
        ("1500000000250000", 1500000000.25),
        ("1500000000250000000", 1500000000.25),
        ("1970-01-02", 86400.0),
        ("1970-01-01T00:01:00", 60.0),
        ("1970-01-01 00:01:00.5", 60.5),
        ("1970-01-01T01:01:00+01:00", 60.0),
        ("1970-01-01T00:01:00Z", 60.0),
        ("1969-12-31T19:01:00-0500", 60.0),
    ],
)
def test_forms_of_time(put, written, seconds):
    log = put("log.csv", "user_id,item_id,timestamp", f"u,i,{written}")
    dataset, report = load(SourceConfig(interactions=log))
    assert dataset.interactions.timestamp.tolist() == [pytest.approx(seconds, rel=1e-15)]
    digits = len(written.lstrip("-"))
    unit = {13: "milliseconds", 16: "microseconds", 19: "nanoseconds"}.get(digits if written.isdigit() else 0)
    assert any(f"must be {unit}" in rule for rule in report.rules) == (unit is not None)


def test_a_time_in_another_unit_than_most_is_a_bad_row(put):
    log = put(
        "log.csv", "user_id,item_id,timestamp", "u,1,1500000000001", "u,2,0", "u,3,1500000000000", "v,4,2017-07-14"
    )
    with pytest.raises(BadRowsError, match="line 3, column 'timestamp': expected a time in milliseconds, as most are"):
        load(SourceConfig(interactions=log))
    dataset, report = load(SourceConfig(interactions=log, on_bad_rows="skip"))
    assert items_of(dataset, "u") == ["3", "1"]
    assert dataset.interactions.timestamp.tolist() == [1500000000.0, 1500000000.001, 1499990400.0]
    assert report.bad_rows == 1


@pytest.mark.parametrize("value", ["", "soon", "2017-13-01", "nan", "inf"])
def test_a_missing_or_unreadable_time_is_a_bad_row(put, value):
    log = put("log.csv", "user_id,item_id,timestamp", "u,1,5", f"u,2,{value}", "u,3,4")
    with pytest.raises(
        BadRowsError, match=r"line 3, column 'timestamp': expected a time \(seconds since 1970, or ISO-8601"
    ):
        load(SourceConfig(interactions=log))
    dataset, _ = load(SourceConfig(interactions=log, on_bad_rows="skip"))
    assert items_of(dataset, "u") == ["3", "1"]


def test_ties_in_time(put):
    log = put("log.csv", "user_id,item_id,timestamp", "v,b,9", "u,c,5", "u,a,5", "u,b,5", "u,d,1", "v,a,10")
    dataset, report = load(SourceConfig(interactions=log))
    assert items_of(dataset, "u") == ["d", "c", "a", "b"]
    assert (report.tied_events, report.tied_share) == (2, 0.5)
    assert "ties: events of a user at the same time are in the order of rows" in report.rules
    by_item, _ = load(SourceConfig(interactions=log, ties="item-id"))
    assert items_of(by_item, "u") == ["d", "a", "b", "c"]
    numbered = put("numbered.csv", "user_id,item_id,timestamp", "u,10,5", "u,9,5", "u,100,5")
    by_number, _ = load(SourceConfig(interactions=numbered, ties="item-id"))
    assert items_of(by_number, "u") == ["9", "10", "100"]
    chances = {tuple(items_of(load(SourceConfig(interactions=log, ties="random", seed=s))[0], "u")) for s in range(8)}
    assert len(chances) > 1
    assert {chance[0] for chance in chances} == {"d"}
    one, two = (load(SourceConfig(interactions=log, ties="random", seed=3))[0] for _ in range(2))
    assert one.fingerprint() == two.fingerprint()


# ratings and duplicates -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["", "five", "4,5", "nan", "inf", "1e39"])
def test_a_rating_that_is_no_finite_number_is_a_bad_row(put, value):
    log = put("log.csv", "user_id;item_id;rating", "u;1;5", f"u;2;{value}", "u;3;-0.5")
    found = repr(value) if value else "nothing"
    with pytest.raises(BadRowsError, match=f"line 3, column 'rating': expected a finite number, found {found}"):
        load(SourceConfig(interactions=log))
    dataset, _ = load(SourceConfig(interactions=log, on_bad_rows="skip"))
    assert dataset.interactions.value.tolist() == [5.0, -0.5]


def test_least_rating(put):
    log = put("log.csv", "user_id,item_id,rating", "u,1,5", "u,2,3.5", "v,3,1", "u,4,4")
    items = put("items.csv", "item_id,title", "2,Two")
    dataset, report = load(SourceConfig(interactions=log, items=items, min_rating=4))
    assert dataset.interactions.users.ids.tolist() == ["u"]
    assert dataset.catalog.items.ids.tolist() == ["1", "4", "2"]
    assert (report.rows, report.low_rows, report.events) == (4, 2, 2)
    assert "2 events below the least rating left out" in report.lines()
    with pytest.raises(DataError, match="found 4 rows and none to keep"):
        load(SourceConfig(interactions=log, min_rating=9))
    with pytest.raises(ConfigError, match="min_rating needs ratings"):
        load(SourceConfig(interactions=log, rating=None, min_rating=4))


@pytest.mark.parametrize(
    ("which", "expected"),
    [("keep", "1 2 1 3 1 3"), ("first", "1 2 3"), ("last", "2 1 3")],
    ids=["keep", "first", "last"],
)
def test_duplicates(put, which, expected):
    rows = ["u,3,8,1", "u,1,5,2", "u,2,6,3", "u,1,7,4", "u,1,8,5", "u,3,8,6", "v,1,5,7"]
    log = put("log.csv", "user_id,item_id,timestamp,rating", *rows)
    dataset, report = load(SourceConfig(interactions=log, duplicates=which))
    expected = {"keep": "1 2 1 3 1 3", "first": "1 2 3", "last": "2 1 3"}[which].split()
    assert items_of(dataset, "u") == expected
    assert (report.repeats, report.exact_duplicates, report.dropped_duplicates) == (3, 1, 6 - len(expected))
    if which == "last":
        assert dataset.interactions.value.tolist() == [3, 5, 6, 7]


def test_duplicates_without_times_go_by_row(put):
    log = put("log.csv", "user_id,item_id,rating", "u,1,1", "u,2,2", "u,1,3")
    dataset, report = load(SourceConfig(interactions=log, duplicates="last"))
    assert items_of(dataset, "u") == ["2", "1"]
    assert dataset.interactions.value.tolist() == [2, 3]
    assert (report.repeats, report.exact_duplicates) == (1, 1)


# bad rows -------------------------------------------------------------------------------------------------------------

BAD = ("user_id,item_id,rating,timestamp", 'u,"i', '1",5,1', "", "u,i2,x,2", "u,i3,5", ",i4,y,z", "v,i5,5,3")


def test_bad_rows_error_tells_the_first_and_how_many(put):
    log = put("log.csv", *BAD)
    with pytest.raises(BadRowsError) as caught:
        load(SourceConfig(interactions=log))
    assert caught.value.message == (
        f"{log}: line 5, column 'rating': expected a finite number, found 'x' (2 rows affected, also line 7); "
        "3 more kinds of problem"
    )
    assert "--on-bad-rows skip" in caught.value.hint


def test_bad_rows_report_tells_all(put):
    log = put("log.csv", *BAD)
    items = put("items.csv", "item_id,title", ",Nobody", "i2,Two,2")
    with pytest.raises(BadRowsError) as caught:
        load(SourceConfig(interactions=log, items=items, on_bad_rows="report"))
    assert caught.value.message.splitlines() == [
        f"{log}: line 5, column 'rating': expected a finite number, found 'x' (2 rows affected, also line 7)",
        f"{log}: line 6: expected 4 fields, found '3 in: u,i3,5' (1 row affected)",
        f"{log}: line 7, column 'user_id': expected a user id, found nothing (1 row affected)",
        f"{log}: line 7, column 'timestamp': expected a time (seconds since 1970, or ISO-8601), found 'z' "
        "(1 row affected)",
        f"{items}: line 2, column 'item_id': expected an item id, found nothing (1 row affected)",
        f"{items}: line 3: expected 2 fields, found '3 in: i2,Two,2' (1 row affected)",
    ]


def test_bad_rows_skip_counts_them(put):
    log = put("log.csv", *BAD)
    dataset, report = load(SourceConfig(interactions=log, on_bad_rows="skip"))
    assert dataset.catalog.items.ids.tolist() == ["i\n1", "i5"]
    assert (report.rows, report.bad_rows, report.events) == (5, 3, 2)
    assert len(report.problems) == 4
    assert "3 bad rows left out" in report.lines()


def test_report_without_bad_rows_loads(put):
    log = put("log.csv", "user_id,item_id", "u,i")
    assert load(SourceConfig(interactions=log, on_bad_rows="report"))[1].events == 1


def test_nothing_but_bad_rows(put):
    log = put("log.csv", "user_id,item_id,rating", "u,i,x", "u,i,y")
    with pytest.raises(DataError, match="expected rows, found 2 rows and none to keep"):
        load(SourceConfig(interactions=log, on_bad_rows="skip"))


# items and users ------------------------------------------------------------------------------------------------------


def test_cold_unknown_repeated_and_wordless_items(put):
    log = put("log.csv", "user_id,item_id", "u,a", "u,b", "v,b", "w,x", "w,x")
    items = put("items.csv", "item_id,title,note", "c,Cold,", "a,First,1", "a,Second,2", "b,  ,3", "d,,")
    dataset, report = load(SourceConfig(interactions=log, items=items))
    assert dataset.catalog.items.ids.tolist() == ["a", "b", "x", "c", "d"]
    assert dataset.catalog.fields == {"title": ["First", "  ", "", "Cold", ""], "note": ["1", "3", "", "", ""]}
    assert report.text == ("title",)
    assert (report.item_rows, report.repeated_item_rows) == (5, 1)
    assert (report.items_without_row, report.events_without_row) == (1, 2)
    assert (report.items_without_events, report.empty_texts, report.users_with_one_event) == (2, 3, 1)


def test_items_alone_are_a_catalogue_of_cold_items(put):
    items = put("items.csv", "item_id,title", "1,One", "2,Two")
    dataset, report = load(SourceConfig(items=items))
    assert (len(dataset.interactions), dataset.n_users, dataset.n_items) == (0, 0, 2)
    assert (report.rows, report.items_without_events, report.tied_share) == (0, 2, None)
    assert dataset.interactions.popularity.tolist() == [0, 0]


def test_a_log_alone_has_no_text(put):
    log = put("log.csv", "user_id,item_id", "u,i")
    dataset, report = load(SourceConfig(interactions=log))
    assert dataset.catalog.texts() == [""]
    assert (report.empty_texts, report.items_without_row) == (1, 0)
    assert "items have no text" in report.rules
    with pytest.raises(ConfigError, match="text names fields, and there is no items file"):
        load(SourceConfig(interactions=log, text=("title",)))


def test_text_fields(put):
    items = put("items.csv", "item_id,name,year,Plot", "1,One,1999,Long ago", "2,Two,,")
    assert load(SourceConfig(items=items))[1].text == ("name", "Plot")
    assert load(SourceConfig(items=items, text=("Plot", "year")))[0].catalog.texts() == ["Long ago. 1999", ""]
    with pytest.raises(DataError, match=r"expected a column 'plots' \(text\), found 'name', 'year', 'Plot'") as caught:
        load(SourceConfig(items=items, text=("plots",)))
    assert caught.value.hint == "did you mean 'Plot'?"
    titled = put("titled.csv", "item_id,name,TITLE", "1,One,T")
    assert load(SourceConfig(items=titled))[1].text == ("TITLE",)


@pytest.mark.parametrize(
    ("values", "in_words"),
    [
        (("1994", "1e3", "-2.5"), False),
        (("1994-09-10", "10/9/1994 12:30"), False),
        (("01-Jan-1995", "May 3, 1996"), False),
        (("https://example.org/a.jpg", "www.example.org/b"), False),
        (("covers/a.jpg", "b.PNG"), False),
        (("True", "no"), False),
        (("", " "), False),
        (("Heat", "1994", ""), True),
        (("1984", "2001", "Heat"), False),
        (("肖申克的救赎", "142分钟"), True),
        (("May the force be with you", "Marching on"), True),
    ],
)
def test_fields_in_words_are_text(put, values, in_words):
    items = put("items.csv", "item_id,what,name", *(f'{i},"{v}",word' for i, v in enumerate(values)))
    assert load(SourceConfig(items=items))[1].text == (("what", "name") if in_words else ("name",))


def test_a_template_says_how_fields_become_one_text(put):
    items = put("items.csv", "item_id,name,year,Plot", "1,One,1999,Long ago", "2,Two,,")
    dataset, report = load(SourceConfig(items=items, template="{name}[ ({year})]"))
    assert dataset.catalog.texts() == ["One (1999)", "Two"]
    assert report.text == ("name", "year")
    assert "text of items: {name}[ ({year})]" in report.rules
    with pytest.raises(DataError, match=r"expected a column 'nam' \(text\)"):
        load(SourceConfig(items=items, template="{nam}"))
    with pytest.raises(DataError, match=r"expected a column 'jahr' \(text\)"):
        load(SourceConfig(items=items, text=("name",), template="{name} {jahr}"))


def test_items_may_call_their_id_otherwise(put):
    log = put("log.csv", "who,what", "u,a")
    items = put("items.csv", "asin,title", "a,A")
    dataset, _ = load(SourceConfig(interactions=log, items=items, user="who", item="what", item_id="asin"))
    assert dataset.catalog.texts() == ["A"]
    with pytest.raises(DataError, match=r"expected a column 'what' \(item_id\), found 'asin', 'title'"):
        load(SourceConfig(interactions=log, items=items, user="who", item="what"))


# files ----------------------------------------------------------------------------------------------------------------


def test_missing_file_names_the_nearest(put, tmp_path):
    put("ratings.csv", "user_id,item_id", "u,i")
    for chosen in ("auto", "csv"):
        with pytest.raises(DataError, match=r"ratngs\.csv: expected a file, found none") as caught:
            load(SourceConfig(interactions=tmp_path / "ratngs.csv", format=chosen))
        assert "did you mean" in caught.value.hint
        assert "ratings.csv" in caught.value.hint
    with pytest.raises(DataError, match="found none") as caught:
        load(SourceConfig(interactions=tmp_path / "no" / "such.csv"))
    assert caught.value.hint == "check the path"


def test_missing_column_names_the_nearest(put):
    log = put("log.csv", "usr_id,item_id", "u,i")
    with pytest.raises(
        DataError, match=r"log\.csv: expected a column 'user_id' \(user\), found 'usr_id', 'item_id'"
    ) as caught:
        load(SourceConfig(interactions=log))
    assert caught.value.hint == "did you mean 'usr_id'? set user = \"usr_id\""


@pytest.mark.parametrize(
    ("log", "items"),
    [("userId,itemId,Rating,TIMESTAMP", "itemId,title"), ("user,item,rating,timestamp", "Item ID,title")],
)
def test_usual_names_may_be_spelled_otherwise(put, log, items):
    files = put("log.csv", log, "u,i,4,7", "u,j,5,6"), put("items.csv", items, "i,One", "j,Two")
    dataset, report = load(SourceConfig(interactions=files[0], items=files[1]))
    assert items_of(dataset, "u") == ["j", "i"]
    assert dataset.interactions.value.tolist() == [5.0, 4.0]
    assert dataset.catalog.texts() == ["One", "Two"]
    assert report.timed


@pytest.mark.parametrize("header", ["user,userId,item_id", "User,user,item_id"])
def test_of_two_spellings_none_is_taken(put, header):
    log = put("log.csv", header, "u,v,i")
    with pytest.raises(DataError, match="expected a column 'user_id'"):
        load(SourceConfig(interactions=log))


def test_a_name_that_somebody_chose_is_taken_literally(put):
    log = put("log.csv", "Reader,item_id", "u,i")
    with pytest.raises(DataError, match="expected a column 'reader'"):
        load(SourceConfig(interactions=log, user="reader"))


def test_a_file_without_a_header(put):
    log = put("log.csv", "1,31,2.5,1260759144", "1,1029,3,1260759179")
    with pytest.raises(DataError, match="expected a column 'user_id'") as caught:
        load(SourceConfig(interactions=log))
    assert "looks like data" in caught.value.hint


@pytest.mark.parametrize("name", ["it's [1]*.csv", 'a"b;--.csv', "~home.csv", "数据?.csv", "{a,b}.csv"])
def test_a_path_is_nothing_but_a_path(put, name):
    put("its 1.csv", "user_id,item_id", "wrong,wrong")
    put("it's 1x.csv", "user_id,item_id", "wrong,wrong")
    log = put(name, "user_id,item_id", "u,i")
    dataset, report = load(SourceConfig(interactions=log))
    assert dataset.interactions.users.ids.tolist() == ["u"]
    assert report.files == (str(log),)


def test_hostile_column_names_are_only_names(put):
    user, item, field = "x'); DROP TABLE log; --", 'y"', "$1 ? {z}"
    log = put("log.csv", f'"{user}","y"""', "u,i")
    items = put("items.csv", f'"y""","{field}"', "i,Text")
    dataset, _ = load(SourceConfig(interactions=log, items=items, user=user, item=item))
    assert dataset.catalog.fields == {field: ["Text"]}


def test_gzip_is_known_by_content(put):
    plain = put("log.csv", "user_id,item_id", "u,i")
    zipped = plain.with_name("zipped.csv")
    zipped.write_bytes(gzip.compress(plain.read_bytes()) + gzip.compress(b"u,j\n"))
    assert items_of(load(SourceConfig(interactions=zipped))[0], "u") == ["i", "j"]


def test_the_database_never_goes_to_the_network_and_leaves_nothing(tmp_path):
    with Scratch() as scratch:
        for setting in ("autoinstall_known_extensions", "autoload_known_extensions", "allow_community_extensions"):
            assert scratch.row("SELECT current_setting(?)", [setting]) == (False,)
        assert scratch.row("SELECT current_setting('enable_progress_bar')") == (False,)  # it would go to stdout
        folder = scratch.folder
        with pytest.raises(duckdb.CatalogException):
            scratch.run("SELECT * FROM no_such_table")  # an error in our own SQL is not the user's
    assert not folder.exists()


# formats and configuration --------------------------------------------------------------------------------------------


def test_formats():
    assert formats() == ("amazon", "csv", "jsonl", "mind", "movielens", "netflix", "parquet", "recbole", "sequences")


def test_a_format_that_cannot_be_told(put, tmp_path):
    with pytest.raises(DataError, match="expected a format that can be told, found 'hello world'") as caught:
        detect(put("a.bin", "hello world"))
    assert "set format to one of amazon, csv" in caught.value.hint
    with pytest.raises(DataError, match="expected Parquet files, or those of MovieLens, Netflix, MIND or"):
        detect(tmp_path)
    with pytest.raises(DataError, match="found an empty file"):
        detect(put("empty"))
    with pytest.raises(DataError, match="expected a file, found a folder"):
        load(SourceConfig(interactions=tmp_path, format="csv"))


def test_a_named_format_overrules_names(put):
    log = put("log.json", "user_id,item_id", "u,i")
    assert load(SourceConfig(interactions=log, format="csv"))[1].formats == ("csv",)


def test_items_may_come_in_another_format(put):
    log = put("log.csv", "user_id,item_id", "u,i")
    items = put("items.jsonl", json.dumps({"item_id": "i", "title": "T"}))
    for chosen in ("auto", "csv"):
        dataset, report = load(SourceConfig(interactions=log, items=items, format=chosen))
        assert dataset.catalog.texts() == ["T"]
        assert report.formats == ("csv", "jsonl")


def test_a_named_format_is_for_items_too(put):
    items = put("items.dat", "code~name", "i~I")
    with pytest.raises(DataError, match="no format knows"):
        load(SourceConfig(items=items, item="code"))
    dataset, _ = load(SourceConfig(items=items, item="code", format="csv", delimiter="~"))
    assert dataset.catalog.texts() == ["I"]


@pytest.mark.parametrize(
    ("settings_", "error", "message"),
    [
        ({}, ConfigError, "found neither"),
        ({"items": Path("x"), "format": "parket"}, UnknownNameError, "did you mean 'parquet'"),
        ({"items": Path("x"), "on_bad_rows": "skp"}, ConfigError, "did you mean 'skip'"),
        ({"items": Path("x"), "duplicates": "none"}, ConfigError, "must be one of 'keep', 'first', 'last'"),
        ({"items": Path("x"), "ties": "files"}, ConfigError, "did you mean 'file'"),
        ({"items": Path("x"), "min_rating": float("nan")}, ConfigError, "must be a finite number"),
    ],
)
def test_wrong_settings(settings_, error, message):
    with pytest.raises(error) as caught:
        SourceConfig(**settings_)
    assert message in str(caught.value)


def test_the_report_is_json_and_words(put):
    log = put("log.csv", *BAD)
    _, report = load(SourceConfig(interactions=log, on_bad_rows="skip"))
    told = json.loads(json.dumps(report.to_dict()))
    assert told["problems"][0]["places"] == [{"file": str(log), "line": 5}, {"file": str(log), "line": 7}]
    assert set(told) == set(LoadReport.__dataclass_fields__)
    assert report.lines()[0] == f"{log} (csv): 2 events of 2 users with 2 items, from 5 rows"


# congruence -----------------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00\r"), min_size=1, max_size=5)
IDS = TEXT.filter(lambda text: text == text.strip(" \t\n\v\f\ufeff") == text.strip())
EVENTS = st.tuples(IDS, IDS, st.floats(-10, 10, width=32), st.integers(0, 2_000_000_000))
COLUMNS = ("user_id", "item_id", "rating", "timestamp")


def write_all(folder: Path, rows: list[tuple]) -> dict[str, Path]:
    """Write the same log in every format with columns of one's own, and return the files by format."""
    quoted = [[f'"{value!s}"' for value in (u.replace('"', '""'), i.replace('"', '""'), r, t)] for u, i, r, t in rows]
    files = {name: folder / f"log.{name}" for name in ("csv", "tsv", "inter", "jsonl", "parquet")}
    for name, delimiter in (("csv", ","), ("tsv", "\t"), ("inter", "\t")):
        types = (":token", ":token", ":float", ":float") if name == "inter" else ("",) * 4
        header = delimiter.join(column + type_ for column, type_ in zip(COLUMNS, types, strict=True))
        text = "\n".join([header, *map(delimiter.join, quoted)])
        files[name].write_bytes(text.encode())
    files["jsonl"].write_text("\n".join(json.dumps(dict(zip(COLUMNS, row, strict=True))) for row in rows))
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE log (user_id VARCHAR, item_id VARCHAR, rating FLOAT, timestamp BIGINT)")
        connection.executemany("INSERT INTO log VALUES (?, ?, ?, ?)", rows)
        connection.execute(f"COPY log TO '{files['parquet']}' (FORMAT parquet)")
    zipped = folder / "log.csv.gz"
    zipped.write_bytes(gzip.compress(files["csv"].read_bytes()))
    return {**files, "gz": zipped}


@settings(max_examples=8, deadline=None)
@given(rows=st.lists(EVENTS, min_size=1, max_size=10))
def test_one_log_in_every_format_is_one_log(tmp_path_factory, rows):
    files = write_all(tmp_path_factory.mktemp("formats"), rows)
    loaded = {name: load(SourceConfig(interactions=path)) for name, path in files.items()}
    assert {report.formats[0] for _, report in loaded.values()} == {"csv", "recbole", "jsonl", "parquet"}
    assert len({dataset.fingerprint() for dataset, _ in loaded.values()}) == 1
    log = loaded["csv"][0].interactions
    users, items = (list(dict.fromkeys(row[n] for row in rows)) for n in (0, 1))
    assert (log.users.ids.tolist(), log.items.ids.tolist()) == (users, items)
    expected = sorted(rows, key=lambda row: (users.index(row[0]), row[3]))
    found = zip(log.user, log.item, log.value, log.timestamp, strict=True)
    assert [(users[u], items[i], float(r), int(t)) for u, i, r, t in found] == [
        (u, i, float(np.float32(r)), t) for u, i, r, t in expected
    ]


def test_chunks_of_a_long_log_keep_their_order(put, monkeypatch):
    from frugalrec.data.sources import _staging

    rng = np.random.default_rng(0)
    rows = [f"u{u},i{i},{t}" for u, i, t in zip(*rng.integers(0, 40, (3, 3000)), strict=True)]
    rows[700] = "u1,i1,never"
    log = put("log.csv", "user_id,item_id,timestamp", *rows)
    whole, _ = load(SourceConfig(interactions=log, on_bad_rows="skip"))
    monkeypatch.setattr(_staging, "CHUNK_ROWS", 512)
    chunked, report = load(SourceConfig(interactions=log, on_bad_rows="skip"))
    assert chunked.fingerprint() == whole.fingerprint()
    assert (report.rows, report.events) == (3000, 2999)
    kept = [row.split(",") for n, row in enumerate(rows) if n != 700]
    first = list(dict.fromkeys(user for user, _, _ in kept))
    expected = sorted(kept, key=lambda row: (first.index(row[0]), int(row[2])))
    ids = whole.interactions.items.ids
    assert [ids[code] for code in whole.interactions.item] == [item for _, item, _ in expected]
