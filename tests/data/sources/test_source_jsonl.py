from __future__ import annotations

import json

import pytest

from frugalrec.data.loading import BadRowsError, SourceConfig, load
from frugalrec.errors import DataError


def test_numbers_keep_their_digits_and_keys_mean_themselves(put, events):
    keys = {"user": "a/b~c", "item": 'it"em.x', "rating": "$.r"}
    rows = [
        {"a/b~c": 12345678901234567890, 'it"em.x': "007", "$.r": 3, "timestamp": 20.5},
        {"a/b~c": 7, 'it"em.x': "007", "$.r": "4", "timestamp": "1970-01-01T00:00:10Z"},
    ]
    log = put("log.jsonl", "\n\n".join(map(json.dumps, rows)))
    dataset, report = load(SourceConfig(interactions=log, **keys))
    assert events(dataset) == [("12345678901234567890", "007", 3.0, 20.5), ("7", "007", 4.0, 10.0)]
    assert report.rows == 2


def test_bad_lines(put):
    lines = [
        '{"user_id": "u", "item_id": "i"}',
        "",
        '{"user_id": "u", "item_id"',
        '{"user_id": null, "item_id": "i"}',
        "[1]",
    ]
    log = put("log.jsonl", "\n".join(lines))
    with pytest.raises(BadRowsError) as caught:
        load(SourceConfig(interactions=log, on_bad_rows="report"))
    told = [(p.places[0].number, p.column, p.expected, p.rows) for p in caught.value.problems]
    assert told == [
        (3, "", "one JSON object", 1),
        (4, "user_id", "a user id", 2),
        (5, "item_id", "an item id", 1),
    ]
    _, report = load(SourceConfig(interactions=log, on_bad_rows="skip"))
    assert (report.rows, report.bad_rows, report.events) == (4, 3, 1)


def test_a_key_that_only_later_lines_have(put):
    lines = [json.dumps({"user_id": n, "item_id": n}) for n in range(50)]
    log = put("log.jsonl", "\n".join([*lines, json.dumps({"user_id": 1, "item_id": 1, "rating": 5})]))
    with pytest.raises(BadRowsError, match=r"column 'rating': expected a finite number, found nothing \(50 rows"):
        load(SourceConfig(interactions=log))


def test_missing_key_names_the_nearest(put):
    log = put("log.jsonl", '{"usr_id": 1, "item_id": 2}\n')
    with pytest.raises(DataError, match="expected a column 'user_id' \\(user\\), found 'usr_id', 'item_id'") as caught:
        load(SourceConfig(interactions=log))
    assert "did you mean 'usr_id'?" in caught.value.hint


def test_an_array_is_refused(put):
    log = put("log.json", '[\n{"user_id": 1, "item_id": 2}\n]\n')
    with pytest.raises(DataError, match="expected one JSON object a line, found a JSON array") as caught:
        load(SourceConfig(interactions=log))
    assert "jq" in caught.value.hint


def test_items_of_any_shape(put):
    rows = [
        {"item_id": 1, "title": "A", "tags": ["x", "y"], "deep": [["p", "q"], ["r"]], "n": 1.5, "none": None},
        {"item_id": "2", "title": "Ü\n\"b\"", "more": {"k": True}, "tags": []},
        "not an object",
        {"title": "nobody"},
    ]  # fmt: skip
    items = put("items.jsonl", "\n".join(map(json.dumps, rows)) + "\n{broken\n")
    dataset, report = load(SourceConfig(items=items, on_bad_rows="skip"))
    assert list(dataset.catalog.items.ids) == ["1", "2"]
    assert dataset.catalog.fields == {
        "title": ["A", 'Ü\n"b"'],
        "tags": ["x, y", ""],
        "more": ["", '{"k":true}'],
        "deep": ["p, q, r", ""],
        "n": ["1.5", ""],
        "none": ["", ""],
    }
    assert dataset.catalog.text == ("title",)
    assert (report.item_rows, report.bad_item_rows) == (5, 3)
    assert [(p.expected, p.places[0].number, p.rows) for p in report.problems] == [
        ("an item id", 3, 2),
        ("one JSON object", 5, 1),
    ]
