"""What a catalogue is found to say of its items."""

from __future__ import annotations

import numpy as np
import pytest
from toy_films import films

from frugalrec.data.catalog import Catalog
from frugalrec.data.ids import IdMap
from frugalrec.tasks._forms import form, title_forms
from frugalrec.tasks.attributes import Attributes, Value


def catalog(**columns: list[str]) -> Catalog:
    n = len(next(iter(columns.values())))
    return Catalog(IdMap([str(i) for i in range(n)]), columns, ("title",))


def test_kinds_of_fields() -> None:
    found = Attributes(films().catalog)
    assert set(found.fields) == {"genre", "people", "country"}
    assert set(found.numbers) == {"minutes", "year"}
    assert found.years.tolist()[:2] == [1951, 1987]
    assert np.isnan(found.numbers["minutes"][-1])
    assert found.of(0) == {
        "genre": ("Crime", "Drama"),
        "people": ("Ada Stone",),
        "country": ("France",),
        "minutes": ("95",),
        "year": ("1951",),
    }


def test_words_apart_by_spaces_are_values_where_they_recur() -> None:
    cells = ["Action Comedy", "Action", "Comedy", "Drama", "Drama Action", "Comedy Drama"] * 10
    found = Attributes(catalog(title=[f"T{i}" for i in range(60)], kind=cells))
    assert sorted(v.name for v in found.values) == ["Action", "Comedy", "Drama"]


def test_names_of_two_words_stay_whole() -> None:
    cells = ["Acme Corp", "Zeta Labs", "Acme Corp", "Zeta Labs", "Oslo"] * 10
    found = Attributes(catalog(title=[f"T{i}" for i in range(50)], brand=cells))
    assert sorted(v.name for v in found.values) == ["Acme Corp", "Oslo", "Zeta Labs"]


def test_prose_and_addresses_are_no_values() -> None:
    found = Attributes(
        catalog(
            title=["a", "b", "c", "d"],
            plot=["A long time ago, in a place far away, somebody lost something of value."] * 4,
            url=["https://x.org/1", "https://x.org/1", "https://x.org/2", "https://x.org/2"],
        )
    )
    assert not found.values
    assert set(found.text_fields) == {"plot", "url"}


def test_the_year_comes_from_a_column_that_says_so() -> None:
    found = Attributes(catalog(title=["a (1900)", "b (1901)"], release_year=["1990", "1991"]))
    assert found.year_field == "release_year"
    assert found.years.tolist() == [1990, 1991]


def test_spellings_of_one_value_are_one() -> None:
    found = Attributes(catalog(title=["a", "b", "c"], kind=["Sci-Fi", "sci fi", "SCI-FI"]))
    assert list(found.values) == [Value("kind", "Sci-Fi")]
    assert found.spelled(form("science fiction")) == (Value("kind", "Sci-Fi"),)
    assert found.spelled(form("horror")) == ()


@pytest.mark.parametrize(
    ("title", "said"),
    [
        ("Usual Suspects, The (1995)", "the usual suspects"),
        ("Usual Suspects, The (1995)", "Usual Suspects"),
        ("Star Wars: Episode IV - A New Hope (1977)", "star wars"),
        ("Shanghai Triad (Yao a yao) (1995)", "Shanghai Triad"),
        ("天空之城 Castle (1986)", "天空之城"),
        ("天空之城 Castle (1986)", "Castle"),
    ],
)
def test_titles_are_known_by_what_people_call_them(title: str, said: str) -> None:
    assert form(said) in title_forms(title)


def test_large_numbers_are_not_rounded() -> None:
    found = Attributes(catalog(title=["a", "b"], votes=["2930669", "17"]))
    assert found.of(0)["votes"] == ("2930669",)


def test_an_empty_catalogue() -> None:
    found = Attributes(Catalog(IdMap([]), {"title": []}, ("title",)))
    assert (found.fields, found.year_field, found.longest_title) == ([], "", 0)
