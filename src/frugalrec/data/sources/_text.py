"""Text files: made ready for DuckDB's parser, read as delimited fields or as whole lines, and searched for line numbers."""

from __future__ import annotations

import codecs
import csv
import gzip
import itertools
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from frugalrec.data.sources._problems import SHOWN, Place, Problem
from frugalrec.data.sources._scratch import Scratch
from frugalrec.errors import DataError

CHUNK = 1 << 22
GZIP = b"\x1f\x8b"
NO_DELIMITER = "\x01"
"""Separates nothing: a control character that JSON forbids and ids do not hold, so that a line stays one field."""


@dataclass(frozen=True)
class Text:
    """One or more text files as the parser gets to see them: unzipped, UTF-8, joined, with one kind of line end.

    ``starts[i]`` is the number of lines before file ``origins[i]``. ``notes`` says in words what had to be changed.
    """

    path: Path
    origins: tuple[Path, ...]
    starts: tuple[int, ...]
    line_end: bytes
    stray_return: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def origin(self) -> Path:
        """The first (and mostly the only) file."""
        return self.origins[0]

    def place(self, line: int) -> Place:
        """Return where the line with this number (from 1, counted over all files) stands."""
        file = max(0, int(np.searchsorted(self.starts, line - 1, side="right")) - 1)
        return Place(self.origins[file], line - self.starts[file])


def opened(path: Path) -> IO[bytes]:
    """Open a file for reading, unzipped if it is gzip by content; raises `DataError` where it cannot be had."""
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == GZIP
        return gzip.open(path, "rb") if zipped else path.open("rb")  # type: ignore[return-value]
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file", hint="check the path") from None
    except IsADirectoryError:
        raise DataError(f"{path}: expected a file, this is a folder") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def chunks(path: Path) -> Iterator[bytes]:
    """Yield the unzipped content of a file; raises `DataError` where its gzip data is cut off or damaged."""
    read = 0
    with opened(path) as file:
        try:
            while chunk := file.read(CHUNK):
                read += len(chunk)
                yield chunk
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(
                f"{path}: expected a whole gzip file, found one that is cut off or damaged after {read:,} bytes: {error}",
                hint="fetch the file again",
            ) from None


def ready(scratch: Scratch, paths: Sequence[Path], *, latin1: bool = False) -> Text:
    """Make text files ready to be parsed; raises `DataError` where one is missing, empty, damaged or not text.

    A plain UTF-8 file is read where it is. A gzip file, one of several files, a file with more than one kind of line end,
    and (if ``latin1``) a file that is not valid UTF-8 but Latin-1 is copied to the temporary folder. Time O(bytes).
    """
    scans = [_scan(path, check=latin1) for path in paths]
    feeds = sum(scan.feeds for scan in scans)
    pairs = sum(scan.pairs for scan in scans)
    returns = sum(scan.returns for scan in scans)
    mixed = 0 < pairs < feeds
    recode = latin1 and not all(scan.utf8 for scan in scans)
    notes = []
    if mixed:
        notes.append(f"{paths[0]}: line ends are mixed ({pairs:,} of {feeds:,} are CRLF); all were read as LF")
    if recode:
        notes.append(f"{paths[0]}: not UTF-8, so it was read as Latin-1")
    starts = [0, *itertools.accumulate(scan.lines for scan in scans[:-1])]
    if len(paths) == 1 and not (scans[0].zipped or mixed or recode):
        path = scratch.link(paths[0])
    else:
        path = scratch.new_file(paths[0])
        with path.open("wb") as copy:
            for origin, scan in zip(paths, scans, strict=True):
                for chunk in _unified(chunks(origin)) if mixed else chunks(origin):
                    copy.write(chunk.decode("latin-1").encode() if recode else chunk)
                if len(paths) > 1 and not scan.ended:
                    copy.write(b"\n")
    stray = next((scan.stray for scan in scans if scan.stray), None) if feeds and returns > pairs else None
    return Text(path, tuple(paths), tuple(starts), b"\n" if feeds or not returns else b"\r", stray, tuple(notes))


@dataclass
class _Scan:
    """What one pass over the bytes of a file finds out."""

    zipped: bool = False
    utf8: bool = True
    feeds: int = 0
    pairs: int = 0
    returns: int = 0
    stray: int | None = None
    ended: bool = True

    @property
    def lines(self) -> int:
        return self.feeds + (not self.ended)


