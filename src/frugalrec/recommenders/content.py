"""Items whose text reads like the history's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self

import numpy as np
from scipy import sparse

from frugalrec.cost import charge
from frugalrec.data.dataset import Dataset, Query, Reason
from frugalrec.data.interactions import IntArray
from frugalrec.data.shape import DataShape
from frugalrec.errors import ConfigError, DataError
from frugalrec.interfaces import Matrix, TextEncoder
from frugalrec.recommenders._base import Scores, history_reasons, query_matrix, require_fitted
from frugalrec.recommenders._expected import expected_text_space, width_of
from frugalrec.recommenders._text import TextSpace, encode_items, encode_queries, unit_rows
from frugalrec.recommenders._two_levels import LOOK_UP, READ, ROW_FLOPS, Bits, Bytes, TwoLevels, flops_of_request
from frugalrec.work import Expected, Stages, Work


@dataclass
class Content(Scores):
    """Recommends items whose text is near a profile: the mean vector of the history's texts and the request's words.

    Choose it for items that nobody has touched yet, for strangers who say in words what they want, and as the text
    member of a hybrid. Item texts are encoded once, at ``fit``; a request runs the encoder only for words of its own.
    With ``half_life``, an event that many positions before the newest counts half in the mean; 0 counts all alike. A
    request's text counts ``text_weight`` times the history. ``whitening`` (0 to 1) evens out the directions of the text
    vectors. ``cosine`` compares directions; ``euclidean`` keeps the lengths of the centred vectors, so that texts far
    from the average stay far. A query without history or text scores all items 0; an item without text scores as
    unrelated (cosine 0), or as the farthest item (euclidean).

    ``storage`` says where the vectors of items are kept. ``memory`` holds them as floats. ``two-level``, for
    ``cosine`` alone, holds a bit a dimension in memory, 1/32 of that, and a byte a dimension in a file that is mapped
    into memory: a request reads the rows of its history and of the ``rescored`` items that are best by their bits, and
    bits alone rank the rest. Choose it where the floats are too large to hold. The file is the saved model's own;
    until a model is saved and loaded it is a temporary one, and fitting takes as much memory as without.

    Time, for n items of dimension d: the encoder's, and O(n d²) to fit with whitening; O(n d) a query. Memory: 4nd
    bytes, or nd/8. FLOPs to fit: those of `TextSpace` beside the encoder's, in two levels 4nd and, to turn axes, 14d³/3
    (8d³/3 + 2nd² without whitening) more; a query takes 2d per history item, 8d for its profile and 2nd for the
    products, with ``euclidean`` 2d + 4n more, and 2nd a batch. In two levels it takes 5d per history item, 8d for its
    profile, 512d for the meaning of bytes, n (d/8 + 1) to look them up, and 5d + 4 for each rescored item.
    Paper of the two levels: Yamada, Asai & Hajishirzi 2021.

    >>> from frugalrec.data.dataset import Query
    >>> from frugalrec.testing.data import checkerboard
    >>> from frugalrec.testing.encoders import HashEncoder
    >>> content = Content(HashEncoder()).fit(checkerboard(8))
    >>> content.recommend([Query(text="odd square")], k=4)[0].items.tolist()
    [1, 3, 5, 7]
    """

    encoder: TextEncoder
    similarity: Literal["cosine", "euclidean"] = field(default="cosine", metadata={"stage": "solve"})
    half_life: float = field(default=0.0, metadata={"tune": (0.0, 2.0, 5.0, 15.0), "stage": "score"})
    whitening: float = field(default=0.3, metadata={"tune": (0.0, 0.3, 0.7), "stage": "solve"})
    text_weight: float = field(default=1.0, metadata={"stage": "score"})
    storage: Literal["memory", "two-level"] = field(default="memory", metadata={"stage": "solve"})
    rescored: int = field(default=100, metadata={"stage": "score"})
    n_items_: int = field(init=False, repr=False, compare=False)
    vectors_: Matrix = field(init=False, repr=False, compare=False)
    signs_: Bits = field(init=False, repr=False, compare=False)
    stored_: Bytes = field(init=False, repr=False, compare=False)
    mute_: IntArray = field(init=False, repr=False, compare=False)
    mean_: Matrix = field(init=False, repr=False, compare=False)
    transform_: Matrix | None = field(init=False, repr=False, compare=False)

    scores_cold_items = True
    reads_words = True

    def __post_init__(self) -> None:
        """Raise `ConfigError` for distances in two levels, whose bits keep no lengths, or ``rescored`` below 1."""
        if self.storage == "two-level" and self.similarity != "cosine":
            raise ConfigError(f"content with storage 'two-level' compares by 'cosine', not by '{self.similarity}'")
        if self.rescored < 1:
            raise ConfigError(f"content.rescored must be at least 1, not {self.rescored}")

    def fit(self, dataset: Dataset) -> Self:
        """Encode the catalogue; raises `DataError` when it has no text at all."""
        encoded = encode_items(dataset.catalog, self.encoder)
        if not encoded.any():
            raise DataError(
                "the catalogue has no text to compare items by",
                hint="name the columns that describe an item in words, or leave content-based plans out",
            )
        space = TextSpace.fit(encoded, self.whitening)
        if self.storage == "two-level":
            space = space.turned()
        self.mean_, self.transform_ = space.mean, space.transform
        self.vectors_ = space.project(encoded, unit=self.similarity == "cosine")
        if self.storage == "two-level":
            levels = TwoLevels.of(self.vectors_)
            self.signs_, self.stored_, self.mute_ = levels.signs, levels.stored, levels.mute
            self.vectors_ = self.vectors_[:0].copy()
        self.n_items_ = dataset.n_items
        return self

    def score(self, queries: Sequence[Query]) -> Matrix:
        """Return float32 ``(n_queries, n_items)``: the cosine with the profile, or minus the distance to it."""
        require_fitted(self, "vectors_")
        histories = query_matrix(queries, self.n_items_, self.half_life)
        sums = self._sums(histories)
        words = self._words(queries)
        profiles = sums * self._scales(histories, sums) + self.text_weight * words
        if self.similarity == "cosine":
            profiles = unit_rows(profiles)
        else:
            told = sums.any(axis=1) + self.text_weight * words.any(axis=1)
            profiles /= np.where(told > 0, told, 1.0).astype(np.float32)[:, None]
        levels = self._levels
        if levels is not None:
            charge(flops=(ROW_FLOPS * histories.nnz + 8.0 * len(queries)) * profiles.shape[1])
            return levels.score(queries, profiles, self.rescored)
        products = profiles @ self.vectors_.T
        charge(flops=(2.0 * histories.nnz + 8.0 * len(queries) + 2.0 * products.size) * self.vectors_.shape[1])
        return products if self.similarity == "cosine" else self._nearness(profiles, products)

    def expected(self, shape: DataShape) -> Stages:
        """Return what fitting and scoring take for data of ``shape``, the encoder's part aside."""
        dim, n = width_of(self.encoder), shape.items
        if dim is None:
            return Stages()
        fit = expected_text_space(shape, dim, self.whitening)
        if self.storage == "two-level":
            return self._expected_of_levels(shape, dim, fit)
        if self.similarity != "cosine":
            return Stages(fit)  # what distances charge a batch cannot be told for a query
        flops = (2.0 * shape.mean_distinct + 8.0 + 2.0 * n) * dim
        size = 4.0 * n * dim
        asked = (Work("query", 1.0, size, "content"), Work("scan", size, size))
        alone = Expected(asked, flops, 0.0, 0.0, 8.0 * n, 0.0)
        among = (Work("gemm-f32", flops, dim), Work("gather", shape.mean_distinct * dim, dim))
        return Stages(fit, alone, Expected(among, flops, 0.0, 0.0, 4.0 * n, 0.0))

    def _expected_of_levels(self, shape: DataShape, dim: int, fit: Expected) -> Stages:
        n, width, kept = float(shape.items), -(-dim // 8), min(float(self.rescored), shape.items)
        turned = 8.0 / 3.0 * dim**3 + (2.0 * dim**3 if self.whitening else 2.0 * n * dim**2)
        work = (Work("gemm-f32", turned, dim), Work("stream", 8.0 * n * dim, 4.0 * n * dim))
        fit += Expected(work, turned + 4.0 * n * dim, 0.0, 0.0, 4.0 * n * dim, 0.0)
        fit = replace(fit, held_bytes=n * width + 4.0 * dim * (dim + 1))
        read = shape.mean_distinct + kept
        flops = ROW_FLOPS * shape.mean_distinct * dim + 8.0 * dim + flops_of_request(n, dim, kept)
        # Looking through bits and reading rows takes about four times as many steps as a product with weights.
        asked = Work("query", 4.5, n * width + 4.0 * read * dim)
        score = (asked, Work("gather-alone", LOOK_UP * n * width + READ * read * dim, n))
        return Stages(fit, Expected(score, flops, 0.0, 0.0, 12.0 * n, 0.0, 1.5))

    def explain(self, query: Query, items: IntArray) -> list[tuple[Reason, ...]]:
        """Return the request's words, where it has any, and the history items whose texts are most similar."""
        require_fitted(self, "vectors_")
        history = query_matrix([query], self.n_items_, self.half_life)
        scale, vectors = self._scales(history, self._sums(history)), self._rows(items)
        similar = self._rows(history.indices) @ vectors.T
        read = scale * history.data[:, None] * similar
        said = self.text_weight * (self._words([query]) @ vectors.T)[0]
        return history_reasons("text", history.indices, read, words=query.text, said=said)

    @property
    def _levels(self) -> TwoLevels | None:
        return None if self.storage == "memory" else TwoLevels(self.signs_, self.stored_, self.mute_)

    def _rows(self, items: IntArray) -> Matrix:
        """Return the vectors of ``items``, ``(len(items), dim)``."""
        levels = self._levels
        return self.vectors_[items] if levels is None else levels.read(items)

    def _sums(self, histories: sparse.csr_array) -> Matrix:
        """Return the histories' vectors summed up, ``(n_queries, dim)``."""
        levels = self._levels
        return np.asarray(histories @ self.vectors_) if levels is None else levels.sums(histories)

    def _scales(self, histories: sparse.csr_array, sums: Matrix) -> Matrix:
        """Return ``(n_queries, 1)``: what makes a history's summed vectors its direction, or their mean; 0 for none."""
        if self.similarity == "cosine":
            sizes = np.linalg.norm(sums, axis=1)
        else:
            sizes = histories @ self.vectors_.any(axis=1).astype(np.float32)
        return np.where(sizes > 0, 1.0 / np.where(sizes > 0, sizes, 1.0), 0.0).astype(np.float32)[:, None]

    def _words(self, queries: Sequence[Query]) -> Matrix:
        """Return the vectors of the requests' texts, ``(n_queries, dim)``, zero where there is none."""
        encoded = encode_queries([query.text for query in queries], self.encoder, len(self.mean_))
        if not encoded.any():
            return encoded
        return TextSpace(self.mean_, self.transform_).project(encoded, unit=self.similarity == "cosine")

    def _nearness(self, profiles: Matrix, products: Matrix) -> Matrix:
        """Return minus the Euclidean distances; items without text are as far as the farthest item."""
        lengths = np.square(self.vectors_).sum(axis=1)
        squares = np.square(profiles).sum(axis=1, keepdims=True) + lengths - 2.0 * products
        nearness = -np.sqrt(squares.clip(min=0.0))
        mute = lengths == 0
        nearness[:, mute] = nearness.min(axis=1, keepdims=True)
        nearness[~profiles.any(axis=1)] = 0.0
        charge(flops=2.0 * (profiles.size + self.vectors_.size) + 4.0 * products.size)
        return np.asarray(nearness, dtype=np.float32)


__all__ = ["Content"]
