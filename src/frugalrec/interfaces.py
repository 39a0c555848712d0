"""Every seam of frugalrec on one page: what a component of each kind must do.

A component is one public dataclass in one file of its folder; the file's name is the component's name in a plan
(``recommenders/item_knn.py`` is ``item-knn``). Fields are hyperparameters and collaborators; what was learned ends in
``_``. A field's metadata may hold ``tune`` (values worth trying) and ``stage`` (what must be redone when it changes:
``accumulate``, ``solve`` or ``score``). Everything takes and gives batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self, runtime_checkable

import numpy as np

from frugalrec.cost import Cost
from frugalrec.data.dataset import Dataset, Fold, Query, Ranking, Reason, Split
from frugalrec.data.interactions import FloatArray, IntArray
from frugalrec.data.shape import DataShape
from frugalrec.work import Expected, Stages

Matrix = np.ndarray[Any, np.dtype[np.float32]]
Role = Literal["query", "item"]


@runtime_checkable
class TextEncoder(Protocol):
    """Text → vectors."""

    def encode(self, texts: Sequence[str], *, role: Role = "item") -> Matrix:
        """Return float32 ``(n, dim)`` with rows of unit norm; a text without content gets a zero row."""
        ...

    def fingerprint(self) -> str:
        """Return a string that changes whenever the vectors would."""
        ...


@runtime_checkable
class LearnsFromTexts(Protocol):
    """A text encoder that must see the catalogue's texts before it can encode. What it learned ends in ``_``.

    Before ``fit``, ``encode`` and ``fingerprint`` raise `NotFittedError`.
    """

    def fit(self, texts: Sequence[str]) -> Self:
        """Learn from ``texts``, one an item, and return self."""
        ...


@runtime_checkable
class LanguageModel(Protocol):
    """Prompts → tokens, and token sequences → log-probabilities."""

    def generate(self, prompts: Sequence[str], *, max_tokens: int = 128, stop: Sequence[str] = ()) -> list[str]:
        """Return one completion a prompt."""
        ...

    def loglikelihoods(self, prefix: str, continuations: Sequence[str]) -> FloatArray:
        """Return float64 ``(n,)``: log P(continuation | prefix) summed over tokens; the prefix is computed once."""
        ...

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of ``text``."""
        ...

    def fingerprint(self) -> str:
        """Return a string that changes whenever the probabilities would."""
        ...


@runtime_checkable
class Bounded(Protocol):
    """A language model that says how much it can read at once, so that whoever asks can shorten what matters least."""

    @property
    def context(self) -> int | None:
        """Tokens that one call may hold, continuation included; None where nobody knows."""
        ...


@runtime_checkable
class ConstrainedModel(Protocol):
    """A language model that can be held to a form while it writes."""

    def generate_json(self, prompts: Sequence[str], schema: Mapping[str, Any], *, max_tokens: int = 256) -> list[Any]:
        """Return one value a prompt, each an instance of the JSON ``schema``; raises `DataError` when there is none.

        ``{"enum": [...]}`` is a list of choices.
        """
        ...


class VectorIndex(Protocol):
    """Vectors → nearest neighbours."""

    def add(self, codes: IntArray, vectors: Matrix) -> None:
        """Add vectors under ``codes``."""
        ...

    def remove(self, codes: IntArray) -> None:
        """Forget ``codes``."""
        ...

    def search(self, vectors: Matrix, k: int) -> tuple[IntArray, Matrix]:
        """Return codes and inner products, both ``(n, k)``, best first."""
        ...


