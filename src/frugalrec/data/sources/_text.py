"""Text files, made ready for the parser: unzipped, UTF-8, joined, with one kind of line end."""

from __future__ import annotations

import codecs
import csv
import gzip
import itertools
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from frugalrec.data.sources._problems import Place
from frugalrec.data.sources._scratch import Scratch
from frugalrec.errors import DataError, nearest

CHUNK = 1 << 22
GZIP = b"\x1f\x8b"
_CUT_OFF = (EOFError, zlib.error, gzip.BadGzipFile)


@dataclass(frozen=True)
class Text:
    """One or more text files as the parser gets to see them.

    ``starts[i]`` is the number of lines before file ``origins[i]``. ``notes`` says in words what had to be changed.
    """

    path: Path
    origins: tuple[Path, ...]
    starts: tuple[int, ...]
    line_end: bytes = b"\n"
    notes: tuple[str, ...] = ()

    @property
    def origin(self) -> Path:
        """The first (and mostly the only) file."""
        return self.origins[0]

    def place(self, line: int) -> Place:
        """Return where a line stands that is number ``line`` (from 1) of all files together."""
        file = int(np.searchsorted(self.starts, line - 1, side="right")) - 1
        return Place(self.origins[file], line - self.starts[file])

    def lines_at(self, positions: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the number (from 1) of the line that holds each byte position; positions ascend. Time O(bytes)."""
        lines = np.ones(len(positions), dtype=np.int64)
        base = before = done = 0
        with self.path.open("rb") as file:
            while done < len(positions) and (chunk := file.read(CHUNK)):
                ends = np.flatnonzero(np.frombuffer(chunk, dtype=np.uint8) == self.line_end[0])
                upto = int(np.searchsorted(positions, base + len(chunk)))
                lines[done:upto] += before + np.searchsorted(ends, positions[done:upto] - base)
                base, before, done = base + len(chunk), before + len(ends), upto
        lines[done:] += before
        return lines


def opened(path: Path) -> IO[bytes]:
    """Open a file for reading, unzipped if it is gzip by content; raises `DataError` where it cannot be had."""
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == GZIP
        return gzip.open(path, "rb") if zipped else path.open("rb")  # type: ignore[return-value]
    except FileNotFoundError:
        raise DataError(f"{path}: expected a file, found none", hint=near_file(path)) from None
    except IsADirectoryError:
        raise DataError(f"{path}: expected a file, found a folder", hint="name a file in it") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def near_file(path: Path) -> str:
    """Return a hint that names the file in the same folder whose name is nearest."""
    try:
        near = nearest(path.name, [other.name for other in path.parent.iterdir()])
    except OSError:
        near = None
    return f"did you mean '{path.parent / near}'?" if near else "check the path"


def head(path: Path, lines: int = 5, limit: int = 1 << 20) -> list[str]:
    """Return the first lines of a file, without their ends; bytes that are not UTF-8 show as U+FFFD."""
    with opened(path) as file:
        try:
            start = file.read(limit)
        except _CUT_OFF:
            start = b""  # reading the whole file will say what is wrong
    return re.split(r"\r\n|\n|\r", start.decode("utf-8-sig", "replace"))[:lines]


def ready(scratch: Scratch, paths: Sequence[Path], *, latin1: bool = False) -> Text:
    """Make text files ready; raises `DataError` where one is missing, empty, damaged or not text.

    A plain file is read where it is. A gzip file, one of several files, one with more than one kind of line end, and
    (if ``latin1``) one that is not valid UTF-8 but Latin-1 is copied to the temporary folder. Time O(bytes).
    """
    scans = [_scan(path, check=latin1) for path in paths]
    feeds, pairs, returns = (sum(getattr(scan, name) for scan in scans) for name in ("feeds", "pairs", "returns"))
    mixed = 0 < pairs < feeds
    recode = latin1 and not all(scan.utf8 for scan in scans)
    notes = []
    if mixed:
        notes.append(f"{paths[0]}: line ends are mixed ({pairs:,} of {feeds:,} are CRLF); all were read as LF")
    if recode:
        notes.append(f"{paths[0]}: not UTF-8, so it was read as Latin-1")
    stray = next((scan.stray for scan in scans if scan.stray), None) if feeds else None
    doubt = f"line {stray}: a carriage return stands in the middle of a line without quotes" if stray else ""
    if len(paths) == 1 and not (scans[0].zipped or mixed or recode):
        path = scratch.link(paths[0], doubt=doubt)
    else:
        path = scratch.new_file(paths[0], doubt=doubt)
        with path.open("wb") as copy:
            for origin, scan in zip(paths, scans, strict=True):
                for chunk in _unified(chunks(origin)) if mixed else chunks(origin):
                    copy.write(chunk.decode("latin-1").encode() if recode else chunk)
                if len(paths) > 1 and not scan.ended:
                    copy.write(b"\n")
    starts = (0, *itertools.accumulate(scan.feeds + (not scan.ended) for scan in scans[:-1]))
    return Text(path, tuple(paths), starts, b"\n" if feeds or not returns else b"\r", tuple(notes))


def chunks(path: Path) -> Iterator[bytes]:
    """Yield the unzipped content of a file; raises `DataError` where its gzip data is cut off or damaged."""
    read = 0
    with opened(path) as file:
        try:
            while chunk := file.read(CHUNK):
                read += len(chunk)
                yield chunk
        except _CUT_OFF as error:
            raise DataError(
                f"{path}: expected a whole gzip file, found one cut off or damaged after {read:,} bytes: {error}",
                hint="fetch the file again",
            ) from None


@dataclass
class _Scan:
    """What one pass over the bytes of a file finds: line ends (``stray``: the line of a lone CR), encoding, ending."""

    zipped: bool = False
    utf8: bool = True
    feeds: int = 0
    pairs: int = 0
    returns: int = 0
    stray: int | None = None
    ended: bool = True


def _scan(path: Path, *, check: bool) -> _Scan:
    scan = _Scan()
    decoder = codecs.getincrementaldecoder("utf-8")()
    last = b""
    for chunk in chunks(path):
        if not last:
            _refuse_other_kinds(path, chunk)
        # A return at the end of a chunk may be half of a pair: it is looked at again with the next chunk.
        joined = b"\r" + chunk if last == b"\r" else chunk
        if b"\r" in joined:
            lone = re.search(rb"\r(?!\n|\Z)", joined)
            if lone and scan.stray is None:
                scan.stray = scan.feeds + joined.count(b"\n", 0, lone.start()) + 1
            scan.pairs += joined.count(b"\r\n")
            scan.returns += chunk.count(b"\r")
        scan.feeds += chunk.count(b"\n")
        if check and scan.utf8:
            scan.utf8 = _decodes(decoder, chunk)
        last = chunk[-1:]
    if not last:
        raise DataError(f"{path}: expected rows, found an empty file", hint="check that the file was written in full")
    scan.utf8 = scan.utf8 and _decodes(decoder, b"", final=True)
    scan.ended = last == b"\n"
    with path.open("rb") as file:
        scan.zipped = file.read(2) == GZIP
    return scan


def _decodes(decoder: codecs.IncrementalDecoder, chunk: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError:
        return False
    return True


def _refuse_other_kinds(path: Path, start: bytes) -> None:
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


def header(text: Text, delimiter: str) -> tuple[list[str], int]:
    """Return the column names in the first record, and how many records the parser must skip to be past them."""
    with text.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            names = next(record for record in reader if record)
        except StopIteration:
            raise DataError(f"{text.origin}: expected a header and rows, found nothing but blank lines") from None
        except csv.Error as error:
            raise DataError(
                f"{text.origin}: line 1: expected column names, found something else: {error}",
                hint="check the quotes in the first line",
            ) from None
        skip = reader.line_num
    if any("\ud800" <= letter <= "\udfff" for name in names for letter in name):
        raise DataError(
            f"{text.origin}: line 1: expected UTF-8 text, found other bytes in the header",
            hint="convert the file with iconv -t utf-8",
        )
    if any("\n" in name or "\r" in name for name in names):
        # The parser skips records, not lines, and would lose rows after an unclosed quote without a word.
        raise DataError(
            f"{text.origin}: line 1: expected column names on one line, found a quote that is not closed there"
        )
    return [name.strip() for name in names], skip
