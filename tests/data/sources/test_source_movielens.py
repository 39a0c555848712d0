from __future__ import annotations

import pytest

from frugalrec.data.loading import SourceConfig, detect, load
from frugalrec.errors import DataError

FLAGS = ["0"] * 19


def u_item(id_: str, title: str, *genres: int) -> str:
    flags = ["1" if n in genres else "0" for n in range(19)]
    return "|".join([id_, title, "01-Jan-1995", "", "http://example.org/", *flags])


def test_100k_folder_brings_its_latin1_items(put, events):
    log = put("ml-100k/u.data", "7\t11\t3\t880000002\n7\t12\t5\t880000001\n8\t11\t1\t880000003\n")
    lines = [u_item("11", "Amélie (2001)", 5, 14), u_item("12", "Unheard Of (1999)", 0), u_item("13", "Cold (1990)")]
    put("ml-100k/u.item", "\n".join(lines) + "\n", "latin-1")
    dataset, report = load(SourceConfig(interactions=log.parent))
    assert events(dataset) == [
        ("7", "12", 5.0, 880000001.0),
        ("7", "11", 3.0, 880000002.0),
        ("8", "11", 1.0, 880000003.0),
    ]
    assert list(dataset.catalog.items.ids) == ["11", "12", "13"]
    assert dataset.catalog.fields["title"] == ["Amélie (2001)", "Unheard Of (1999)", "Cold (1990)"]
    assert dataset.catalog.fields["genres"] == ["Comedy, Romance", "unknown", ""]
    assert dataset.catalog.texts()[0] == "Amélie (2001). Comedy, Romance"
    assert report.formats == ("movielens",)
    assert any("Latin-1" in rule for rule in report.rules)


def test_1m_reads_double_colons_with_quotes_and_utf8(put, events):
    log = put("ratings.dat.gz", "1::10::5::978300760\n1::20::3::978300760\n")
    items = put("movies.dat", '10::"Quoted" Début (1999)::Comedy|Drama\n20::A: B, C (2000)::Film-Noir\n')
    dataset, _ = load(SourceConfig(interactions=log, items=items))
    assert events(dataset) == [("1", "10", 5.0, 978300760.0), ("1", "20", 3.0, 978300760.0)]
    assert dataset.catalog.fields["title"] == ['"Quoted" Début (1999)', "A: B, C (2000)"]
    assert dataset.catalog.fields["genres"] == ["Comedy, Drama", "Film-Noir"]


def test_latest_is_csv_with_fixed_columns(put, events):
    put("latest/ratings.csv", "userId,movieId,rating,timestamp\n1,307,3.5,1256677221\n")
    put(
        "latest/movies.csv",
        'movieId,title,genres\n307,"Three Colors: Blue, The (1993)",Drama\n9,X,(no genres listed)\n',
    )
    put("latest/tags.csv", "userId,movieId,tag,timestamp\n")
    folder = put("latest/README.txt", "read me").parent
    dataset, report = load(SourceConfig(interactions=folder))
    assert events(dataset) == [("1", "307", 3.5, 1256677221.0)]
    assert dataset.catalog.fields == {"title": ["Three Colors: Blue, The (1993)", "X"], "genres": ["Drama", ""]}
    assert report.items_without_events == 1


def test_a_file_of_any_name_is_known_by_its_first_line(put):
    assert detect(put("log.txt", "1\t2\t3\t880000002\n")) == "movielens"
    assert detect(put("log.data", "1::2::3.5::880000002\n")) == "movielens"
    # ratings.csv is too common a name to go by
    assert detect(put("ratings.csv", "user_id,item_id,rating\n")) == "csv"


def test_bad_line_is_told_by_its_number(put):
    log = put("ratings.dat", "1::10::5::978300760\n\n1::10::five::978300760\n1::10::5\n")
    with pytest.raises(
        DataError, match=r"ratings\.dat: line 3, column 'rating': expected a finite number, found 'five'"
    ):
        load(SourceConfig(interactions=log))
    _, report = load(SourceConfig(interactions=log, on_bad_rows="skip"))
    assert (report.rows, report.bad_rows, report.events) == (3, 2, 1)
    assert [problem.places[0].number for problem in report.problems] == [3, 4]


def test_what_is_no_movielens_is_refused(put):
    other = put("other.csv", "a,b\n1,2\n")
    with pytest.raises(DataError, match="expected ratings of MovieLens"):
        load(SourceConfig(interactions=other, format="movielens"))


def test_times_and_ratings_can_be_left_unread(put, events):
    log = put("u.data", "1\t5\t3\t20\n1\t6\t4\t10\n")
    dataset, report = load(SourceConfig(interactions=log, timestamp=None, rating=""))
    assert events(dataset) == [("1", "5", None, None), ("1", "6", None, None)]
    assert not report.timed
    assert not report.rated
