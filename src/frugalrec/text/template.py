"""Several fields of an item → one text, as a template says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from frugalrec.errors import ConfigError, UnknownNameError

_FIELD = re.compile(r"\{([^{}]*)\}")
_OPTIONAL = re.compile(r"\[([^\[\]]*)\]")


@dataclass(frozen=True)
class Template:
    """Text with fields in braces: ``{title}[ ({year})][. Genres: {genres}]``.

    A part in square brackets is left out where one of its fields is empty, so that no punctuation is left standing
    about nothing. An item whose fields are all empty has no text, whatever stands between them. Brackets do not nest.
    Raises `ConfigError` for a template without fields or with unbalanced brackets. O(length of the template) an item.

    >>> Template("{title}[ ({year})]").render({"title": "Heat", "year": "1995"})
    'Heat (1995)'
    >>> Template("{title}[ ({year})]").render({"title": "Heat", "year": ""})
    'Heat'
    """

    pattern: str

    def __post_init__(self) -> None:
        bare = _FIELD.sub("", self.pattern)
        if re.search(r"[{}]", bare) or re.search(r"[\[\]]", _OPTIONAL.sub("", self.pattern)):
            raise ConfigError(f"template {self.pattern!r}: a bracket is not closed, opened or nested")
        if not self.fields or "" in self.fields:
            raise ConfigError(
                f"template {self.pattern!r} names no field", hint="write a field's name in braces: {title}"
            )

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields it names, each once, in order."""
        return tuple(dict.fromkeys(_FIELD.findall(self.pattern)))

    def render(self, values: Mapping[str, str]) -> str:
        """Return the text for one item; raises `UnknownNameError` for a field that ``values`` has not."""
        for name in self.fields:
            if name not in values:
                raise UnknownNameError.of("field", name, values, where="the template")
        stripped = {name: values[name].strip() for name in self.fields}
        if not any(stripped.values()):
            return ""
        kept = _OPTIONAL.sub(
            lambda part: part[1] if all(map(stripped.get, _FIELD.findall(part[1]))) else "", self.pattern
        )
        return _FIELD.sub(lambda name: stripped[name[1]], kept).strip()

    def render_all(self, columns: Mapping[str, Sequence[str]]) -> list[str]:
        """Return one text an item from one column a field."""
        for name in self.fields:
            if name not in columns:
                raise UnknownNameError.of("field", name, columns, where="the template")
        rows = zip(*(columns[name] for name in self.fields), strict=True)
        return [self.render(dict(zip(self.fields, row, strict=True))) for row in rows]


__all__ = ["Template"]
