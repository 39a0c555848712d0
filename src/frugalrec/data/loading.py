"""Files → `Dataset`: one function, `load`, and a report of everything that was dropped, changed or assumed on the way.

The rules, for every format (``sources/`` holds one file a format, which says what is peculiar to it):

*Ids* are text, always: ``007`` is not ``7``, and no case or Unicode form is changed. White space around an id is no part of
it (counted). Codes follow first appearance in the log; items that only the items file knows come after, in its order.
*Times* are seconds since the epoch: numbers, or ISO-8601 text (without an offset: UTC). Numbers of which most are above 1e11
(1e14, 1e17) are milliseconds (micro-, nanoseconds) and are divided. Without a time column the order of rows is the order
of events. Where there is a column, a missing or unreadable time is a bad row, and so is one in another unit than most.
*Ties*: events of a user at the same time keep the order of rows, or as ``ties`` says; their share is reported.
*Ratings*: where there is a column, each must be a finite number. Events below ``min_rating`` are left out (counted).
*Duplicates*: the same user and item again. ``keep`` keeps all (a repeated visit is an event), ``first`` and ``last`` keep
one event a pair, by time and then by row. An event that repeats the time as well is counted as an exact duplicate.
*Bad rows* (an id missing, a value of the wrong kind, the wrong number of fields, bytes that are not UTF-8): ``error`` refuses
the file and tells the first; ``report`` refuses it and tells all; ``skip`` leaves them out and counts them.
Blank lines are no rows.
*Items*: without events they are kept (cold items); with events but missing from the items file they are kept with empty text;
of several rows with the same id the first counts; without any text they are kept (counted). A missing field is the empty
string. Lists are joined with commas. *Users* with one event are kept.

What cannot be read at all (no such file, empty, only a header, a missing column, damaged gzip, a column of the wrong type)
is a `DataError` that says what was expected, what came, and where.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np

from frugalrec.data import sources
from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions, Ties
from frugalrec.data.sources import _staging
from frugalrec.data.sources._problems import Place, Problem, in_file_order
from frugalrec.data.sources._scratch import Scratch
from frugalrec.data.sources._source import NO, Columns, ItemRows, Rows, Sight, Source
from frugalrec.errors import ConfigError, DataError, UnknownNameError, nearest

OnBadRows = Literal["error", "skip", "report"]
Duplicates = Literal["keep", "first", "last"]


@dataclass(frozen=True)
class SourceConfig:
    """Where the data is and what its columns are called.

    ``interactions`` is a log (a file, or the folder of MovieLens, Netflix, MIND or RecBole data, which brings its items
    along), ``items`` a catalogue; one of the two must be given. ``format`` is the log's; the items' is found out, and is the
    same where that fails. Column names are for formats without fixed ones; ``timestamp`` and ``rating`` may be absent under
    their usual names, and ``None`` leaves them unread. ``item_id`` is the id column of the items file (default: as ``item``).
    ``text`` names the fields that describe an item; by default the format's own, else ``title``, else every field that
    is not all numbers. ``seed`` shuffles ``ties = "random"``. Raises `ConfigError`.
    """

    interactions: Path | None = None
    items: Path | None = None
    format: str = "auto"
    user: str = "user_id"
    item: str = "item_id"
    timestamp: str | None = "timestamp"
    rating: str | None = "rating"
    item_id: str | None = None
    text: tuple[str, ...] = ()
    delimiter: str = "auto"
    on_bad_rows: OnBadRows = "error"
    duplicates: Duplicates = "keep"
    ties: Ties = "file"
    seed: int = 0
    min_rating: float | None = None

    def __post_init__(self) -> None:
        if self.interactions is None and self.items is None:
            raise ConfigError("expected a file of interactions, of items, or both; found neither")
        for name, choices in (("on_bad_rows", OnBadRows), ("duplicates", Duplicates), ("ties", Ties)):
            value = getattr(self, name)
            if value not in get_args(choices):
                near = nearest(str(value), get_args(choices))
                raise ConfigError(
                    f"{name} must be one of {', '.join(get_args(choices))}, not {value!r}",
                    hint=f"did you mean '{near}'?" if near else "",
                )
        if self.format != "auto" and self.format not in formats():
            raise UnknownNameError.of("format", self.format, formats())
        if self.min_rating is not None and not math.isfinite(self.min_rating):
            raise ConfigError(f"min_rating must be a finite number, not {self.min_rating!r}")

    @property
    def columns(self) -> Columns:
        """The column names alone."""
        return Columns(self.user, self.item, self.timestamp, self.rating, self.item_id, self.text, self.delimiter)


@dataclass(frozen=True)
class LoadReport:
    """What `load` read, and everything it dropped, changed or assumed. All numbers are counts unless they say otherwise.

    ``rows`` are those of the log, ``bad_rows`` among them were left out (see ``problems``), ``low_rows`` were below the
    least rating. ``repeats`` are events with a user and item met before, ``exact_duplicates`` those at the same time,
    too; ``dropped_duplicates`` were left out. ``tied_share`` is the share of consecutive events of a user that have the
    same time, None without times.
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
        plain = {name: list(v) if isinstance(v, tuple) else v for name, v in vars(self).items()}
        return {**plain, "problems": [problem.to_dict() for problem in self.problems]}

    def lines(self) -> list[str]:
        """Return it in words, one fact a line, the most important first."""
        said = [
            f"{' and '.join(self.files)} ({', '.join(self.formats)}): {_n(self.events, 'event')} of "
            f"{_n(self.users, 'user')} with {_n(self.items, 'item')}, from {_n(self.rows, 'row')}"
        ]
        facts = (
            (self.bad_rows, f"{_n(self.bad_rows, 'bad row')} left out"),
            (self.bad_item_rows, f"{_n(self.bad_item_rows, 'bad row')} of the items file left out"),
            (self.low_rows, f"{_n(self.low_rows, 'event')} below the least rating left out"),
            (
                self.repeats,
                f"{_n(self.repeats, 'event')} repeat a user and item; {self.exact_duplicates:,} the time as well",
            ),
            (self.dropped_duplicates, f"{_n(self.dropped_duplicates, 'duplicate')} left out"),
            (
                self.tied_events,
                f"{_n(self.tied_events, 'event')} have the time of the user's event before ({self.tied_share or 0:.1%})",
            ),
            (self.users_with_one_event, f"{_n(self.users_with_one_event, 'user')} with one event"),
            (self.items_without_events, f"{_n(self.items_without_events, 'item')} without events (cold)"),
            (
                self.items_without_row,
                f"{_n(self.items_without_row, 'item')} ({_n(self.events_without_row, 'event')}) not in the items file",
            ),
            (
                self.repeated_item_rows,
                f"{_n(self.repeated_item_rows, 'row')} of the items file repeat an id; the first counts",
            ),
            (self.empty_texts, f"{_n(self.empty_texts, 'item')} without text"),
            (self.trimmed_ids, f"{_n(self.trimmed_ids, 'id')} had white space around them, which was removed"),
        )
        said += [words for number, words in facts if number]
        said += [str(problem) for problem in self.problems]
        return [*said, *self.rules]


