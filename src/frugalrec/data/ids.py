"""Two-way map between ids (the user's own strings) and codes (our dense integers)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from frugalrec.errors import UnknownNameError, nearest


class IdMap:
    """Ids in code order: the id of code ``c`` is ``ids[c]``. Ids are non-empty strings, each listed once."""

    def __init__(self, ids: Iterable[str], *, what: str = "id") -> None:
        listed = ids if isinstance(ids, np.ndarray) else np.array(list(ids), dtype=object)
        self.ids: np.ndarray[Any, Any] = listed.astype(object, copy=False)
        self.what = what

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, id_: object) -> bool:
        return id_ in self._codes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdMap) and np.array_equal(self.ids, other.ids)

    __hash__ = None  # type: ignore[assignment]  # equal by content, and content is a mutable array

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {id_: code for code, id_ in enumerate(self.ids)}

    @cached_property
    def ranks(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Place of each code when ids are sorted, int64 ``(n,)``: as numbers where all are whole numbers, else as text.

        Numbers that are equal (7 and 07) follow one another as text.

        >>> IdMap(["10", "9", "1"]).ranks.tolist(), IdMap(["b10", "b9"]).ranks.tolist()
        ([2, 1, 0], [0, 1])
        """
        ids: list[str] = self.ids.tolist()
        numbers = all(id_.isascii() and id_.isdigit() for id_ in ids)
        order = sorted(range(len(ids)), key=lambda c: (int(ids[c]) if numbers else 0, ids[c]))
        ranks = np.empty(len(ids), dtype=np.int64)
        ranks[order] = np.arange(len(ids))
        return ranks

    def code(self, id_: str) -> int:
        """Return the code of ``id_``; raises `UnknownNameError` naming the nearest id when there is none."""
        try:
            return self._codes[id_]
        except KeyError:
            # A suggestion is only worth its time on small catalogues, and a list of ids helps nobody.
            near = nearest(id_, self.ids.tolist()) if len(self) <= 20_000 else None
            raise UnknownNameError.of(self.what, id_, [near] if near else []) from None

    def codes(self, ids: Sequence[str]) -> np.ndarray[Any, np.dtype[np.int32]]:
        """Return int32 codes, -1 where an id is unknown."""
        known = self._codes
        return np.fromiter((known.get(i, -1) for i in ids), dtype=np.int32, count=len(ids))

    def extended(self, ids: Iterable[str]) -> IdMap:
        """Return a map with those of ``ids`` that are new added at the end, in their order."""
        known = self._codes
        new = [i for i in dict.fromkeys(ids) if i not in known]
        return IdMap(np.concatenate([self.ids, np.array(new, dtype=object)]), what=self.what) if new else self
