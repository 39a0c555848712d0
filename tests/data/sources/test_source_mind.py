from __future__ import annotations

import pytest

from frugalrec.data.loading import SourceConfig, detect, load
from frugalrec.errors import DataError

NOON = 1573560000.0  # 2019-11-12 12:00:00 UTC
BEHAVIORS = (
    "1\tU1\t11/12/2019 1:00:00 PM\tN1 N2 N1\tN3-0 N4-1\n"
    "2\tU2\t11/12/2019 12:00:00 PM\t\tN3-1 N5-0 N6-1\n"
    "3\tU1\t11/12/2019 12:00:00 PM\tN1 N2 N1\tN5-1\n"
    "4\tU3\t11/12/2019 12:00:00 PM\t\tN5-0\n"
)
NEWS = (
    'N4\tnews\tlocal\tA "quoted title\tWhat happened\thttps://example.org/4\t[]\t[{"Label": "X"}]\n'
    "N9\tsports\tother\tCold news\t\thttps://example.org/9\t[]\t[]\n"
)


def test_histories_come_before_clicks_one_second_apart(put, events):
    put("mind/behaviors.tsv", BEHAVIORS)
    folder = put("mind/news.tsv.gz", NEWS).parent
    dataset, report = load(SourceConfig(interactions=folder))
    assert events(dataset) == [
        ("U1", "N1", None, NOON - 3),
        ("U1", "N2", None, NOON - 2),
        ("U1", "N1", None, NOON - 1),
        ("U1", "N5", None, NOON),
        ("U1", "N4", None, NOON + 3600),
        ("U2", "N3", None, NOON),
        ("U2", "N6", None, NOON),
    ]
    assert dataset.catalog.fields["title"][dataset.catalog.items.code("N4")] == 'A "quoted title'
    assert dataset.catalog.text == ("title", "abstract")
    assert "N9" in dataset.catalog.items
    rules = "\n".join(report.rules)
    assert "4 clicks were read as events; 3 items shown without a click were not" in rules
    assert "3 events of histories have no time of their own" in rules
    assert "1 users have neither history nor clicks" in rules
    assert "changes between impressions" not in rules


def test_a_history_that_changes_is_said(put, events):
    log = put("behaviors.tsv", "1\tU\t11/12/2019 1:00:00 PM\tN1 N2\tN3-1\n2\tU\t11/12/2019 12:00:00 PM\tN1\tN2-1\n")
    dataset, report = load(SourceConfig(interactions=log))
    assert [item for _, item, _, _ in events(dataset)] == ["N1", "N2", "N3"]
    assert any("the history of 1 users changes" in rule for rule in report.rules)


def test_unlabelled_impressions_are_no_events(put, events):
    log = put("behaviors.tsv", "1\tU\t11/15/2019 1:00:00 AM\tN1\tN3 N4\n")
    dataset, _ = load(SourceConfig(interactions=log))
    assert [item for _, item, _, _ in events(dataset)] == ["N1"]


def test_without_times_the_rows_are_the_order(put, events):
    log = put("behaviors.tsv", BEHAVIORS)
    dataset, _ = load(SourceConfig(interactions=log, timestamp=None))
    assert [item for user, item, _, _ in events(dataset) if user == "U1"] == ["N4", "N1", "N2", "N1", "N5"]


def test_an_unreadable_time(put):
    log = put("behaviors.tsv", BEHAVIORS.replace("11/12/2019 1:00:00 PM", "yesterday"))
    with pytest.raises(DataError, match=r"line 1, column 'time': expected a time.*found 'yesterday' \(1 row affected"):
        load(SourceConfig(interactions=log))


def test_detected_by_content(put):
    assert detect(put("log.tsv", BEHAVIORS)) == "mind"
    assert detect(put("news.tsv", NEWS)) == "mind"


def test_a_folder_without_news(put):
    folder = put("mind/behaviors.tsv", BEHAVIORS).parent
    with pytest.raises(DataError, match=r"expected news\.tsv, found none"):
        load(SourceConfig(interactions=folder, items=folder))
    _, report = load(SourceConfig(interactions=folder))
    assert report.item_rows == 0
