"""A question while it is read."""

from __future__ import annotations

from dataclasses import dataclass, field

from frugalrec.tasks.attributes import Value

BLANK = "\x00"


@dataclass
class Unread:
    """A question while it is read: ``left`` has blanks where something was understood."""

    left: str
    text: str = ""
    found: list[tuple[int, int, tuple[Value, ...]]] = field(default_factory=list)

    def blank(self, start: int, end: int) -> None:
        self.left = self.left[:start] + BLANK * (end - start) + self.left[end:]