class BadRowsError(DataError):
    """Rows that are not what was declared. ``problems`` has one entry a kind, in file order."""

    def __init__(self, problems: Sequence[Problem], *, all_of_them: bool) -> None:
        self.problems = tuple(problems)
        if all_of_them:
            message = "\n".join(str(problem) for problem in self.problems)
        else:
            others = len(self.problems) - 1
            also = (
                f"; there {'is 1 more kind' if others == 1 else f'are {others} more kinds'} of problem"
                if others
                else ""
            )
            message = f"{self.problems[0]}{also}"
        how = "--on-bad-rows skip leaves bad rows out and counts them"
        super().__init__(message, hint=how if all_of_them else f"{how}, --on-bad-rows report lists all problems")


def load(config: SourceConfig) -> tuple[Dataset, LoadReport]:
    """Read the files that ``config`` names. Time O(rows) and a sort; memory about 60 bytes a row, and 2 GiB at most to parse.

    Raises `BadRowsError` for bad rows (unless they are to be skipped), `DataError` for a file that cannot be read.
    """
    with Scratch() as scratch:
        rows, log_format = _open_log(scratch, config)
        if rows is not None:
            _staging.stage_log(scratch, rows)
        unit = _staging.settle_unit(scratch, rows) if rows else "seconds"
        item_rows, item_format = _open_items(scratch, config, rows, log_format)
        listed = _staging.read_items(scratch, item_rows) if item_rows else None
        counts = _staging.count(scratch, rows, config.min_rating) if rows else _staging.Counts(0, 0, 0, 0)
        problems = list(_staging.log_problems(scratch, rows, unit)) if rows and counts.bad else []
        problems += listed.problems if listed else ()
        if problems and config.on_bad_rows != "skip":
            raise BadRowsError(in_file_order(problems), all_of_them=config.on_bad_rows == "report")
        _require_rows(rows, counts, item_rows, listed)
        trimmed = listed.trimmed if listed else 0
        if rows is not None:
            trimmed += _staging.number_ids(scratch, config.min_rating)
            users, logged = _staging.ids(scratch, "users"), _staging.ids(scratch, "goods")
            events = _staging.events(scratch, rows, unit, config.min_rating)
        else:
            users = logged = np.empty(0, dtype=object)
            nothing = np.empty(0, dtype=np.int32)
            events = _staging.Events(nothing, nothing, None, None)
    user_map = IdMap(users, what="user")
    item_map, fields, without_row = _catalogue(logged, listed)
    text = _text_fields(config, item_rows, fields)
    interactions = Interactions.from_events(
        events.user,
        events.item,
        user_map,
        item_map,
        value=events.value,
        timestamp=events.timestamp,
        ties=config.ties,
        seed=config.seed,
    )
    del events
    repeats = _Repeats.of(interactions)
    kept = interactions.take(repeats.chosen(config.duplicates)) if config.duplicates != "keep" else interactions
    catalog = Catalog(item_map, fields, text)
    named = config.interactions or config.items
    dataset = Dataset(
        kept, catalog, name=named.name.removesuffix(".gz").rpartition(".")[0] or named.name if named else "data"
    )
    tied = _tied(kept)
    popularity = kept.popularity
    report = LoadReport(
        files=tuple(dict.fromkeys(str(part.file) for part in (rows, item_rows) if part)),
        formats=tuple(dict.fromkeys(name for name in (log_format, item_format) if name)),
        rows=counts.rows,
        bad_rows=counts.bad,
        low_rows=counts.low,
        events=len(kept),
        users=len(user_map),
        items=len(item_map),
        rated=kept.value is not None,
        timed=kept.timestamp is not None,
        repeats=repeats.pairs,
        exact_duplicates=repeats.exact,
        dropped_duplicates=len(interactions) - len(kept),
        tied_events=tied,
        tied_share=None if kept.timestamp is None else tied / max(1, len(kept) - len(user_map)),
        users_with_one_event=int(np.count_nonzero(np.diff(kept.offsets) == 1)),
        item_rows=listed.rows if listed else 0,
        bad_item_rows=listed.bad if listed else 0,
        repeated_item_rows=listed.repeated if listed else 0,
        items_without_events=int(np.count_nonzero(popularity == 0)),
        items_without_row=len(without_row) if listed else 0,
        events_without_row=int(popularity[without_row].sum()) if listed else 0,
        empty_texts=sum(not words for words in catalog.texts()),
        trimmed_ids=trimmed,
        text=text,
        problems=in_file_order(problems),
        rules=_rules(config, rows, item_rows, unit, repeats.pairs, tied, text),
    )
    return dataset, report


