"""What happens to one shard, wherever it happens: the function runs, is measured, and its result is kept."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from threadpoolctl import threadpool_limits

from frugalrec import array_files
from frugalrec.cost import Cost, Ledger, threads
from frugalrec.errors import FrugalrecError

Arrays: TypeAlias = Mapping[str, np.ndarray[Any, Any]]
Function: TypeAlias = Callable[[Any], Arrays]


@dataclass(frozen=True)
class Result:
    """Named arrays, held or kept in a folder."""

    arrays: Arrays | None = None
    folder: str = ""

    def load(self) -> Arrays:
        """Return the arrays; raises `DataError` for a damaged file."""
        return self.arrays if self.arrays is not None else array_files.read(self.folder)[0]


@dataclass(frozen=True)
class Outcome:
    """What came of a shard: a result and what it took, or what went wrong."""

    result: Result | None = None
    charged: Mapping[str, float | None] = field(default_factory=dict)
    reused: Cost = field(default_factory=Cost.zero)
    cost: Cost = field(default_factory=Cost.zero)
    error: BaseException | None = None


def perform(function: Function, payload: Any, folder: str) -> Outcome:
    """Run ``function`` on ``payload``; with ``folder``, keep the arrays there and return where they are."""
    try:
        with threadpool_limits(threads()), Ledger().span("shard") as span:
            arrays = function(payload)
        assert span.entry is not None
        cost = span.entry.cost
        if folder:
            array_files.write(folder, arrays, {"cost": cost.to_dict()})
        result = Result(folder=folder) if folder else Result(arrays)
        return Outcome(result, span.charged, span.reused, cost)
    except Exception as error:
        return Outcome(error=_sendable(error))


def known(functions: list[Function], function: Function) -> int | None:
    """Return where ``function`` itself is in ``functions``, or None."""
    return next((place for place, other in enumerate(functions) if other is function), None)


def _sendable(error: Exception) -> Exception:
    """Return ``error``, or what it says where it cannot be sent between processes."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  our own bytes
    except Exception:
        return FrugalrecError(f"{type(error).__name__}: {error}")
    return error
