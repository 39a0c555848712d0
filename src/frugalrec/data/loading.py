"""Files → `Dataset`: one function, `load`, and a report of all that was dropped, changed or assumed on the way.

The rules, for every format (``sources/`` has one file a format, which says what is peculiar to it):

*Ids* are text, always: ``007`` is not ``7``, and neither case nor Unicode form is changed. White space around an id is
no part of it (counted). Codes follow first appearance in the log; items that only the items file has come after, in its
order.

*Times* are seconds since 1970: numbers, or ISO-8601 text (UTC where it has no offset). Where most numbers are above
1e11 (1e14, 1e17) all are milliseconds (micro-, nanoseconds) and are divided. Without a column of times the order of
rows is the order of events; with one, a missing or unreadable time is a bad row, and so is a number in another unit
than most.

*Ties*: events of a user at the same time keep the order of rows, or as ``ties`` says. Their share is reported. Where no
times tell events of users apart and rows go by item, their order is not one of time: events of a user are then in
random order, unless ``ties = "file"`` keeps that of rows.

*Ratings*: where there is a column, each is a finite number or else a bad row. Events below ``min_rating`` are left out
(counted), and with them users, and items that no items file has, if nothing else is known of them.

*Duplicates* are events with a user and item met before. ``keep`` keeps them (to come again is an event), ``first`` and
``last`` keep one of each, by time and then by row.

*Bad rows* (no id, a value of the wrong kind, the wrong number of fields, bytes that are not UTF-8): ``error`` refuses
the data and tells the first, ``report`` refuses it and tells all, ``skip`` leaves them out and counts them. Blank lines
are no rows.

*Items* without events are kept (cold items); so are items that the items file does not have, and items without text
(both counted). Of several rows with one id the first counts. A missing field is the empty string. *Users* with one
event are kept.

What cannot be read at all (no file, an empty one, a header without rows, a missing column, damaged gzip, a Parquet
column of the wrong type) is a `DataError` that says what was expected, what came, and where.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import pkgutil
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np

from frugalrec.data import sources
from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions, Ties
from frugalrec.data.sources import _staging
from frugalrec.data.sources._problems import BadRowsError, Place, Problem, in_file_order
from frugalrec.data.sources._report import Duplicates, LoadReport, Repeats, counted, tied
from frugalrec.data.sources._row_order import rows_go_by_item, timeless
from frugalrec.data.sources._scratch import Scratch
from frugalrec.data.sources._source import NO, Columns, ItemRows, Rows, Sight, Source, listed
from frugalrec.data.sources._text import near_file
from frugalrec.errors import ConfigError, DataError, UnknownNameError, nearest
from frugalrec.text.template import Template

OnBadRows = Literal["error", "skip", "report"]

_NOT_WORDS = re.compile(
    r"""
    [\W\d_]+                                                                              # numbers, dates in figures
    | [\W\d_]* (jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec) [a-z]* [\W\d_]+          # dates with a month's name
    | [\d.+-]+ e [+-]? \d+ | nan | none | null | true | false | yes | no
    | [a-z]+ :// \S+ | www \. \S+ | \S+ \. (jpe?g|png|gif|webp|svg)                        # addresses, pictures
    """,
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True)
class SourceConfig:
    """Where the data is, what its columns are called, and what to do about what is wrong with it.

    ``interactions`` is a log: a file, or a folder of Parquet files, or one of MovieLens, Netflix, MIND or RecBole data,
    which brings its items. ``items`` is a catalogue. One of the two must be given. ``format`` is that of both, unless
    the items are plainly of another. The names of columns are for formats that do not fix them. ``timestamp`` and
    ``rating`` may be absent under their usual names; empty or None, they are not read. ``item_id`` is the id column of
    the items file, if it is called otherwise than ``item``. ``text`` names the fields that describe an item: by default
    what the format knows them to be, else ``title``, else every field whose values are mostly words, not numbers, dates
    or addresses. ``template`` says how they become one text, as ``{title}[ ({year})]`` does; without one they are
    joined with ". ". ``seed`` is for ``ties = "random"``. Raises `ConfigError`, or `UnknownNameError` for a format.
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
    template: str = ""
    delimiter: str = "auto"
    on_bad_rows: OnBadRows = "error"
    duplicates: Duplicates = "keep"
    ties: Ties | Literal["auto"] = "auto"
    seed: int = 0
    min_rating: float | None = None

    def __post_init__(self) -> None:
        if self.interactions is None and self.items is None:
            raise ConfigError("expected a file of interactions, one of items, or both; found neither")
        if self.format not in ("auto", *formats()):
            raise UnknownNameError.of("format", self.format, formats())
        for name, choices in (("on_bad_rows", OnBadRows), ("duplicates", Duplicates), ("ties", Ties)):
            value, known = getattr(self, name), get_args(choices) + ("auto",) * (name == "ties")
            if value not in known:
                near = nearest(str(value), known)
                hint = f"did you mean '{near}'?" if near else ""
                raise ConfigError(f"{name} must be one of {listed(known)}, not '{value}'", hint=hint)
        if self.min_rating is not None and not math.isfinite(self.min_rating):
            raise ConfigError(f"min_rating must be a finite number, not {self.min_rating}")

    @property
    def columns(self) -> Columns:
        """The names of columns alone."""
        return Columns(
            self.user, self.item, self.timestamp or None, self.rating or None, self.item_id or None, self.delimiter
        )