def _scan(path: Path, *, check: bool) -> _Scan:
    scan = _Scan()
    decoder = codecs.getincrementaldecoder("utf-8")()
    last = b""
    for chunk in chunks(path):
        if not last:
            _refuse_binary(path, chunk)
        if b"\r" in chunk or last == b"\r":
            joined = last + chunk if last == b"\r" else chunk
            pairs = joined.count(b"\r\n")
            returns = chunk.count(b"\r")
            # A return at the end of a chunk may be half of a pair; it is settled with the next chunk.
            loose = joined.count(b"\r") - pairs - joined.endswith(b"\r")
            if loose and scan.stray is None:
                at = re.search(rb"\r(?!\n)", joined)
                scan.stray = scan.feeds + joined.count(b"\n", 0, at.start() if at else 0) + 1
            scan.pairs += pairs
            scan.returns += returns
        scan.feeds += chunk.count(b"\n")
        if check and scan.utf8:
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                scan.utf8 = False
        last = chunk[-1:]
    if not last:
        raise DataError(f"{path}: expected rows, found an empty file", hint="check that the file was written in full")
    if check and scan.utf8:
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            scan.utf8 = False
    with path.open("rb") as file:
        scan.zipped = file.read(2) == GZIP
    scan.ended = last == b"\n"
    return scan


def _refuse_binary(path: Path, start: bytes) -> None:
    for magic, what, hint in (
        (b"\xff\xfe", "UTF-16 text", "write it as UTF-8"),
        (b"\xfe\xff", "UTF-16 text", "write it as UTF-8"),
        (b"PK\x03\x04", "a zip archive", "unzip it and name the files in it"),
        (b"BZh", "a bzip2 file", "unpack it with bunzip2"),
        (b"\x28\xb5\x2f\xfd", "a Zstandard file", "unpack it with unzstd"),
        (b"\xfd7zXZ", "an xz file", "unpack it with unxz"),
        (b"PAR1", "a Parquet file", 'set format = "parquet"'),
    ):
        if start.startswith(magic):
            raise DataError(f"{path}: expected text (UTF-8, plain or gzip), found {what}", hint=hint)


