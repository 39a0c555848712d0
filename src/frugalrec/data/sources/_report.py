"""What loading did: counts, and rules in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from frugalrec.data.interactions import Interactions
from frugalrec.data.sources._problems import Problem

Duplicates = Literal["keep", "first", "last"]


@dataclass(frozen=True)
class LoadReport:
    """What was read, and everything that was dropped, changed or assumed; all are counts unless they say otherwise.

    ``rows`` are those of the log; of them ``bad_rows`` (see ``problems``) and ``low_rows`` (below the least rating)
    were left out. ``repeats`` are events whose user and item were met before, ``exact_duplicates`` those with the same
    time as well (of logs without times, all); ``dropped_duplicates`` were left out. ``tied_events`` have the time of
    the user's event before; ``tied_share`` is their share of all events that have one before, None without times.
    """

    files: tuple[str, ...]
    formats: tuple[str, ...]
    rows: int
    bad_rows: int
    low_rows: int
    events: int
    users: int
    items: int
    rated: bool
    timed: bool
    repeats: int
    exact_duplicates: int
    dropped_duplicates: int
    tied_events: int
    tied_share: float | None
    users_with_one_event: int
    item_rows: int
    bad_item_rows: int
    repeated_item_rows: int
    items_without_events: int
    items_without_row: int
    events_without_row: int
    empty_texts: int
    trimmed_ids: int
    text: tuple[str, ...]
    problems: tuple[Problem, ...]
    rules: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}
        return {**plain, "problems": [problem.to_dict() for problem in self.problems]}

    def lines(self) -> list[str]:
        """Return it in words, one fact a line."""
        said = [
            f"{' and '.join(self.files)} ({', '.join(self.formats)}): {counted(self.events, 'event')} of "
            f"{counted(self.users, 'user')} with {counted(self.items, 'item')}, from {counted(self.rows, 'row')}"
        ]
        for number, noun, words in (
            (self.bad_rows, "bad row", "left out"),
            (self.bad_item_rows, "bad row", "of the items file left out"),
            (self.low_rows, "event", "below the least rating left out"),
            (
                self.repeats,
                "event",
                f"with a user and item met before, {self.exact_duplicates:,} of them at the same time",
            ),
            (self.dropped_duplicates, "duplicate", "left out"),
            (self.tied_events, "event", f"at the time of the user's event before ({self.tied_share or 0:.1%})"),
            (self.users_with_one_event, "user", "with one event"),
            (self.items_without_events, "item", "without events (cold)"),
            (self.items_without_row, "item", f"({counted(self.events_without_row, 'event')}) not in the items file"),
            (self.repeated_item_rows, "row", "of the items file with an id met before left out"),
            (self.empty_texts, "item", "without text"),
            (self.trimmed_ids, "id", "with white space around it, which was removed"),
        ):
            if number:
                said.append(f"{counted(number, noun)} {words}")
        return [*said, *map(str, self.problems), *self.rules]


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 row``, ``2,000 rows``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class Repeats:
    """Events of a user and item met before: ``order`` sorts by pair and then time, ``again`` marks later ones."""

    order: np.ndarray[Any, np.dtype[np.intp]]
    again: np.ndarray[Any, np.dtype[np.bool_]]
    pairs: int
    exact: int

    @classmethod
    def of(cls, log: Interactions) -> Repeats:
        """Find the repeats of ``log``. Time O(events log events)."""
        pair = log.user.astype(np.int64) * max(1, log.n_items) + log.item
        # Events of a user are in order of time, and a stable sort leaves those of a pair so.
        order = np.argsort(pair, kind="stable")
        again = np.zeros(len(pair), dtype=bool)
        again[1:] = pair[order[1:]] == pair[order[:-1]]
        later = np.flatnonzero(again)
        times = log.timestamp
        same = len(later) if times is None else np.count_nonzero(times[order[later]] == times[order[later - 1]])
        return cls(order, again, len(later), int(same))

    def kept(self, which: Literal["first", "last"]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return a mask of the log with one event a pair."""
        drop = self.again if which == "first" else np.append(self.again[1:], [False])
        mask = np.ones(len(self.order), dtype=bool)
        mask[self.order[drop]] = False
        return mask


def tied(log: Interactions) -> int:
    """Return how many events have the user and the time of the event before."""
    if log.timestamp is None:
        return 0
    return int(np.count_nonzero((log.timestamp[1:] == log.timestamp[:-1]) & (log.user[1:] == log.user[:-1])))
