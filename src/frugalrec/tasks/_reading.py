"""What a question was understood to ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from frugalrec.tasks.constraints import Constraints

Intent = Literal["find", "count", "facts", "check", "more", "reset", "ordinal"]


@dataclass(frozen=True, slots=True)
class Unknown:
    """Words that ask for something the catalogue does not have; ``needed`` where an answer without it would mislead."""

    words: str
    needed: bool = False
    near: tuple[str, ...] = ()
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """What a question asks: its intent, constraints, the items it is about, and what was not understood."""

    intent: Intent
    constraints: Constraints
    about: tuple[int, ...] = ()
    unclear_title: str = ""
    titles: tuple[int, ...] = ()
    unknown: tuple[Unknown, ...] = ()
    refines: bool = False
    instead: bool = False
    older: bool | None = None
    ordinal: int = 0
    fields: tuple[str, ...] = ()
    pronoun: bool = False
    guessed: bool = False
