"""What happens to one shard, wherever it happens: the function runs, is measured, and its result is kept."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from threadpoolctl import threadpool_limits

from frugalrec import array_files
from frugalrec.cost import Cost, Ledger, threads
from frugalrec.errors import FrugalrecError

PASSED_BYTES = 1 << 20

_MEMORY = Path("/dev/shm")
_ROOM = 4.0  # times the size of an array must be free where it is passed on
_LARGE_BYTES = 4 << 30  # free memory that makes a file system in memory worth using; containers often have 64 MB
_UNNAMED = ".unnamed"
_PASSED: ContextVar[str] = ContextVar("passed", default="")

Arrays: TypeAlias = Mapping[str, np.ndarray[Any, Any]]
Function: TypeAlias = Callable[[Any], Arrays]


@dataclass(frozen=True)
class Result:
    """Named arrays: held, kept in a folder, passed on in memory that processes share, or in a cluster's store."""

    arrays: Arrays | None = None
    folder: str = ""
    passed: str = ""
    reference: Any = None

    def load(self, *, own: bool = False) -> Arrays:
        """Return the arrays, perhaps read-only; raises `DataError` for a damaged file.

        ``own``: nobody else will load them, so what was passed on may be written.
        """
        if self.arrays is not None:
            return self.arrays
        if self.reference is not None:
            import ray

            found: Arrays = ray.get(self.reference)
            return found
        if self.passed:
            files = Path(self.passed).glob("*.npy")
            mode: Literal["r+", "r"] = "r+" if own else "r"
            return {file.stem: np.load(file, mmap_mode=mode, allow_pickle=False) for file in files}
        return array_files.read(self.folder)[0]

    def release(self) -> None:
        """Free what was passed on; what is kept stays."""
        if self.passed:
            shutil.rmtree(self.passed, ignore_errors=True)


@dataclass(frozen=True)
class Outcome:
    """What came of a shard: a result and what it took, or what went wrong."""

    result: Result | None = None
    charged: Mapping[str, float | None] = field(default_factory=dict)
    reused: Cost = field(default_factory=Cost.zero)
    cost: Cost = field(default_factory=Cost.zero)
    error: BaseException | None = None


def perform(function: Function, payload: Any, folder: str, passing: str = "") -> Outcome:
    """Run ``function`` on ``payload``; with ``folder``, keep the arrays there and return where they are.

    Otherwise large ones are left in the folder ``passing``, where the processes of one machine find them.
    """
    passed = tempfile.mkdtemp(dir=passing) if passing and not folder else ""
    token = _PASSED.set(passed)
    try:
        with threadpool_limits(threads()), Ledger().span("shard") as span:
            arrays = function(payload)
        assert span.entry is not None
        cost = span.entry.cost
        if folder:
            array_files.write(folder, arrays, {"cost": cost.to_dict()})
        result = Result(folder=folder) if folder else Result(arrays)
        if passed and sum(array.nbytes for array in arrays.values()) >= PASSED_BYTES:
            result = Result(passed=passed)
            for name, array in arrays.items():
                _pass(array, Path(passed) / f"{name}.npy")
        elif passed:
            shutil.rmtree(passed, ignore_errors=True)
        return Outcome(result, span.charged, span.reused, cost)
    except Exception as error:
        if passed:
            shutil.rmtree(passed, ignore_errors=True)
        return Outcome(error=_sendable(error))
    finally:
        _PASSED.reset(token)


def zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Return zeros, and memory for them as it is written to.

    A shard that will pass them on to other processes makes them where those find them, so that nothing is copied.
    """
    folder, size = _PASSED.get(), math.prod(shape) * dtype.itemsize
    if size < PASSED_BYTES or not folder.startswith(str(_MEMORY)):
        return np.zeros(shape, dtype)
    # Writing to a mapped file ends the process when the file system is full, and others fill it as well.
    if shutil.disk_usage(folder).free < _ROOM * size:
        return np.zeros(shape, dtype)
    with tempfile.NamedTemporaryFile(dir=folder, suffix=_UNNAMED, delete=False) as file:
        return np.lib.format.open_memmap(file.name, mode="w+", dtype=dtype, shape=shape)


def shared_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a new folder for what the processes of this machine pass to each other, in memory where it has room."""
    large = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _LARGE_BYTES
    return tempfile.TemporaryDirectory(prefix="frugalrec-", dir=_MEMORY if large else None, ignore_cleanup_errors=True)


def _pass(array: np.ndarray[Any, Any], path: Path) -> None:
    """Leave ``array`` in the file ``path``: where it is a whole file that `zeros` made, that file."""
    if isinstance(array, np.memmap) and array.filename is not None and array.flags.c_contiguous:
        file = Path(array.filename)
        if (
            file.parent == path.parent
            and file.suffix == _UNNAMED
            and array.nbytes + array.offset == os.stat(file).st_size
        ):
            os.replace(file, path)
            return
    np.save(path, array)


def known(functions: list[Function], function: Function) -> int | None:
    """Return where ``function`` itself is in ``functions``, or None."""
    return next((place for place, other in enumerate(functions) if other is function), None)


def _sendable(error: Exception) -> Exception:
    """Return ``error``, or what it says where it cannot be sent between processes."""
    try:
        type(error)(*error.args)  # as the receiver will make it
    except Exception:
        return FrugalrecError(f"{type(error).__name__}: {error}")
    return error
