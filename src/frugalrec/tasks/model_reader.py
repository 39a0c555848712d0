"""A language model reads a question: into the catalogue's own values and years, and nothing else."""

from __future__ import annotations

import math
from typing import Any

from frugalrec.interfaces import ConstrainedModel
from frugalrec.tasks.attributes import Attributes, Value
from frugalrec.tasks.constraints import Constraints, Range

MOST_VALUES = 40
"""Values of a field that a model may choose among, the most frequent; longer lists cost tokens and patience."""

MOST_FIELDS = 4

MOST_TOKENS = 200
"""Two lists of 4 values and two years, in any tokenizer."""


class ModelReader:
    """Asks a model what a question wants, where rules were left with words that they do not know.

    The answer is JSON whose every value is an ``enum`` of the catalogue's values (the 40 most frequent of up to 4
    fields), so that nothing else can be in it; it is checked again here, and what is not a value is dropped. A model
    can misread a question, never add to the catalogue.

    >>> from frugalrec.data.catalog import Catalog
    >>> from frugalrec.data.ids import IdMap
    >>> catalog = Catalog(IdMap(["1", "2"]), {"title": ["A", "B"], "kind": ["War", "War"]}, ("title",))
    >>> sorted(ModelReader(None, Attributes(catalog)).schema["properties"])
    ['none_of', 'one_of']
    """

    def __init__(self, model: ConstrainedModel | None, attributes: Attributes) -> None:
        self.model, self.attributes = model, attributes
        self._values: dict[str, Value] = {}
        for name in attributes.fields[:MOST_FIELDS]:
            for value in attributes.common(name, MOST_VALUES):
                self._values.setdefault(value.name, value)

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of an answer."""
        values = {"type": "array", "maxItems": 4, "items": {"enum": list(self._values)}}
        properties: dict[str, Any] = {"one_of": values, "none_of": values} if self._values else {}
        if self.attributes.year_field:
            years = self.attributes.years[~_nan(self.attributes)]
            year = {"anyOf": [{"type": "null"}, {"type": "integer"}]}
            if len(years):
                properties |= {"from_year": year, "to_year": year}
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }

    def read(self, question: str) -> Constraints:
        """Return what the model makes of ``question``; empty when it makes nothing, `DataError` when it fails."""
        schema = self.schema
        if self.model is None or not schema["properties"]:
            return Constraints()
        prompt = (
            f"Values: {', '.join(self._values)}\n"
            f"Question: {' '.join(question.split())}\n"
            "As JSON, the values that are wanted (one_of), those that are not (none_of), and years where they are "
            "named:\n"
        )
        (answer,) = self.model.generate_json([prompt], schema, max_tokens=MOST_TOKENS)
        wanted = tuple(self._values[name] for name in answer.get("one_of", ()) if name in self._values)
        unwanted = tuple(self._values[name] for name in answer.get("none_of", ()) if name in self._values)
        low, high = answer.get("from_year"), answer.get("to_year")
        ranges: tuple[Range, ...] = ()
        if isinstance(low, int) or isinstance(high, int):
            ranges = (
                Range(
                    self.attributes.year_field,
                    float(low) if isinstance(low, int) else -math.inf,
                    float(high) if isinstance(high, int) else math.inf,
                ),
            )
        # A value that is both wanted and not says nothing.
        wanted, unwanted = (
            tuple(v for v in dict.fromkeys(wanted) if v not in unwanted),
            tuple(v for v in dict.fromkeys(unwanted) if v not in wanted),
        )
        return Constraints(any_of=(wanted,) if wanted else (), none_of=unwanted, ranges=ranges)


def _nan(attributes: Attributes) -> Any:
    return attributes.years != attributes.years


__all__ = ["ModelReader"]
