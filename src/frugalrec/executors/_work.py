"""What happens to one shard, wherever it happens: the function runs, is measured, and its result is kept."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from threadpoolctl import threadpool_limits

from frugalrec import array_files
from frugalrec.cost import Cost, Ledger, threads
from frugalrec.errors import FrugalrecError
from frugalrec.executors._shared import PASSED_BYTES, leave, passing

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


def perform(function: Function, payload: Any, folder: str, place: str = "") -> Outcome:
    """Run ``function`` on ``payload``; with ``folder``, keep the arrays there and return where they are.

    Otherwise large ones are left in the new folder ``place``, where the processes of one machine find them.
    """
    place = "" if folder else place
    try:
        with passing(place):
            with threadpool_limits(threads()), Ledger().span("shard") as span:
                arrays = function(payload)
            assert span.entry is not None
            cost = span.entry.cost
            if folder:
                array_files.write(folder, arrays, {"cost": cost.to_dict()})
            result = Result(folder=folder) if folder else Result(arrays)
            if place and sum(array.nbytes for array in arrays.values()) >= PASSED_BYTES:
                result = Result(passed=place)
                for name, array in arrays.items():
                    leave(array, Path(place) / f"{name}.npy")
            elif place:
                shutil.rmtree(place, ignore_errors=True)
            return Outcome(result, span.charged, span.reused, cost)
    except Exception as error:
        return Outcome(error=_sendable(error))


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
