"""Item texts as vectors: encoded, centred, partly whitened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from frugalrec.cost import charge
from frugalrec.data.catalog import Catalog
from frugalrec.interfaces import Matrix, TextEncoder

TEXT_ROWS = 1024
"""Vectors are made comparable so many at a time: the allocator keeps room for these, and all at once are new memory."""

NEGLIGIBLE = 1e-5
"""Singular values below this part of the largest, and rows shorter than this, are rounding errors."""


@dataclass(frozen=True)
class TextSpace:
    """The map from an encoder's vectors to centred, partly whitened ones.

    Sentence encoders give every text a large common part; taking the mean off, and evening out the spread along the
    principal axes (``U s^(1-a)`` for the centred ``U s Vᵀ``, with a = ``whitening``), leaves what tells texts apart.
    ``mean`` is ``(dim,)``; ``transform`` is ``(dim, dim)``, or None at ``whitening`` 0.
    """

    mean: Matrix
    transform: Matrix | None

    @classmethod
    def fit(cls, encoded: Matrix, whitening: float) -> Self:
        """Learn mean and axes from the rows of ``encoded`` that are not zero.

        FLOPs for n rows of d: nd for the mean; when whitening 2nd² for the covariance, 9d³ for its eigenvectors and d².
        """
        told, dim = np.asarray(encoded.any(axis=1)), encoded.shape[1]
        n, sums = int(np.count_nonzero(told)), np.zeros(dim)
        for block in _blocks(encoded):
            sums += block.sum(axis=0, dtype=np.float64)  # rows of zeros add nothing
        mean = (sums / max(n, 1)).astype(np.float32)
        charge(flops=float(n * dim))
        if whitening == 0 or n == 0:
            return cls(mean, None)
        covariance = np.zeros((dim, dim))
        for block, with_text in zip(_blocks(encoded), _blocks(told), strict=True):
            centred = (block[with_text] - mean).astype(np.float64)
            covariance += centred.T @ centred
        squares, axes = np.linalg.eigh(covariance)
        singular = np.sqrt(squares.clip(min=0.0))
        kept = singular > NEGLIGIBLE * max(1.0, singular.max())
        stretch = np.where(kept, np.where(kept, singular, 1.0) ** -whitening, 0.0)
        charge(flops=2.0 * n * dim**2 + 9.0 * dim**3 + dim**2)
        return cls(mean, (axes * stretch).astype(np.float32))

    def turned(self) -> Self:
        """Return this space with its axes turned at random, the same way each time; lengths and angles stay.

        Principal axes differ in what they tell; after a turn, each tells about as much. FLOPs: 8d³/3 for the turn and
        2d³ to join it with the whitening.
        """
        dim = len(self.mean)
        turn = np.linalg.qr(np.random.default_rng(0).standard_normal((dim, dim)))[0].astype(np.float32)
        charge(flops=8.0 / 3.0 * dim**3)
        if self.transform is None:
            return replace(self, transform=turn)
        charge(flops=2.0 * dim**3)
        return replace(self, transform=self.transform @ turn)

    def project(self, encoded: Matrix, *, unit: bool = True) -> Matrix:
        """Return the rows of ``encoded`` in this space, of unit norm if ``unit``; zero rows stay zero.

        FLOPs for n rows of d: nd to centre, 2nd² to whiten, 3nd for unit norms.
        """
        projected = np.empty(encoded.shape, dtype=np.float32)
        for block, found in zip(_blocks(encoded), _blocks(projected), strict=True):
            centred = np.where(block.any(axis=1, keepdims=True), block - self.mean, np.float32(0))
            centred[np.linalg.norm(centred, axis=1) < NEGLIGIBLE] = 0.0
            if self.transform is not None:
                centred = centred @ self.transform
            found[:] = unit_rows(centred) if unit else centred
        charge(flops=float(encoded.size) * (4.0 if unit else 1.0))
        if self.transform is not None:
            charge(flops=2.0 * encoded.size * encoded.shape[1])
        return projected


def _blocks(rows: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    """Yield ``rows``, some at a time: what is computed of all at once would be new memory, several times over."""
    return (rows[start : start + TEXT_ROWS] for start in range(0, len(rows), TEXT_ROWS))


def encode_items(catalog: Catalog, encoder: TextEncoder) -> Matrix:
    """Return the encoder's vectors of the items' texts, float32 ``(n_items, dim)``; zero rows where there is none."""
    texts = catalog.texts()
    described = np.array([bool(text.strip()) for text in texts], dtype=bool)
    found = encoder.encode([text for text, is_ in zip(texts, described, strict=True) if is_], role="item")
    if described.all():
        return found
    encoded = np.zeros((len(texts), found.shape[1]), dtype=np.float32)
    encoded[described] = found
    return encoded


def item_vectors(catalog: Catalog, encoder: TextEncoder, whitening: float) -> Matrix:
    """Return float32 ``(n_items, dim)``: item texts encoded, centred, partly whitened, with unit rows.

    Items without text (or whose text the encoder makes nothing of) have zero rows.
    """
    encoded = encode_items(catalog, encoder)
    return TextSpace.fit(encoded, whitening).project(encoded)


def encode_queries(texts: Sequence[str], encoder: TextEncoder, dim: int) -> Matrix:
    """Return the encoder's vectors of requests' texts, float32 ``(n, dim)``; zero rows where there is none."""
    asked = [row for row, text in enumerate(texts) if text.strip()]
    encoded = np.zeros((len(texts), dim), dtype=np.float32)
    if asked:
        encoded[asked] = encoder.encode([texts[row] for row in asked], role="query")
    return encoded


def unit_rows(vectors: Matrix) -> Matrix:
    """Return the rows scaled to unit norm; zero rows stay zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 0, norms, 1.0), dtype=np.float32)


__all__ = ["TextSpace", "encode_items", "encode_queries", "item_vectors", "unit_rows"]
