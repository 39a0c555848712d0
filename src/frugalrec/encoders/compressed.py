"""Another encoder's vectors in fewer bytes."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import numpy as np
from scipy.cluster.vq import kmeans2, vq

from frugalrec import cost
from frugalrec.data.shape import DataShape
from frugalrec.encoders._rows import unit_rows
from frugalrec.errors import ConfigError, NotFittedError
from frugalrec.interfaces import ExpectsText, LearnsFromTexts, Matrix, Role, TextEncoder
from frugalrec.work import Expected, Work

Codes = np.ndarray[Any, np.dtype[Any]]

_CENTROIDS = 256  # what a byte can name
_ROUNDS = 15
METHODS = ("pca", "truncate", "int8", "binary", "product", "opq")


@dataclass
class Compressed:
    """Vectors of ``encoder`` in fewer dimensions or bits: less to keep and to multiply, for a little quality.

    ``method``, learned from the catalogue's vectors (n of d dimensions) where it says so:

    - ``pca``: the ``dim`` principal axes of the centred vectors, axis i scaled by s_i^(-``whitening``); 4 ``dim`` bytes
      a text. Learned.
    - ``truncate``: the first ``dim`` dimensions; for models trained so that those say most (Kusupati et al. 2022,
      Matryoshka). 4 ``dim`` bytes.
    - ``int8``: a byte a dimension, the largest of the vector being ±127; d + 4 bytes.
    - ``binary``: a bit a dimension, whether it is above its mean; d / 8 bytes. Learned. Requests (``role="query"``)
      keep their floats, centred: the product of floats with signs is the rescoring of Yamada et al. (2021).
    - ``product``: the nearest of 256 centroids in each run of ``part`` dimensions (Jégou et al. 2011); d / ``part``
      bytes. Learned by k-means, and given back centred.
    - ``opq``: the same for runs of the ``dim`` principal axes, dealt out so that every run has about the same product
      of variances (Ge et al. 2013, the parametric solution); ``dim`` / ``part`` bytes. Learned.

    Each of the last three keeps a byte more, which says whether a text has a vector at all. ``dim`` matters to ``pca``,
    ``truncate`` and ``opq``; 0 keeps all dimensions. Rows have unit norm again, so ``encode`` gives floats:
    what a vector becomes when it is read back from `pack`, whose bytes are what has to be kept. Recommenders hold what
    they were given, so they save memory and time with ``pca`` and ``truncate`` alone.

    Time beside the encoder's: O(d × dim) a text for ``pca``, O(256 d) for ``product``, both for ``opq``, else O(d); to
    learn, O(n d²) or 15 rounds of k-means. Memory: O(n d) while learning. Charges ``flops`` by these formulas; tokens
    are the encoder's.

    >>> from frugalrec.testing.encoders import HashEncoder
    >>> small = Compressed(HashEncoder(dim=64), "int8")
    >>> a, b = small.encode(["red apple", "green apple"])
    >>> exact = HashEncoder(dim=64).encode(["red apple", "green apple"])
    >>> bool(abs(a @ b - exact[0] @ exact[1]) < 0.01), small.pack(exact).nbytes
    (True, 136)
    """

    is_language_model: ClassVar[bool] = False  # the encoder inside may be one

    encoder: TextEncoder
    method: Literal["pca", "truncate", "int8", "binary", "product", "opq"] = "pca"
    dim: int = 128
    whitening: float = 0.0
    part: int = 8
    seed: int = 0
    mean_: Matrix = field(init=False, repr=False, compare=False)
    axes_: Matrix = field(init=False, repr=False, compare=False)
    centroids_: Matrix = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(f"compressed.method must be one of {', '.join(METHODS)}, not {self.method!r}")
        if self.dim < 0 or self.part < 1:
            raise ConfigError(f"compressed needs dim of at least 0 and part of at least 1, not {self.dim}, {self.part}")
        if not 0 <= self.whitening <= 1:
            raise ConfigError(f"compressed.whitening must be between 0 and 1, not {self.whitening}")

    def fit(self, texts: Sequence[str]) -> Self:
        """Learn from the vectors of ``texts``; methods that learn nothing only let the encoder learn."""
        if isinstance(self.encoder, LearnsFromTexts):
            self.encoder.fit(texts)
        if not self._learns:
            return self
        encoded = self.encoder.encode(list(dict.fromkeys(texts)), role="item")
        rows = encoded[encoded.any(axis=1)]
        n, width = rows.shape
        self.mean_ = rows.mean(axis=0) if n else np.zeros(width, dtype=np.float32)
        centred = rows - self.mean_
        if self.method in ("pca", "opq"):
            squares, axes = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
            kept = np.argsort(-squares)[: self.dim or width]
            spread = np.sqrt(squares[kept].clip(min=0.0))
            usable = spread > 1e-5 * max(float(spread.max(initial=0.0)), 1e-30)
            if self.method == "pca":
                stretch = np.where(usable, np.where(usable, spread, 1.0) ** -self.whitening, 0.0)
            else:
                dealt = _dealt(np.where(usable, spread, 0.0), self.part)
                kept, stretch = kept[dealt], usable[dealt].astype(np.float64)
            self.axes_ = (axes[:, kept] * stretch).astype(np.float32)
            cost.charge(flops=2.0 * n * width**2 + 9.0 * width**3)
        if self.method == "opq":
            cost.charge(flops=2.0 * self.axes_.size * n)
            self.centroids_ = self._clustered(centred @ self.axes_)
        elif self.method == "product":
            self.centroids_ = self._clustered(centred)
        return self

    def encode(self, texts: Sequence[str], *, role: Role = "item") -> Matrix:
        """Return float32 ``(n, dim)``, rows of unit norm; zero rows stay zero. Raises `NotFittedError` before `fit`."""
        self._require_fitted()
        vectors = self.encoder.encode(texts, role=role)
        if self.method == "binary" and role == "query":
            return unit_rows(self._centred(vectors))
        return self.unpack(self.pack(vectors))

    @property
    def width(self) -> int | None:
        """Dimension of the vectors, where the encoder tells its own without encoding anything."""
        inner = getattr(self.encoder, "width", None) or getattr(self.encoder, "dim", None)
        if not isinstance(inner, int) or self.method not in ("pca", "opq", "truncate"):
            return inner if isinstance(inner, int) else None
        return min(self.dim or inner, inner)

    def expected(self, shape: DataShape) -> Expected:
        """Return what learning from each different item text and packing it take, with the encoder's part.

        In a plan the encoder is asked once, before, and what it takes then is counted there.
        """
        inner = Expected.nothing()
        if not getattr(self.encoder, "is_counted_alone", False):
            if not isinstance(self.encoder, ExpectsText):
                return Expected()
            inner = self.encoder.expected(shape).times(2.0 if self._learns else 1.0)
        width = getattr(self.encoder, "width", None) or getattr(self.encoder, "dim", None)
        if not isinstance(width, int):
            return Expected()
        rows, d = shape.distinct_texts, float(width)
        n = rows + (shape.n_texts < shape.items)  # items without text share one, which is empty
        kept = float(min(self.dim or width, width))
        work = [Work("stream", 40.0 * n * d, 4.0 * n * d)]
        flops = 0.0
        if self.method in ("pca", "opq"):
            axes = 2.0 * rows * d * d
            turned = rows + n if self.method == "opq" else float(n)  # what is clustered is turned before
            work += [Work("gemm-f64", axes, d), Work("eigen-f64", 9.0 * d**3, d)]
            work.append(Work("gemm-f32", 2.0 * d * kept * turned, kept))
            flops += axes + 9.0 * d**3 + 2.0 * d * kept * turned
        if self.method in ("product", "opq"):
            d_coded = kept if self.method == "opq" else d
            filled = math.ceil(d_coded / self.part) * self.part
            learning = 3.0 * _ROUNDS * _CENTROIDS * rows * filled if rows > _CENTROIDS else 0.0
            coding = learning + 3.0 * _CENTROIDS * n * d_coded
            flops += coding
            work.append(Work("gemm-f32", coding, _CENTROIDS))
        if self.method in ("int8", "binary"):
            flops = 2.0 * n * d
        # Centred copies, as float64 where axes are found.
        peak = (16.0 if self.method in ("pca", "opq") else 12.0) * n * d
        # Texts that the encoder makes nothing of are not learned from; equal runs of dimensions are clustered once.
        spread = {"product": 1.5, "opq": 1.5, "pca": 1.01}.get(self.method, 1.0)
        return inner + Expected(tuple(work), flops, 0.0, 0.0, peak, 4.0 * n * float(self.width or width), spread)

    def fingerprint(self) -> str:
        """Return a hash of the encoder, the settings and what was learned; raises `NotFittedError` before `fit`."""
        self._require_fitted()
        settings = (self.method, self.dim, self.whitening, self.part, self.seed)
        digest = hashlib.sha256(repr((self.encoder.fingerprint(), settings)).encode())
        for name in ("mean_", "axes_", "centroids_"):
            if hasattr(self, name):
                digest.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        return f"compressed-{digest.hexdigest()[:32]}"

    def pack(self, vectors: Matrix) -> Codes:
        """Return what has to be kept of the encoder's ``vectors``: ``(n, bytes)`` uint8, or float32 for axes kept.

        FLOPs a text: 2 d × dim for ``pca``, 3 × 256 d for ``product``, the first and 3 × 256 dim for ``opq``, 2 d for
        ``int8`` and ``binary``.
        """
        self._require_fitted()
        n, width = vectors.shape
        if self.method == "truncate":
            return np.ascontiguousarray(vectors[:, : self.dim or width])
        if self.method == "pca":
            cost.charge(flops=2.0 * self.axes_.size * n)
            return np.asarray(self._centred(vectors) @ self.axes_, dtype=np.float32)
        if self.method == "int8":
            cost.charge(flops=2.0 * vectors.size)
            largest = np.abs(vectors).max(axis=1, keepdims=True) if width else np.zeros((n, 1), np.float32)
            steps = np.divide(vectors * 127.0, largest, out=np.zeros_like(vectors), where=largest > 0)
            scales = np.ascontiguousarray(largest, dtype=np.float32).view(np.uint8).reshape(n, 4)
            return np.hstack([scales, np.rint(steps).astype(np.int8).view(np.uint8)])
        told = vectors.any(axis=1, keepdims=True)
        centred = self._centred(vectors)
        if self.method == "binary":
            cost.charge(flops=2.0 * vectors.size)
            # A text without a vector is marked, for a bit has no third value.
            return np.hstack([np.packbits(centred > 0, axis=1), told.astype(np.uint8)])
        if self.method == "opq":
            cost.charge(flops=2.0 * self.axes_.size * n)
            centred = centred @ self.axes_
        cost.charge(flops=3.0 * _CENTROIDS * centred.size)
        parts = self._parts(centred)
        named = [vq(parts[i], self.centroids_[i])[0].astype(np.uint8) for i in range(len(parts))] if n else []
        codes = np.stack(named, axis=1) if n else np.empty((0, len(self.centroids_)), np.uint8)
        return np.hstack([codes, told.astype(np.uint8)])

    def unpack(self, codes: Codes) -> Matrix:
        """Return the unit vectors ``(n, dim)`` that ``codes`` stand for; zero rows stay zero."""
        self._require_fitted()
        if self.method in ("pca", "truncate"):
            return unit_rows(codes)
        if self.method == "int8":
            return unit_rows(np.ascontiguousarray(codes[:, 4:]).view(np.int8).astype(np.float32))
        told = codes[:, -1:].astype(np.float32)
        if self.method == "binary":
            bits = np.unpackbits(np.ascontiguousarray(codes[:, :-1]), axis=1, count=len(self.mean_))
            return unit_rows((2.0 * bits.astype(np.float32) - 1.0) * told)
        parts = [self.centroids_[i][codes[:, i]] for i in range(len(self.centroids_))]
        whole = np.hstack(parts)[:, : self.axes_.shape[1] if self.method == "opq" else len(self.mean_)]
        return unit_rows(whole * told)

    @property
    def _learns(self) -> bool:
        return self.method in ("pca", "binary", "product", "opq")

    def _centred(self, vectors: Matrix) -> Matrix:
        return np.where(vectors.any(axis=1, keepdims=True), vectors - self.mean_, np.float32(0))

    def _parts(self, centred: Matrix) -> Matrix:
        """Return float32 ``(parts, n, part)``: runs of dimensions, the last one filled up with zeros."""
        n, width = centred.shape
        n_parts = math.ceil(width / self.part)
        filled = np.zeros((n, n_parts * self.part), dtype=np.float32)
        filled[:, :width] = centred
        return np.ascontiguousarray(filled.reshape(n, n_parts, self.part).transpose(1, 0, 2))

    def _clustered(self, centred: Matrix) -> Matrix:
        """Return float32 ``(parts, 256, part)``."""
        parts = self._parts(centred)
        found = np.zeros((len(parts), _CENTROIDS, self.part), dtype=np.float32)
        rng = np.random.default_rng(self.seed)
        for i, points in enumerate(parts):
            distinct = np.unique(points, axis=0)
            if len(distinct) <= _CENTROIDS:
                found[i, : len(distinct)] = distinct
                continue
            start = distinct[np.sort(rng.choice(len(distinct), _CENTROIDS, replace=False))]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # a centroid that nothing is nearest to stays where it is
                found[i] = kmeans2(points, start, iter=_ROUNDS, minit="matrix", missing="warn")[0]
            cost.charge(flops=3.0 * _ROUNDS * _CENTROIDS * points.size)
        return found

    def _require_fitted(self) -> None:
        if self._learns and not hasattr(self, "mean_"):
            raise NotFittedError(
                f"'compressed' ({self.method}) has learned from no catalogue yet", hint="call fit(texts) first"
            )


def _dealt(spread: Any, part: int) -> Any:
    """Return the places of axes, the widest dealt first to the run with the smallest product of ``spread`` so far."""
    runs: list[list[int]] = [[] for _ in range(math.ceil(len(spread) / part))]
    room = [min(part, len(spread) - part * i) for i in range(len(runs))]
    # Logarithms above 0, so that a run that was dealt an axis is ahead of one that was not.
    sizes = np.log(np.maximum(spread, 1e-12 * max(spread.max(initial=0.0), 1e-30)))
    sizes -= sizes.min(initial=0.0) - 1e-9
    filled = np.zeros(len(runs))
    for axis in range(len(spread)):
        free = [i for i in range(len(runs)) if len(runs[i]) < room[i]]
        run = min(free, key=lambda i: filled[i])
        runs[run].append(axis)
        filled[run] += sizes[axis]
    return np.array([axis for run in runs for axis in run], dtype=np.int64)


__all__ = ["Compressed"]
