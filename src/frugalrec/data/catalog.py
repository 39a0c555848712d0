"""The items and their text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from frugalrec.data.ids import IdMap
from frugalrec.errors import DataError, UnknownNameError
from frugalrec.text.template import Template


@dataclass(frozen=True)
class Catalog:
    """Item ids and their fields. May hold items that nobody has touched yet (cold items).

    ``fields`` maps a field's name to one string an item, in code order; a missing value is the empty string.
    ``text`` names the fields that describe an item in words, in the order in which they are read; ``template``, if
    given, says how they become one text (`frugalrec.text.template.Template`).
    """

    items: IdMap
    fields: Mapping[str, Sequence[str]] = field(default_factory=dict)
    text: tuple[str, ...] = ()
    template: str = ""

    def __post_init__(self) -> None:
        for name, values in self.fields.items():
            if len(values) != len(self.items):
                raise DataError(f"field '{name}' has {len(values)} values for {len(self.items)} items")
        for name in (*self.text, *(Template(self.template).fields if self.template else ())):
            if name not in self.fields:
                raise UnknownNameError.of("text field", name, self.fields, where="the catalogue")

    def __len__(self) -> int:
        return len(self.items)

    def texts(self) -> list[str]:
        """Return one text an item: the template filled in, or the text fields joined with ". ", empty ones left out."""
        if self.template:
            return Template(self.template).render_all(self.fields)
        columns = [self.fields[name] for name in self.text]
        if not columns:
            return [""] * len(self)
        return [". ".join(part.strip() for part in row if part.strip()) for row in zip(*columns, strict=True)]

    def title(self, code: int) -> str:
        """Return what to call an item in front of people: its first text field, or its id."""
        name = self.fields[self.text[0]][code].strip() if self.text else ""
        return name or str(self.items.ids[code])

    def fingerprint(self) -> str:
        """Return a short hash of ids and text."""
        digest = sha256()
        for column in (self.items.ids.tolist(), self.texts()):
            part = "\x00".join(column).encode("utf-8", "surrogatepass")
            digest.update(f"{len(part)}:".encode())  # so that no part can pass for the end of the one before
            digest.update(part)
        return digest.hexdigest()[:16]
