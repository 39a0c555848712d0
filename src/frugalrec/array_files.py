"""Named arrays in a folder, here or on any file system that fsspec knows: one Parquet file an array, and a note.

The note (``note.json``) is written last, so a folder without one is an unfinished one; it holds shapes and checksums.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from frugalrec.errors import ConfigError, DataError, MissingExtraError

_NOTE = "note.json"
_KINDS = "biuf"


def write(folder: str, arrays: Mapping[str, np.ndarray[Any, Any]], note: Mapping[str, Any]) -> None:
    """Keep ``arrays`` of numbers in ``folder``, whole or not at all; what another has kept there meanwhile stays."""
    listed = {}
    with tempfile.TemporaryDirectory(prefix="frugalrec-") as scratch:
        for name, array in arrays.items():
            if array.dtype.kind not in _KINDS:
                raise TypeError(f"'{name}' is an array of {array.dtype}, and only numbers are kept")
            flat = np.ascontiguousarray(array).reshape(-1)
            if array.dtype.kind == "f":
                flat = np.where(np.isnan(flat), np.array(np.nan, array.dtype), flat)  # one of the many kinds of NaN
            copy_to(Path(scratch) / f"{name}.parquet", {"value": flat})
            listed[name] = {"shape": array.shape, "dtype": array.dtype.str, "checksum": zlib.crc32(flat.data)}
        (Path(scratch) / _NOTE).write_text(json.dumps({**note, "arrays": listed}), encoding="utf-8")
        put(scratch, folder)


def read(folder: str) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
    """Return the arrays in ``folder`` and the note beside them; raises `DataError` where they are damaged."""
    try:
        with got(folder) as here:
            note = json.loads((here / _NOTE).read_text(encoding="utf-8"))
            return {name: _array(here / f"{name}.parquet", told) for name, told in note.pop("arrays").items()}, note
    except DataError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}: not a kept result: {error!r}", hint="delete it, and it is made again") from error


def note_of(folder: str) -> dict[str, Any] | None:
    """Return the note of a finished folder, None for one that is not there or not finished."""
    try:
        if is_url(folder):
            files, path = _file_system(folder)
            return dict(json.loads(files.cat_file(f"{path}/{_NOTE}")))
        return dict(json.loads((Path(folder) / _NOTE).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def remove(folder: str) -> None:
    """Delete a folder of results, if it is there."""
    if is_url(folder):
        files, path = _file_system(folder)
        if files.exists(path):
            files.rm(path, recursive=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def is_url(place: str) -> bool:
    """Whether ``place`` is of another file system than the local one."""
    return "://" in place


def refuse_memory(place: str, what: str) -> None:
    """Raise `ConfigError` where ``place`` is fsspec's memory: each process has its own, as long as it lasts."""
    if "memory://" in place:  # also below a cache, as in simplecache::memory://
        raise ConfigError(
            f"{what} cannot be in '{place}': every process has a memory of its own, and takes it along when it ends",
            hint="name a folder, or a URL that all workers reach",
        )


def absolute(place: str) -> str:
    """Return a URL as it is, and a path so that it means the same to processes that work in another folder.

    A URL of the local file system is a path: files are moved there whole.
    """
    place = place.removeprefix("file://")
    return place if not place or is_url(place) else os.path.abspath(place)


def joined(place: str, name: str) -> str:
    """Return ``name`` inside ``place``."""
    return f"{place.rstrip('/')}/{name}" if is_url(place) else str(Path(place) / name)


def put(scratch: str, folder: str) -> None:
    """Move the files in ``scratch`` to ``folder``; the note comes last."""
    names = sorted(os.listdir(scratch), key=lambda name: name == _NOTE)
    if is_url(folder):
        files, path = _file_system(folder)
        files.makedirs(path, exist_ok=True)
        for name in names:
            files.put_file(str(Path(scratch) / name), f"{path}/{name}")
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        # Two workers may finish one shard at once: each writes under a name of its own, and the last one stands.
        # What a killed one leaves is not taken for a Parquet file.
        part = Path(folder) / f".{name}.{os.getpid()}"
        shutil.copyfile(Path(scratch) / name, part)
        os.replace(part, Path(folder) / name)


