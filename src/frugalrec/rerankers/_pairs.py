"""What was said of pairs of a history and a candidate, kept so that no pair is read twice."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from frugalrec.cost import Cost
from frugalrec.data.interactions import FloatArray

History = tuple[int, ...]
Value = tuple[float, Cost]
"""What was said, and what it took to say it."""


class Pairs:
    """Keeps up to ``size`` values; the histories not asked for the longest go first. Some 150 bytes a value."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._lock = threading.Lock()
        self._said: OrderedDict[History, dict[int, Value]] = OrderedDict()
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def get(self, history: History, items: Sequence[int]) -> list[Value | None]:
        """Return what was said of each of ``items`` after ``history``, None where nothing was."""
        with self._lock:
            said = self._said.get(history)
            if said is None:
                return [None] * len(items)
            self._said.move_to_end(history)
            return [said.get(item) for item in items]

    def put(self, history: History, items: Sequence[int], values: FloatArray, price: Cost) -> None:
        """Keep a value each of ``items``, which took ``price`` each."""
        with self._lock:
            said = self._said.setdefault(history, {})
            self._said.move_to_end(history)
            before = len(said)
            said.update((item, (float(value), price)) for item, value in zip(items, values, strict=True))
            self._n += len(said) - before
            while self._n > self.size:
                self._n -= len(self._said.popitem(last=False)[1])


__all__ = ["History", "Pairs", "Value"]
