from __future__ import annotations

import pytest

from frugalrec.data.loading import BadRowsError, SourceConfig, detect, load
from frugalrec.errors import DataError

DAY = 86400.0
FIRST = ("8", "1", 5.0, 12948 * DAY)  # 2005-06-14
SECOND = ("9", "1", 3.0, 12949 * DAY)
THIRD = ("8", "12", 4.0, 12950 * DAY)
TITLES = "1,2003,Dinosaur Planet\n12,NULL,Crème, Brûlée, and Co.\n99,1990,Nobody Saw It\n"


def combined(put):
    return put("combined_data_1.txt", "1:\n8,5,2005-06-14\n9,3,2005-06-15\n12:\n8,4,2005-06-16\n")


def test_combined_form(put, events):
    path = combined(put)
    assert detect(path) == "netflix"
    dataset, report = load(SourceConfig(interactions=path))
    assert events(dataset) == [FIRST, THIRD, SECOND]
    assert report.rows == 3


def test_one_film_a_file_is_the_same_log(put):
    put("training_set/mv_0000001.txt", "1:\n8,5,2005-06-14\n9,3,2005-06-15\n")
    folder = put("training_set/mv_0000012.txt", "12:\n8,4,2005-06-16").parent.parent
    one, _ = load(SourceConfig(interactions=combined(put)))
    combined(put).unlink()
    put("movie_titles.txt", TITLES, "latin-1")
    many, report = load(SourceConfig(interactions=folder, format="netflix"))
    assert list(many.catalog.items.ids) == ["1", "12", "99"]
    assert many.catalog.fields == {
        "title": ["Dinosaur Planet", "Crème, Brûlée, and Co.", "Nobody Saw It"],
        "year": ["2003", "", "1990"],
    }
    assert many.catalog.text == ("title",)
    assert (many.interactions.user == one.interactions.user).all()
    assert (many.interactions.item == one.interactions.item).all()
    assert (many.interactions.timestamp == one.interactions.timestamp).all()
    assert report.items_without_events == 1


def test_files_are_read_in_order_of_film(put):
    put("many/mv_10.txt", "10:\n1,5,2005-06-14\n")
    folder = put("many/mv_9.txt", "9:\n1,5,2005-06-14\n").parent
    dataset, _ = load(SourceConfig(interactions=folder))
    assert list(dataset.catalog.items.ids) == ["9", "10"]


def test_a_bad_line_is_told_in_its_own_file(put):
    put("many/mv_1.txt", "1:\n8,5,2005-06-14\n")
    folder = put("many/mv_2.txt", "2:\n8,5,2005-06-14\n9,x,2005-06-15\n7,4,June\n6\n5,1,2005-01-01,9\n").parent
    with pytest.raises(BadRowsError) as caught:
        load(SourceConfig(interactions=folder, on_bad_rows="report"))
    told = [(p.places[0].file.name, p.places[0].number, p.column, p.values[0]) for p in caught.value.problems]
    assert told == [
        ("mv_2.txt", 3, "rating", "x"),
        ("mv_2.txt", 4, "date", "June"),
        ("mv_2.txt", 5, "", "6"),
        ("mv_2.txt", 6, "", "4 in: 5,1,2005-01-01,9"),
    ]


def test_a_rating_above_any_film_is_a_bad_row(put):
    path = put("mv_1.txt", "8,5,2005-06-14\n1:\n9,3,2005-06-15\n")
    with pytest.raises(DataError, match="line 1: expected 'user,rating,date' below a line 'film:'"):
        load(SourceConfig(interactions=path))
    _, report = load(SourceConfig(interactions=path, on_bad_rows="skip"))
    assert (report.rows, report.bad_rows, report.events) == (2, 1, 1)


def test_titles_of_another_form_are_bad_rows(put):
    path = put("movie_titles.txt", "1,2003,Dinosaur Planet\n1997,A Title,Action\n")
    with pytest.raises(BadRowsError, match=r"line 2: expected 'id,year,title'.*found '1997,A Title,Action'"):
        load(SourceConfig(items=path))


def test_folder_without_ratings(put):
    folder = put("empty/readme.txt", "nothing here").parent
    with pytest.raises(DataError, match="found none in the folder"):
        load(SourceConfig(interactions=folder, format="netflix"))
