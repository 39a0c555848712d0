from __future__ import annotations

import pytest

from frugalrec.errors import ConfigError, UnknownNameError
from frugalrec.text.template import Template

FILM = {"title": "Heat ", "year": "1995", "cast": "", "genres": "Crime"}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("{title}", "Heat"),
        ("{title} ({year})", "Heat (1995)"),
        ("{title}[ with {cast}][. {genres}]", "Heat. Crime"),
        ("[{cast}: ]{title}", "Heat"),
        ("《{title}》[，类型：{genres}]", "《Heat》，类型：Crime"),
        ("{title}[ ({year}, {cast})]", "Heat"),
        ("{title} {title}", "Heat Heat"),
    ],
)
def test_known_answers(pattern: str, expected: str) -> None:
    assert Template(pattern).render(FILM) == expected


def test_values_are_never_read_as_templates() -> None:
    assert Template("{title}[ {year}]").render({"title": "{year} [x]", "year": "1"}) == "{year} [x] 1"


def test_an_item_without_any_of_the_fields_has_no_text() -> None:
    assert Template("Film: {title}[, {year}]").render({"title": " ", "year": ""}) == ""


def test_columns_are_rendered_row_by_row() -> None:
    template = Template("{title}[ ({year})]")
    assert template.render_all({"title": ["A", ""], "year": ["", "2"], "x": ["1", "2"]}) == ["A", "(2)"]
    assert template.fields == ("title", "year")


@pytest.mark.parametrize("pattern", ["{title", "title}", "[{title}", "{title}]", "[[{title}]]", "{{title}}"])
def test_unbalanced_brackets_are_refused(pattern: str) -> None:
    with pytest.raises(ConfigError, match="bracket"):
        Template(pattern)


@pytest.mark.parametrize("pattern", ["", "title", "{}"])
def test_a_template_without_fields_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError, match="names no field"):
        Template(pattern)


def test_an_unknown_field_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown field 'titel'") as caught:
        Template("{titel}").render(FILM)
    assert caught.value.hint == "did you mean 'title'?"
    with pytest.raises(UnknownNameError, match="unknown field 'titel'"):
        Template("{titel}").render_all({"title": ["A"]})
