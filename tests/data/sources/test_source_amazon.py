from __future__ import annotations

import json

import pytest

from frugalrec.data.loading import SourceConfig, detect, load
from frugalrec.errors import DataError

REVIEWS = [
    {"overall": 5.0, "reviewerID": "A2", "asin": "B000000001", "reviewText": "Good, \"very\" good\nindeed",
     "unixReviewTime": 1529193600},
    {"overall": 2.0, "reviewerID": "A1", "asin": "0000000002", "style": {"Size:": " 1"}, "unixReviewTime": 1529193000},
    {"overall": 4.0, "reviewerID": "A2", "asin": "0000000002", "unixReviewTime": 1520000000},
]  # fmt: skip
META = [
    {"category": ["Gifts", "Cards"], "description": ["First part.", "Second part."], "title": "A card", "brand": "Br",
     "also_buy": ["x"], "asin": "0000000002"},
    {"category": [], "description": [], "title": "", "brand": "", "asin": "COLD"},
    {"title": "Second row of the same card", "asin": "0000000002"},
]  # fmt: skip


def json_lines(rows: list[dict]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_reviews_with_metadata(put, events):
    log = put("Things_5.json.gz", json_lines(REVIEWS))
    items = put("meta_Things.json.gz", json_lines(META))
    dataset, report = load(SourceConfig(interactions=log, items=items))
    assert events(dataset) == [
        ("A2", "0000000002", 4.0, 1520000000.0),
        ("A2", "B000000001", 5.0, 1529193600.0),
        ("A1", "0000000002", 2.0, 1529193000.0),
    ]
    assert list(dataset.catalog.items.ids) == ["B000000001", "0000000002", "COLD"]
    assert dataset.catalog.fields == {
        "title": ["", "A card", ""],
        "brand": ["", "Br", ""],
        "category": ["", "Gifts, Cards", ""],
        "description": ["", "First part. Second part.", ""],
    }
    assert dataset.catalog.text == ("title",)
    assert report.formats == ("amazon",)
    assert report.repeated_item_rows == 1
    assert (report.items_without_row, report.items_without_events, report.empty_texts) == (1, 1, 2)


def test_categories_of_2014_are_flattened(put):
    items = put(
        "meta.json", json_lines([{"asin": "1", "title": "T", "categories": [["A", "B"], ["C"]], "description": "D"}])
    )
    dataset, _ = load(SourceConfig(items=items))
    assert dataset.catalog.fields["category"] == ["A, B, C"]
    assert dataset.catalog.fields["description"] == ["D"]


def test_python_literals_are_refused(put):
    items = put("meta_Old.json", "{'asin': '1', 'title': 'T'}\n")
    with pytest.raises(DataError, match="found Python literals"):
        load(SourceConfig(items=items))


def test_reviews_of_2023_are_plain_json_lines(put, events):
    row = {"rating": 4.0, "user_id": "A", "asin": "x", "parent_asin": "p", "timestamp": 1588687728923, "title": "t"}
    log = put("Reviews.jsonl", json_lines([row]))
    assert detect(log) == "jsonl"
    dataset, _ = load(SourceConfig(interactions=log, item="parent_asin"))
    assert events(dataset) == [("A", "p", 4.0, 1588687728.923)]