def _unified(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes with CRLF as LF, wherever the chunks are cut."""
    held = b""
    for piece in pieces:
        joined = held + piece
        held = b"\r" if joined.endswith(b"\r") else b""
        yield joined[: len(joined) - len(held)].replace(b"\r\n", b"\n")
    yield held


def head(path: Path, lines: int = 5, limit: int = 1 << 20) -> list[str]:
    """Return the first lines of a file, without their ends; a byte that is not UTF-8 shows as U+FFFD."""
    with opened(path) as file:
        try:
            start = file.read(limit)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            # What is there may still tell the format; reading the whole file then says what is wrong.
            start = b""
    return start.decode("utf-8-sig", "replace").splitlines()[:lines]


def header(text: Text, delimiter: str) -> tuple[list[str], int]:
    """Return the column names in the first record, and how many records the parser must skip to be past them."""
    with text.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            skip = 0
            names: list[str] = []
            while not names:
                names = next(reader)
                skip += 1
        except StopIteration:
            raise DataError(f"{text.origin}: expected a header and rows, found nothing but blank lines") from None
        except csv.Error as error:
            raise DataError(
                f"{text.origin}: line 1: expected column names, found something that is not a row: {error}",
                hint="check the quotes in the first line",
            ) from None
    names = [name.strip() for name in names]
    for name in names:
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            raise DataError(
                f"{text.origin}: line 1: expected UTF-8 text, found other bytes in the header",
                hint="convert the file with iconv -t utf-8",
            )
    return names, skip


@dataclass(frozen=True)
class Records:
    """A text file as a table function call: ``sql`` stands after FROM and takes ``parameters``.

    Fields are columns ``c0``, ``c1``, … of text, NULL where empty. What cannot be parsed goes to the table ``rejects``.
    """

    text: Text
    sql: str
    parameters: tuple[Any, ...]
    rejects: str
    delimiter: str
    quote: str
    skip: int
    width: int = field(default=1)

    def places(self, scratch: Scratch, records: Sequence[int]) -> list[Place]:
        """Return where the records with these numbers (from 0, rejected ones not counted) stand. Time O(bytes)."""
        rejected = set(self._rejected(scratch, "").tolist())
        wanted = sorted(set(records))
        found: dict[int, int] = {}
        numbers = (line for line in self._record_lines() if line not in rejected)
        done = 0
        for record in wanted:
            line = next(itertools.islice(numbers, record - done, None), None)
            if line is None:
                break
            found[record] = line
            done = record + 1
        return [self.text.place(found.get(record, record + 1)) for record in records]

    def _record_lines(self) -> Iterator[int]:
        """Yield the line on which each record starts, as the parser counts records: it passes over blank lines."""
        with self.text.path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            if self.quote:
                csv.field_size_limit(1 << 27)
                reader = csv.reader(file, delimiter=self.delimiter, quotechar=self.quote)
                start = 1
                for number, record in enumerate(reader):
                    if record and number >= self.skip:
                        yield start
                    start = reader.line_num + 1
            else:
                for number, line in enumerate(file):
                    if number >= self.skip and (self.width == 1 or line.strip("\r\n")):
                        yield number + 1

    def problems(self, scratch: Scratch) -> tuple[Problem, ...]:
        """Return what could not be parsed, one problem a kind."""
        kinds = scratch.rows(
            f"SELECT error_type, any_value(error_message), count(DISTINCT (file_id, line_byte_position)), "
            f"min(line_byte_position) FROM {self.rejects} GROUP BY error_type ORDER BY 4"  # noqa: S608  our own name
        )
        found = []
        for kind, message, rows, _ in kinds:
            lines = self._rejected(scratch, str(kind))[:SHOWN]
            samples = scratch.rows(
                f"SELECT any_value(error_message), any_value(csv_line) FROM {self.rejects} "  # noqa: S608
                f"WHERE error_type::VARCHAR = ? GROUP BY line_byte_position ORDER BY line_byte_position LIMIT {SHOWN}",
                [str(kind)],
            )
            places = tuple(self.text.place(int(line)) for line in lines)
            values = tuple(_found(str(kind), str(m), str(line)) for m, line in samples)
            expected = self._expected(str(kind), str(message))
            found.append(Problem(self.text.origin, "", expected, int(rows), places, values))
        return tuple(found)

    def rejected(self, scratch: Scratch) -> int:
        """Return how many records could not be parsed."""
        (n,) = scratch.row(f"SELECT count(DISTINCT (file_id, line_byte_position)) FROM {self.rejects}")  # noqa: S608
        return int(n)

    def _rejected(self, scratch: Scratch, kind: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the lines on which rejected records (of one kind) start, ascending."""
        # The parser's own line numbers count records; byte positions can be trusted, but may point at blank lines before.
        table = scratch.arrays(
            f"SELECT DISTINCT line_byte_position + length(csv_line) - length(ltrim(csv_line, {_NEWLINES})) AS byte "
            f"FROM {self.rejects} WHERE error_type::VARCHAR = ? OR ? = '' ORDER BY 1",  # noqa: S608
            [kind, kind],
        )
        return line_numbers(self.text, np.asarray(table["byte"], dtype=np.int64))

    def _expected(self, kind: str, message: str) -> str:
        if "COLUMNS" in kind:
            return f"{self.width} column{'s' if self.width != 1 else ''}"
        return _EXPECTED.get(kind, message)


_NEWLINES = "'\r\n'"
_EXPECTED = {
    "INVALID ENCODING": "UTF-8 text",
    "INVALID UNICODE": "UTF-8 text",
    "UNQUOTED VALUE": "quotes that are closed",
    "LINE SIZE OVER MAXIMUM": "a line of at most 2 MB",
}


def _found(kind: str, message: str, line: str) -> str:
    count = re.search(r"Found: (\d+)", message)
    line = line.strip("\r\n")
    return f"{count.group(1)}: {line}" if "COLUMNS" in kind and count else line


def line_numbers(text: Text, positions: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the number (from 1) of the line that holds each byte position; positions ascend. Time O(bytes)."""
    lines = np.ones(len(positions), dtype=np.int64)
    base = before = done = 0
    with text.path.open("rb") as file:
        while done < len(positions) and (chunk := file.read(CHUNK)):
            ends = np.flatnonzero(np.frombuffer(chunk, dtype=np.uint8) == text.line_end[0])
            upto = int(np.searchsorted(positions, base + len(chunk)))
            lines[done:upto] += before + np.searchsorted(ends, positions[done:upto] - base)
            base, before, done = base + len(chunk), before + len(ends), upto
    lines[done:] += before
    return lines


def delimited(
    scratch: Scratch, text: Text, *, delimiter: str, quote: str, width: int, skip: int = 0, padded: bool = False
) -> Records:
    """Return ``text`` as records of ``width`` fields; with ``padded``, missing fields at the end of a line are NULL."""
    rejects = scratch.name("rejects")
    columns = ", ".join(f"'c{n}': 'VARCHAR'" for n in range(width))
    sql = (
        f"read_csv(?, auto_detect=false, header=false, skip={skip}, delim=?, quote=?, escape=?, compression='none', "
        f"null_padding={str(padded).lower()}, columns={{{columns}}}, store_rejects=true, rejects_table='{rejects}', "
        f"rejects_scan='{scratch.name('scans')}')"
    )
    return Records(text, sql, (str(text.path), delimiter, quote, quote), rejects, delimiter, quote, skip, width)


def lines(scratch: Scratch, text: Text) -> Records:
    """Return ``text`` as records of one field ``c0``, the whole line; blank lines count and are NULL."""
    return delimited(scratch, text, delimiter=NO_DELIMITER, quote="", width=1)