def formats() -> tuple[str, ...]:
    """Return the names of all formats, sorted."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(sources.__path__) if not m.name.startswith("_")))


def detect(path: Path, columns: Columns | None = None) -> str:
    """Return the format of a file or folder, by its name and first lines; raises `DataError` when it cannot tell."""
    sight = Sight(path)
    if not path.exists():
        raise DataError(f"{path}: there is no such file", hint=_neighbour(path))
    claims = {name: _source(name).recognises(sight, columns or Columns()) for name in formats()}
    best = max(claims.values())
    found = [name for name, claim in claims.items() if claim == best]
    if best != NO and len(found) == 1:
        return found[0]
    if best != NO:
        problem = f"its format could be {' or '.join(found)}"
    elif path.is_dir():
        problem = "a folder without files of MovieLens, Netflix, MIND or RecBole"
    elif path.stat().st_size == 0:
        raise DataError(f"{path}: expected rows, found an empty file", hint="check that the file was written in full")
    else:
        problem = f"its format cannot be told from its name or first line ({sight.first[:60]!r})"
    raise DataError(f"{path}: {problem}", hint=f"set format to one of {', '.join(formats())}")


def _neighbour(path: Path) -> str:
    try:
        near = nearest(path.name, [other.name for other in path.parent.iterdir()])
    except OSError:
        near = None
    return f"did you mean '{path.parent / near}'?" if near else "check the path"


def _source(name: str) -> Source:
    return cast(Source, importlib.import_module(f"frugalrec.data.sources.{name}"))


def _open_log(scratch: Scratch, config: SourceConfig) -> tuple[Rows | None, str]:
    if config.interactions is None:
        return None, ""
    found = detect(config.interactions, config.columns) if config.format == "auto" else config.format
    rows = _source(found).read_log(scratch, config.interactions, config.columns)
    if config.min_rating is not None and not rows.rated:
        raise ConfigError(
            f"min_rating needs ratings, and {rows.file} has none", hint='set rating = "…", or no min_rating'
        )
    return rows, found


def _open_items(
    scratch: Scratch, config: SourceConfig, rows: Rows | None, log_format: str
) -> tuple[ItemRows | None, str]:
    path = config.items or (rows.items if rows else None)
    if path is None:
        return None, ""
    given = log_format or (config.format if config.format != "auto" else "")
    if given and (config.items is None or _source(given).recognises(Sight(path), config.columns) != NO):
        found = given
    else:
        found = detect(path, config.columns)
    return _source(found).read_items(scratch, path, config.columns), found


def _require_rows(
    rows: Rows | None, counts: _staging.Counts, item_rows: ItemRows | None, listed: _staging.Items | None
) -> None:
    if rows is not None and not counts.kept:
        if counts.rows:
            found = f"{_n(counts.bad, 'bad row')} and {counts.low:,} below the least rating"
        else:
            found = "none after the header" if rows.records and rows.records.skip else "none"
        raise DataError(
            f"{rows.file}: expected rows with events, found {found}", hint="check that the file is the right one"
        )
    if item_rows is not None and listed is not None and not listed.ids:
        raise DataError(
            f"{item_rows.file}: expected rows with items, found {_n(listed.bad, 'bad row') if listed.bad else 'none'}",
            hint="check that the file is the right one",
        )


def _catalogue(
    logged: np.ndarray[Any, Any], listed: _staging.Items | None
) -> tuple[IdMap, Mapping[str, Sequence[str]], np.ndarray[Any, np.dtype[np.int64]]]:
    """Return the item map, the fields in code order, and the codes of items that the items file does not know."""
    known = IdMap(logged, what="item")
    if listed is None:
        return known, {}, np.arange(len(known))
    whole = known.extended(listed.ids)
    row_of = {id_: row for row, id_ in enumerate(listed.ids)}
    order = [row_of.get(id_, -1) for id_ in whole.ids]
    # The last of the padded values answers for -1.
    fields = {
        name: [padded[row] for row in order] for name, padded in ((n, [*v, ""]) for n, v in listed.fields.items())
    }
    return whole, fields, np.flatnonzero(np.asarray(order) < 0)


def _text_fields(
    config: SourceConfig, item_rows: ItemRows | None, fields: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    if config.text:
        if item_rows is None:
            raise ConfigError("text fields were named, and there is no items file to have them", hint='set items = "…"')
        for name in config.text:
            if name not in fields:
                near = nearest(name, fields)
                raise DataError(
                    f"{item_rows.file}: expected a column '{name}' (text), found {', '.join(map(repr, fields)) or 'none'}",
                    hint=f"did you mean '{near}'?" if near else "name columns that are there",
                )
        return config.text
    if item_rows is None:
        return ()
    if item_rows.text is not None:
        return item_rows.text
    titles = [name for name in fields if name.casefold() == "title"]
    return tuple(titles[:1] or [name for name, values in fields.items() if not all(map(_is_number, values))])


def _is_number(value: str) -> bool:
    try:
        float(value or "0")
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class _Repeats:
    """Events of the same user and item: ``order`` sorts events by pair and then by time, ``again`` marks all but the first."""

    order: np.ndarray[Any, np.dtype[np.intp]]
    again: np.ndarray[Any, np.dtype[np.bool_]]
    pairs: int
    exact: int

    @classmethod
    def of(cls, interactions: Interactions) -> _Repeats:
        pair = interactions.user.astype(np.int64) * max(1, interactions.n_items) + interactions.item
        order = np.argsort(pair, kind="stable")
        pair = pair[order]
        again = np.zeros(len(pair), dtype=bool)
        again[1:] = pair[1:] == pair[:-1]
        if interactions.timestamp is None:
            exact = 0
        else:
            later = np.flatnonzero(again)
            times = interactions.timestamp
            exact = int(np.count_nonzero(times[order[later]] == times[order[later - 1]]))
        return cls(order, again, int(again.sum()), exact)

    def chosen(self, which: Duplicates) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return the mask of events to keep."""
        drop = self.again if which == "first" else np.append(self.again[1:], False)
        mask = np.ones(len(self.order), dtype=bool)
        mask[self.order[drop]] = False
        return mask