def load(config: SourceConfig) -> tuple[Dataset, LoadReport]:
    """Read what ``config`` names, by the rules at the top of this page.

    Time O(rows) to parse and O(rows log rows) to sort; memory about 60 bytes a row, and 2 GiB at most to parse (beyond
    that the disk is used). Raises `BadRowsError` for bad rows that are not to be skipped, `DataError` for what cannot
    be read, `ConfigError` for settings that do not fit the files.
    """
    with Scratch() as scratch:
        rows, log_format = _open_log(scratch, config)
        items, items_format = _open_items(scratch, config, rows, log_format)
        unit, counts = 0, _staging.Counts()
        problems: list[Problem] = []
        if rows is not None:
            _staging.stage_log(scratch, rows)
            unit = _staging.settle_unit(scratch, rows)
            counts = _staging.count(scratch, rows, config.min_rating)
            problems += _staging.log_problems(scratch, rows, unit) if counts.bad else []
        catalogue = None if items is None else _staging.read_items(scratch, items)
        problems += catalogue.problems if catalogue else []
        if problems and config.on_bad_rows != "skip":
            raise BadRowsError(in_file_order(problems), list_all=config.on_bad_rows == "report")
        _require_rows(rows, counts, items, catalogue)
        trimmed = catalogue.trimmed if catalogue else 0
        if rows is None:
            users = goods = np.empty(0, dtype=object)
            events = _staging.Events(np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int32))
        else:
            trimmed += _staging.number_ids(scratch, config.min_rating)
            users, goods = _staging.ids(scratch, "users"), _staging.ids(scratch, "goods")
            events = _staging.events(scratch, rows, unit, config.min_rating)
    item_map, fields, without_row = _merged(goods, catalogue)
    catalog = Catalog(item_map, fields, _text_fields(config, items, fields), config.template)
    whole = _sorted(events, IdMap(users, what="user"), item_map, config)
    by_item = config.ties == "auto" and timeless(whole) and rows_go_by_item(events.user, events.item, item_map)
    if by_item:
        events = events.take(np.random.default_rng(config.seed).permutation(len(events.user)))
        whole = _sorted(events, whole.users, item_map, config)
    del events
    repeats = Repeats.of(whole)
    log = whole if config.duplicates == "keep" else whole.take(repeats.kept(config.duplicates))
    n_tied = tied(log)
    report = LoadReport(
        files=tuple(dict.fromkeys(str(part.file) for part in (rows, items) if part)),
        formats=tuple(dict.fromkeys(name for name in (log_format, items_format) if name)),
        rows=counts.rows,
        bad_rows=counts.bad,
        low_rows=counts.low,
        events=len(log),
        users=log.n_users,
        items=log.n_items,
        rated=log.value is not None,
        timed=log.timestamp is not None,
        repeats=repeats.pairs,
        exact_duplicates=repeats.exact,
        dropped_duplicates=len(whole) - len(log),
        tied_events=n_tied,
        tied_share=None if log.timestamp is None else n_tied / max(1, len(log) - log.n_users),
        users_with_one_event=int(np.count_nonzero(np.diff(log.offsets) == 1)),
        item_rows=catalogue.rows if catalogue else 0,
        bad_item_rows=catalogue.bad if catalogue else 0,
        repeated_item_rows=catalogue.repeated if catalogue else 0,
        items_without_events=int(np.count_nonzero(log.popularity == 0)),
        items_without_row=len(without_row),
        events_without_row=int(log.popularity[without_row].sum()),
        empty_texts=sum(not words for words in catalog.texts()),
        trimmed_ids=trimmed,
        text=catalog.text,
        problems=in_file_order(problems),
        rules=_rules(
            config, rows, items, unit, catalog.text, repeated=repeats.pairs > 0, tied=n_tied > 0, by_item=by_item
        ),
    )
    return Dataset(log, catalog, name=_name(config)), report


