"""A throw-away DuckDB database: where files are read, checked and numbered, and which leaves nothing behind."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from frugalrec.cost import threads
from frugalrec.errors import DataError, FrugalrecError

if TYPE_CHECKING:
    import duckdb

MEMORY_LIMIT = "2GiB"
"""What DuckDB may hold in memory; beyond it, tables and intermediates go to the temporary folder."""


class Scratch:
    """An in-memory DuckDB database with a temporary folder, as a context manager.

    It never goes to the network: extensions are neither loaded nor installed. A user's path never becomes SQL and is
    never taken for a pattern (``ratings[1]*.csv`` is one file): DuckDB sees links with plain names in the folder.
    """

    def __init__(self) -> None:
        # Imported here: DuckDB takes longer to import than the rest of frugalrec.
        import duckdb

        self._kept = tempfile.TemporaryDirectory(prefix="frugalrec-", ignore_cleanup_errors=True)
        self.folder = Path(self._kept.name)
        self._names = 0
        self._origins: dict[str, tuple[Path, str]] = {}
        self._full = duckdb.OutOfMemoryException
        # What files can bring about. An error in our own SQL (Parser, Binder, Catalog) comes up as it is.
        self._refusals = (duckdb.OperationalError, duckdb.DataError, duckdb.InvalidInputException)
        self._connection: duckdb.DuckDBPyConnection = duckdb.connect(
            ":memory:",
            config={
                "threads": str(threads()),
                "memory_limit": MEMORY_LIMIT,
                "temp_directory": str(self.folder / "spill"),
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "allow_community_extensions": "false",
            },
        )
        self.run("SET TimeZone = 'UTC'")
        # DuckDB draws on stdout, on a terminal or not, and stdout is for data.
        self.run("SET enable_progress_bar = false")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._kept.cleanup()

    def name(self, stem: str) -> str:
        """Return a name for a table that is not in use yet."""
        self._names += 1
        return f"{stem}_{self._names}"

    def new_file(self, origin: Path, *, doubt: str = "") -> Path:
        """Return a path in the folder to write a copy of ``origin`` to.

        When it cannot be parsed, the error speaks of ``origin``, and gives ``doubt`` as the likely reason.
        """
        path = self.folder / f"{self.name('file')}.data"
        self._origins[str(path)] = (origin, doubt)
        return path

    def link(self, origin: Path, *, doubt: str = "") -> Path:
        """Return a path in the folder that leads to the file ``origin``; ``doubt`` as for `new_file`."""
        path = self.new_file(origin, doubt=doubt)
        try:
            path.symlink_to(origin.resolve())
        except OSError:  # a file system without links
            shutil.copyfile(origin, path)
        return path

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Execute ``sql``; raises `DataError` where DuckDB cannot read a file."""
        self._execute(sql, parameters)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a small result."""
        return list(self._execute(sql, parameters).fetchall())

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...]:
        """Return the only row of a result."""
        (row,) = self.rows(sql, parameters)
        return row

    def arrays(self, sql: str, parameters: Sequence[Any] = ()) -> dict[str, Any]:
        """Return the columns of a result as NumPy arrays, masked where they hold NULL."""
        return dict(self._execute(sql, parameters).fetchnumpy())

    def columns(self, sql: str, parameters: Sequence[Any] = ()) -> dict[str, str]:
        """Return the names and types of the columns that ``sql`` would yield."""
        described = self._execute(f"{sql} LIMIT 0", parameters).description or []
        return {str(column[0]): str(column[1]) for column in described}

    def _execute(self, sql: str, parameters: Sequence[Any]) -> duckdb.DuckDBPyConnection:
        try:
            return self._connection.execute(sql, list(parameters))
        except self._full as error:
            raise _no_room(_first_line(error)) from error
        except self._refusals as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> FrugalrecError:
        message = _first_line(error)
        if "No space left" in message:
            return _no_room(message)
        for place, (origin, doubt) in self._origins.items():
            if place in str(error):
                return DataError(f"{origin}: cannot be parsed: {doubt or message.replace(place, str(origin))}")
        return DataError(f"cannot be parsed: {message}")


def _no_room(message: str) -> FrugalrecError:
    return FrugalrecError(
        f"reading needs more memory or temporary disk space than there is: {message}",
        hint="free some disk space, or set TMPDIR to a folder on a larger disk",
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def quoted(name: str) -> str:
    """Return ``name`` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return ``text`` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"