@contextmanager
def copied(url: str) -> Iterator[Path]:
    """Yield a local copy of the file at ``url``, or of the folder with all below it; raises `DataError`."""
    files, path = _file_system(url)
    with tempfile.TemporaryDirectory(prefix="frugalrec-") as scratch:
        here = Path(scratch) / path.rsplit("/", 1)[-1]
        try:
            for found in files.find(path):
                target = here / found[len(path) :].lstrip("/")
                if not target.resolve().is_relative_to(Path(scratch).resolve()):
                    raise DataError(f"{url}: the name of '{found}' leads out of its folder")
                target.parent.mkdir(parents=True, exist_ok=True)
                files.get_file(found, str(target))
        except DataError:
            raise
        except Exception as error:  # each driver has errors of its own
            raise DataError(f"{url}: cannot be read: {error or type(error).__name__}") from error
        if not here.exists():
            raise DataError(f"{url}: expected a file or a folder, found none", hint="check the address")
        yield here


@contextmanager
def got(folder: str) -> Iterator[Path]:
    """Yield a local folder with the files in ``folder``."""
    if not is_url(folder):
        yield Path(folder)
        return
    files, path = _file_system(folder)
    with tempfile.TemporaryDirectory(prefix="frugalrec-") as scratch:
        for name in files.ls(path, detail=False):
            files.get_file(name, str(Path(scratch) / name.rsplit("/", 1)[-1]))
        yield Path(scratch)


def names_in(folder: str) -> list[str]:
    """Return the names of the files in ``folder``; none where it is not there."""
    if is_url(folder):
        files, path = _file_system(folder)
        return sorted(n.rsplit("/", 1)[-1] for n in files.ls(path, detail=False)) if files.exists(path) else []
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def file_system(url: str) -> tuple[Any, str]:
    """Return fsspec's file system of ``url`` and the path in it; raises `MissingExtraError` without fsspec."""
    return _file_system(url)


def _file_system(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingExtraError.of("fsspec", "ray") from error
    try:
        files, path = url_to_fs(url)
    except ImportError as error:  # fsspec says which driver
        raise MissingExtraError(f"{url} cannot be reached: {error}", hint="pip install that driver") from error
    except ValueError as error:
        raise ConfigError(
            f"{url} cannot be reached: {error}", hint="it may be a path, or a URL that fsspec knows"
        ) from error
    return files, path.rstrip("/")


def copy_to(path: Path, columns: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Write columns of equal length as a Parquet file."""
    import duckdb

    with duckdb.connect(config={"threads": "1", "preserve_insertion_order": "true"}) as database:
        database.register("columns", dict(columns))
        database.execute(f"COPY (FROM columns) TO '{_quoted(path)}' (FORMAT parquet, COMPRESSION zstd)")


def _array(path: Path, told: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    import duckdb

    with duckdb.connect(config={"threads": "1", "preserve_insertion_order": "true"}) as database:
        try:
            found = database.execute(f"SELECT value FROM read_parquet('{_quoted(path)}')").fetchnumpy()["value"]  # noqa: S608
        except duckdb.Error as error:
            raise DataError(f"{path}: cannot be read: {error}") from error
    if isinstance(found, np.ma.MaskedArray):  # DuckDB takes NaN for NULL
        found = found.filled(np.nan)
    array = np.ascontiguousarray(found, dtype=np.dtype(told["dtype"]))
    if zlib.crc32(array.data) != told["checksum"]:
        raise DataError(f"{path}: damaged: its checksum is not the one noted", hint="delete its folder")
    return array.reshape(told["shape"])


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