def formats() -> tuple[str, ...]:
    """Return the names of all formats, sorted."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(sources.__path__) if not m.name.startswith("_")))


def detect(path: Path, columns: Columns | None = None) -> str:
    """Return the format of a file or folder, by its name and first lines; raises `DataError` when it cannot tell."""
    if not path.exists():
        raise DataError(f"{path}: expected a file, found none", hint=near_file(path))
    sight = Sight(path)
    claims = {name: _source(name).recognises(sight, columns or Columns()) for name in formats()}
    best = max(claims.values())
    found = [name for name, claim in claims.items() if claim == best]
    if best != NO and len(found) == 1:
        return found[0]
    if path.is_dir():
        problem = "expected Parquet files, or those of MovieLens, Netflix, MIND or RecBole, in this folder"
        hint = "name a file in it"
    else:
        may_be = f"it may be {' or '.join(found)}" if best != NO else "no format knows its name or first line"
        problem = f"expected a format that can be told, found {sight.first[:60]!r}: {may_be}"
        hint = f"set format to one of {', '.join(formats())}"
    if not path.is_dir() and not sight.first:
        problem, hint = "expected rows, found an empty file", "check that the file was written in full"
    raise DataError(f"{path}: {problem}", hint=hint)


def _source(name: str) -> Source:
    return cast(Source, importlib.import_module(f"frugalrec.data.sources.{name}"))


def _open_log(scratch: Scratch, config: SourceConfig) -> tuple[Rows | None, str]:
    if config.interactions is None:
        return None, ""
    name = detect(config.interactions, config.columns) if config.format == "auto" else config.format
    rows = _source(name).read_log(scratch, config.interactions, config.columns)
    if config.min_rating is not None and not rows.rated:
        raise ConfigError(f"min_rating needs ratings, and {rows.file} has none", hint="name the column of ratings")
    return rows, name


def _open_items(
    scratch: Scratch, config: SourceConfig, rows: Rows | None, log_format: str
) -> tuple[ItemRows | None, str]:
    path = config.items or (rows.items if rows else None)
    if path is None:
        return None, ""
    name = _items_format(path, config) if config.items else log_format
    return _source(name).read_items(scratch, path, config.columns), name


def _items_format(path: Path, config: SourceConfig) -> str:
    if config.format == "auto":
        return detect(path, config.columns)
    if path.exists() and _source(config.format).recognises(Sight(path), config.columns) == NO:
        # Items often come in another format than the log; where theirs cannot be told, the named one is meant for both.
        with contextlib.suppress(DataError):
            return detect(path, config.columns)
    return config.format


def _require_rows(
    rows: Rows | None, counts: _staging.Counts, items: ItemRows | None, catalogue: _staging.Items | None
) -> None:
    for file, good, total in (
        (rows and rows.file, counts.kept, counts.rows),
        (items and items.file, len(catalogue.ids) if catalogue else 0, catalogue.rows if catalogue else 0),
    ):
        if file is not None and not good:
            found = f"{counted(total, 'row')} and none to keep" if total else "none (a header at most)"
            raise DataError(f"{file}: expected rows, found {found}", hint="check that it is the right file")


def _merged(
    goods: np.ndarray[Any, Any], catalogue: _staging.Items | None
) -> tuple[IdMap, Mapping[str, Sequence[str]], np.ndarray[Any, np.dtype[np.int64]]]:
    """Return all items, logged ones first; their fields; and the codes of those that the items file does not have."""
    logged = IdMap(goods, what="item")
    if catalogue is None:
        return logged, {}, np.empty(0, dtype=np.int64)
    whole = logged.extended(catalogue.ids)
    row_of = {id_: row for row, id_ in enumerate(catalogue.ids)}
    order = [row_of.get(id_, -1) for id_ in whole.ids]
    fields = {name: ["" if row < 0 else values[row] for row in order] for name, values in catalogue.fields.items()}
    return whole, fields, np.flatnonzero(np.asarray(order) < 0)


def _text_fields(config: SourceConfig, items: ItemRows | None, fields: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    # A template names its fields itself; the first of them is what an item is called.
    wanted = config.text or (Template(config.template).fields if config.template else ())
    if items is None:
        if wanted:
            raise ConfigError("text names fields, and there is no items file to have them", hint='set items = "…"')
        return ()
    for name in (*wanted, *(Template(config.template).fields if config.template else ())):
        if name not in fields:
            near = nearest(name, fields)
            raise DataError(
                f"{items.file}: expected a column '{name}' (text), found {listed(fields)}",
                hint=f"did you mean '{near}'?" if near else "name columns that are there",
            )
    if wanted or items.text is not None:
        return wanted or items.text or ()
    titles = [name for name in fields if name.casefold() == "title"]
    return tuple(titles[:1] or [name for name, values in fields.items() if _in_words(values)])


def _in_words(values: Sequence[str]) -> bool:
    """Whether at least half of what is said is more than numbers, dates and addresses of pages or pictures."""
    said = [value for value in values if value.strip()]
    return bool(said) and 2 * sum(_NOT_WORDS.fullmatch(value.strip()) is None for value in said) >= len(said)


def _sorted(events: _staging.Events, users: IdMap, items: IdMap, config: SourceConfig) -> Interactions:
    return Interactions.from_events(
        events.user,
        events.item,
        users,
        items,
        value=events.value,
        timestamp=events.timestamp,
        ties="file" if config.ties == "auto" else config.ties,
        seed=config.seed,
    )


def _rules(
    config: SourceConfig,
    rows: Rows | None,
    items: ItemRows | None,
    unit: int,
    text: tuple[str, ...],
    *,
    repeated: bool,
    tied: bool,
    by_item: bool,
) -> tuple[str, ...]:
    """Return the rules that made a difference to this data, in words."""
    orders = {
        "auto": "the order of rows",
        "file": "the order of rows",
        "item-id": "the order of their items' ids",
        "random": f"random order, seed {config.seed}",
    }
    said = [
        (
            f"no times, and rows go by item: events of a user are in random order, seed {config.seed} (ties = 'file' "
            "keeps that of rows)",
            by_item,
        ),
        (
            "no times: the order of rows is the order of events",
            rows is not None and rows.clock == "none" and not by_item,
        ),
        (f"times: numbers this large must be {_staging.UNITS[unit][0]}, and were divided to seconds", unit > 0),
        (f"ties: events of a user at the same time are in {orders[config.ties]}", tied and not by_item),
        ("no ratings: every event counts the same", rows is not None and not rows.rated),
        (
            "ratings: every event counts the same, whatever its rating (min_rating leaves out low ones)",
            rows is not None and rows.rated and config.min_rating is None,
        ),
        ("duplicates: all were kept", repeated and config.duplicates == "keep"),
        (f"duplicates: the {config.duplicates} of each was kept", repeated and config.duplicates != "keep"),
        (f"text of items: {config.template or ', '.join(text)}", bool(text)),
        ("items have no text", not text),
    ]
    notes = (*(rows.notes if rows else ()), *(items.notes if items else ()))
    return (*(words for words, applies in said if applies), *notes)


def _name(config: SourceConfig) -> str:
    path = config.interactions or config.items
    return "data" if path is None else path.name.split(".")[0] or path.name


__all__ = ["BadRowsError", "LoadReport", "Place", "Problem", "SourceConfig", "detect", "formats", "load"]
