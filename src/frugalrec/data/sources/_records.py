"""Text as records: how DuckDB parses it, what it could not parse, and on which line a record stands."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from frugalrec.data.sources._problems import SHOWN, Place, Problem
from frugalrec.data.sources._scratch import Scratch
from frugalrec.data.sources._text import Text

NO_DELIMITER = "\x01"
"""Separates nothing: JSON forbids this character and no id holds it, so that a line stays one field."""

_EXPECTED = {
    "INVALID ENCODING": "UTF-8 text",
    "INVALID UNICODE": "UTF-8 text",
    "UNQUOTED VALUE": "quotes that are closed",
    "LINE SIZE OVER MAXIMUM": "a line of at most 2 MB",
}


@dataclass(frozen=True)
class Records:
    """A text file as a table function: ``sql`` stands after FROM and takes ``parameters``.

    Fields are text columns ``c0``, ``c1``, …, NULL where empty. Records that cannot be parsed are left out and go to
    the table ``rejects``. Blank lines are no records, unless there is but one field.
    """

    scratch: Scratch
    text: Text
    sql: str
    parameters: tuple[Any, ...]
    rejects: str
    delimiter: str
    quote: str
    skip: int
    width: int

    def places(self, records: Sequence[int]) -> list[Place]:
        """Return where records stand, by number (from 0, rejected ones not counted). Time O(bytes); errors only."""
        rejected = set(self._rejected_lines().tolist())
        lines = (line for line in self._record_lines() if line not in rejected)
        found: dict[int, int] = {}
        done = 0
        for record in sorted(set(records)):
            found[record] = next(itertools.islice(lines, record - done, None), record + 1)
            done = record + 1
        return [self.text.place(found[record]) for record in records]

    def _record_lines(self) -> Iterator[int]:
        """Yield the line on which each record starts."""
        with self.text.path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            if not self.quote:
                for number, line in enumerate(file, start=1):
                    if number > self.skip and (self.width == 1 or line.strip("\r\n")):
                        yield number
                return
            csv.field_size_limit(1 << 27)
            reader = csv.reader(file, delimiter=self.delimiter, quotechar=self.quote)
            start = 1
            for record in reader:
                if record and start > self.skip:
                    yield start
                start = reader.line_num + 1

    def rejected(self) -> int:
        """Return how many records could not be parsed."""
        (n,) = self.scratch.row(f"SELECT count(DISTINCT line_byte_position) FROM {self.rejects}")  # noqa: S608  our name
        return int(n)

    def problems(self) -> list[Problem]:
        """Return what could not be parsed, one problem a kind."""
        kinds = self.scratch.rows(
            f"""SELECT error_type::VARCHAR, any_value(error_message), count(DISTINCT line_byte_position)
            FROM {self.rejects} GROUP BY 1 ORDER BY min(line_byte_position)"""  # noqa: S608
        )
        found = []
        for kind, message, rows in kinds:
            first = self.scratch.rows(
                f"""SELECT any_value(error_message), coalesce(any_value(csv_line), '') FROM {self.rejects}
                WHERE error_type::VARCHAR = ? GROUP BY line_byte_position ORDER BY line_byte_position LIMIT {SHOWN}""",  # noqa: S608
                [kind],
            )
            lines = self._rejected_lines(str(kind))[:SHOWN]
            places = tuple(self.text.place(int(line)) for line in lines)
            values = tuple(_found(str(said), str(line)) for said, line in first)
            fields = f"{self.width} field{'s' if self.width != 1 else ''}"
            expected = fields if "COLUMNS" in kind else _EXPECTED.get(kind, str(message))
            found.append(Problem(places[0].file, "", expected, int(rows), places, values))
        return found

    def _rejected_lines(self, kind: str = "") -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the lines on which rejected records (of one kind) start, ascending."""
        # The parser's line numbers count records. Its byte positions are right, but may be of blank lines before.
        table = self.scratch.arrays(
            f"""SELECT DISTINCT
                line_byte_position + coalesce(length(csv_line) - length(ltrim(csv_line, chr(10) || chr(13))), 0) AS byte
            FROM {self.rejects} WHERE error_type::VARCHAR = ? OR ? = '' ORDER BY 1""",  # noqa: S608
            [kind, kind],
        )
        return self.text.lines_at(np.asarray(table["byte"], dtype=np.int64))


def _found(message: str, line: str) -> str:
    line = line.strip("\r\n")
    count = re.search(r"Found: (\d+)", message)
    return f"{count.group(1)} in: {line}" if count else line


def delimited(
    scratch: Scratch, text: Text, *, delimiter: str, quote: str, width: int, skip: int = 0, padded: bool = False
) -> Records:
    """Return ``text`` as records of ``width`` fields; with ``padded``, fields missing at the end of a line are NULL.

    ``skip``: lines (a header, on one line) to pass over. An empty ``quote`` gives quotation marks no meaning.
    """
    rejects = scratch.name("rejects")
    columns = ", ".join(f"'c{n}': 'VARCHAR'" for n in range(width))
    sql = (
        f"read_csv(?, auto_detect=false, header=false, skip={skip}, delim=?, quote=?, escape=?, compression='none', "
        f"null_padding={str(padded).lower()}, columns={{{columns}}}, store_rejects=true, rejects_table='{rejects}', "
        f"rejects_scan='{scratch.name('scans')}')"
    )
    return Records(
        scratch, text, sql, (str(text.path), delimiter, quote, quote), rejects, delimiter, quote, skip, width
    )


def lines(scratch: Scratch, text: Text) -> Records:
    """Return ``text`` as records of one field, the whole line; blank lines count and are NULL."""
    return delimited(scratch, text, delimiter=NO_DELIMITER, quote="", width=1)
