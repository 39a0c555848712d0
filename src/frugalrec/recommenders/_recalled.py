"""A recommender that remembers its fit and its scores, for the search of weights and settings around it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Self

from frugalrec.data.dataset import Dataset, Fold, Query
from frugalrec.interfaces import Matrix, Recommender


class Recalled:
    """A member whose scores are kept: while only its weight in the whole changes, they stay the same.

    It is ``fitted`` to that data set already, or not at all.
    """

    def __init__(self, member: Recommender, fold: Fold, limit_bytes: int, fitted: Dataset | None = None) -> None:
        self._member, self._free, self._dataset = member, limit_bytes, fitted
        self._fold = set(map(id, fold.queries))
        self._scores: dict[tuple[Any, ...], Matrix] = {}
        self._first: dict[str, Any] = {}
        self._changed: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._member, name)

    @property
    def member(self) -> Any:
        """The member itself."""
        return self._member

    def fit(self, dataset: Dataset) -> Self:
        """Fit a copy of the member, unless it is fitted to ``dataset`` already."""
        if dataset is not self._dataset:
            self._member, self._dataset = copy.copy(self._member).fit(dataset), dataset
            self._free += sum(scores.nbytes for scores in self._scores.values())
            self._scores.clear()
        return self

    def change(self, name: str, value: Any) -> None:
        """Let the member score with another setting; scores with earlier ones stay known."""
        self._changed[name] = value
        if value == self._first.setdefault(name, getattr(self._member, name)):
            del self._changed[name]
        setattr(self._member, name, value)

    def score(self, queries: Sequence[Query]) -> Matrix:
        """Return the member's scores of ``queries``; the fold, which keeps them alive, is told apart by identity."""
        key = (*sorted(self._changed.items()), *map(id, queries))
        if key in self._scores:
            return self._scores[key]
        scores = self._member.score(queries)
        if scores.nbytes <= self._free and self._fold.issuperset(map(id, queries)):
            self._free -= scores.nbytes
            self._scores[key] = scores
        return scores


__all__ = ["Recalled"]
