from __future__ import annotations

import pytest

from frugalrec.data.catalog import Catalog
from frugalrec.data.ids import IdMap
from frugalrec.errors import DataError, UnknownNameError

ITEMS = IdMap(["i1", "i2", "i3"])
FIELDS = {"title": ["Alien", " ", "Heat"], "genres": ["Horror ", "Drama", ""], "year": ["1979", "1990", "1995"]}


def test_texts_are_the_named_fields_in_their_order() -> None:
    assert Catalog(ITEMS, FIELDS, ("title", "genres")).texts() == ["Alien. Horror", "Drama", "Heat"]
    assert Catalog(ITEMS, FIELDS, ("genres", "title")).texts() == ["Horror. Alien", "Drama", "Heat"]


def test_without_text_fields_every_text_is_empty() -> None:
    assert Catalog(ITEMS, FIELDS).texts() == ["", "", ""]
    assert Catalog(IdMap([])).texts() == []
    assert Catalog(IdMap([]), {"title": []}, ("title",)).texts() == []


def test_a_title_is_the_first_text_field_or_the_id() -> None:
    catalog = Catalog(ITEMS, FIELDS, ("title", "genres"))
    assert [catalog.title(code) for code in range(3)] == ["Alien", "i2", "Heat"]
    assert Catalog(ITEMS, FIELDS).title(0) == "i1"


def test_fields_must_have_a_value_an_item() -> None:
    with pytest.raises(DataError, match="field 'title' has 2 values for 3 items"):
        Catalog(ITEMS, {"title": ["a", "b"]})


def test_an_unknown_text_field_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown text field 'titel' in the catalogue") as caught:
        Catalog(ITEMS, FIELDS, ("titel",))
    assert caught.value.hint == "did you mean 'title'?"


def test_the_fingerprint_is_of_ids_and_text() -> None:
    catalog = Catalog(ITEMS, FIELDS, ("title",))
    other_year = {**FIELDS, "year": ["2000"] * 3}
    assert Catalog(ITEMS, other_year, ("title",)).fingerprint() == catalog.fingerprint()
    assert Catalog(ITEMS, FIELDS, ("title", "genres")).fingerprint() != catalog.fingerprint()
    assert Catalog(IdMap(["i1", "i2", "i4"]), FIELDS, ("title",)).fingerprint() != catalog.fingerprint()


def test_an_id_and_a_text_that_join_to_the_same_are_told_apart() -> None:
    assert (
        Catalog(IdMap(["a"]), {"t": ["b"]}, ("t",)).fingerprint()
        != Catalog(IdMap(["ab"]), {"t": [""]}, ("t",)).fingerprint()
    )


def test_length_is_the_number_of_items() -> None:
    assert len(Catalog(ITEMS)) == 3


def test_a_template_says_how_fields_become_one_text() -> None:
    catalog = Catalog(ITEMS, FIELDS, ("title",), template="{title}[ ({year})][: {genres}]")
    assert catalog.texts() == ["Alien (1979): Horror", "(1990): Drama", "Heat (1995)"]
    assert catalog.title(0) == "Alien"
    assert catalog.fingerprint() != Catalog(ITEMS, FIELDS, ("title",)).fingerprint()


def test_a_template_with_an_unknown_field_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown text field 'yaer' in the catalogue"):
        Catalog(ITEMS, FIELDS, ("title",), template="{title} {yaer}")