def _tied(interactions: Interactions) -> int:
    """Return how many events have the user and time of the event before."""
    if interactions.timestamp is None:
        return 0
    same_time = interactions.timestamp[1:] == interactions.timestamp[:-1]
    return int(np.count_nonzero(same_time & (interactions.user[1:] == interactions.user[:-1])))


def _rules(
    config: SourceConfig,
    rows: Rows | None,
    items: ItemRows | None,
    unit: str,
    repeats: int,
    tied: int,
    text: tuple[str, ...],
) -> tuple[str, ...]:
    """Return the rules that made a difference, in words."""
    said: list[str] = []
    if rows is not None and rows.clock == "none":
        said.append("no times: the order of rows is the order of events")
    if unit != "seconds":
        said.append(f"times are so large that they must be {unit}; they were divided to seconds")
    if tied:
        orders = {
            "file": "the order of rows",
            "item-id": "the order of items",
            "random": f"chance (seed {config.seed})",
        }
        said.append(f"ties in time: events of a user at the same time are in {orders[config.ties]}")
    if rows is not None and not rows.rated:
        said.append("no ratings: every event counts as one")
    if repeats:
        said.append(f"duplicates: {'all kept' if config.duplicates == 'keep' else f'the {config.duplicates} kept'}")
    said.append(f"text of items: {', '.join(text)}" if text else "items have no text")
    return (*said, *(rows.notes if rows else ()), *(items.notes if items else ()))


def _n(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


__all__ = ["BadRowsError", "LoadReport", "Place", "Problem", "SourceConfig", "detect", "formats", "load"]