@runtime_checkable
class Recommender(Protocol):
    """Queries → candidates."""

    def fit(self, dataset: Dataset) -> Self:
        """Learn from ``dataset`` and return self."""
        ...

    def score(self, queries: Sequence[Query]) -> Matrix:
        """Return float32 ``(n_queries, n_items)``, higher is better, finite, unmasked; raises `NotFittedError`."""
        ...

    def recommend(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        """Return at most ``k`` items a query: no repeats, nothing excluded, best first."""
        ...


@runtime_checkable
class Explains(Protocol):
    """A recommender that can say why."""

    def explain(self, query: Query, items: IntArray) -> list[tuple[Reason, ...]]:
        """Return, for each of ``items``, reasons with the largest share first."""
        ...


@runtime_checkable
class Expects(Protocol):
    """A component that can say what it will take before it does it; the cost of any other is unknown."""

    def expected(self, shape: DataShape) -> Stages:
        """Return what fitting and scoring take for data of ``shape``, with the component's present settings."""
        ...


@runtime_checkable
class ExpectsText(Protocol):
    """An encoder that can say what reading the catalogue will take; ``dim`` is the dimension of its vectors."""

    @property
    def dim(self) -> int | None:
        """Dimension of the vectors; None where it is not known yet."""
        ...

    def expected(self, shape: DataShape) -> Expected:
        """Return what encoding each different item text of ``shape`` once takes."""
        ...


@runtime_checkable
class RatingModel(Protocol):
    """A user and an item → the rating to expect."""

    def fit(self, dataset: Dataset) -> Self:
        """Learn from the ratings of ``dataset`` and return self; raises `DataError` when there are none."""
        ...

    def predict(self, users: IntArray, items: IntArray) -> FloatArray:
        """Return float64 ``(n,)``, one a pair of codes, finite and within the range of the ratings learned from.

        A code outside the data (-1, say) stands for somebody or something unknown, of whom averages are expected.
        Raises `NotFittedError` before ``fit``.
        """
        ...


class Reranker(Protocol):
    """Candidates → better order."""

    depth: int

    def fit(self, dataset: Dataset) -> Self:
        """Learn what it needs from ``dataset`` (item texts, at least) and return self."""
        ...

    def rerank(self, queries: Sequence[Query], rankings: Sequence[Ranking]) -> list[Ranking]:
        """Return the same items in a better order; what it cannot improve comes back as it was, marked ``degraded``."""
        ...


@dataclass(frozen=True)
class Judged:
    """Where the relevant items of each query ended up. The input of every accuracy metric.

    ``ranks``: float64, all relevant items of all queries one after another, 1 is best; items with equal scores share
    their average rank, so a constant scorer gains nothing. ``offsets`` (int64, ``n + 1``): query ``i`` owns
    ``ranks[offsets[i]:offsets[i+1]]``, ascending. ``n_candidates`` (int64, ``n``): how many items were ranked.
    """

    ranks: FloatArray
    offsets: np.ndarray[Any, np.dtype[np.int64]]
    n_candidates: np.ndarray[Any, np.dtype[np.int64]]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def n_relevant(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Number of relevant items of each query."""
        return np.diff(self.offsets)

    def sums(self, terms: FloatArray) -> FloatArray:
        """Sum ``terms`` (one a relevant item) within each query: float64 ``(n,)``."""
        owner = np.repeat(np.arange(len(self)), self.n_relevant)
        return np.bincount(owner, weights=terms, minlength=len(self)).astype(np.float64)


@dataclass(frozen=True)
class Lists:
    """Top-k lists of all queries, the input of list metrics (coverage, novelty, diversity …).

    ``items``: int32 ``(n, k)``, -1 where a list is shorter. ``popularity``: events of each item in training
    ``(n_items,)``. ``n_users``: training users. ``vectors``: unit item vectors ``(n_items, dim)``, or None.
    ``histories``: item codes each query came with.
    """

    items: IntArray
    popularity: np.ndarray[Any, np.dtype[np.int64]]
    n_users: int
    vectors: Matrix | None
    histories: Sequence[IntArray]


@runtime_checkable
class Metric(Protocol):
    """Ranks of the relevant items → one number a query."""

    def __call__(self, judged: Judged) -> FloatArray:
        """Return float64 ``(n,)``, higher is better, NaN for a query without relevant items."""
        ...


class Splitter(Protocol):
    """Dataset → Split."""

    def split(self, dataset: Dataset) -> Split:
        """Return the split; raises `DataError` when the data cannot be split that way."""
        ...


class ArrayStore(Protocol):
    """Keeps arrays and what they cost under keys. May forget, never lies."""

    def get(self, keys: Sequence[str]) -> dict[str, tuple[Matrix, Cost]]:
        """Return what is kept under ``keys``; absent ones are left out."""
        ...

    def put(self, arrays: Mapping[str, tuple[Matrix, Cost]]) -> None:
        """Keep ``arrays``, each with its first price."""
        ...


@dataclass(frozen=True, slots=True)
class Event:
    """One thing a user did, by ids."""

    user: str
    item: str
    timestamp: float
    value: float | None = None


class EventStore(Protocol):
    """Events, kept."""

    def append(self, events: Iterable[Event]) -> None:
        """Keep ``events``."""
        ...

    def read(self, since: float = 0.0) -> Iterable[Event]:
        """Yield the events from ``since`` on, oldest first."""
        ...

    def forget(self, user: str) -> int:
        """Delete all events of ``user`` and return how many there were."""
        ...


__all__ = [
    "ArrayStore",
    "Bounded",
    "ConstrainedModel",
    "Dataset",
    "Event",
    "EventStore",
    "Expects",
    "ExpectsText",
    "Explains",
    "Fold",
    "Judged",
    "LanguageModel",
    "LearnsFromTexts",
    "Lists",
    "Matrix",
    "Metric",
    "Query",
    "Ranking",
    "RatingModel",
    "Reason",
    "Recommender",
    "Reranker",
    "Role",
    "Split",
    "Splitter",
    "TextEncoder",
    "VectorIndex",
]
