"""A tower for users and a tower for items, and a head that puts what they retrieve in order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from frugalrec.cost import charge
from frugalrec.data.dataset import Dataset, Query
from frugalrec.data.interactions import Interactions
from frugalrec.data.shape import DataShape
from frugalrec.errors import ConfigError, DataError
from frugalrec.interfaces import Matrix
from frugalrec.recommenders._base import mask_scores, top_k
from frugalrec.recommenders._expected import expected_text_space, width_of
from frugalrec.recommenders._neural import (
    SCORED_AT_ONCE,
    NeuralModel,
    expected_tokens,
    expected_training,
    expected_windows,
)
from frugalrec.recommenders._text import item_vectors
from frugalrec.recommenders._windows import Windows, tokens_of
from frugalrec.torch_training import BACKWARD, LossOf, Rows, Shapes, Tensor, require_torch
from frugalrec.work import Expected, Stages, Work

EXTRA = ("torch", "torch")

GATES = 3
"""Parts of a gated recurrent unit: reset, update and candidate."""

GUESSED_HITS = 0.5
"""Share of training events whose item is taken to be among the ``ranked`` that retrieval brings."""

WEIGHTS_ALONE = 2.0
"""FLOPs of a step by those of its forward pass where the input is data: nothing asks for its gradient."""


@dataclass
class TwoTower(NeuralModel):
    """Recommends what a user tower and an item tower bring together, the best of it put in order by a ranking head.

    Choose it for large catalogues whose items have text: a request costs one product with the items' vectors, which an
    index can take over, and an item without events has a vector from its text. The item tower adds an embedding of the
    item and, with ``encoder``, a learned map of its text vector; in training, a share ``id_dropout`` of the items goes
    by text alone, so that the map learns to stand alone. The user tower reads the newest ``length`` events, by a
    recurrent unit (``gru``) or as their ``mean``, and passes them through a hidden layer. Two tasks are trained jointly
    on every event: retrieval, a softmax over the items of the batch, each score less the logarithm of how often the
    item is drawn; and ranking, at ``ranking_task`` times retrieval's weight. The head is a hidden layer on a user's and
    an item's vector. For ``events`` its output is added to the retrieval score, and the sum must tell the event from
    what else is among the ``ranked`` items of the batch that retrieval likes best (cross-entropy, corrected like the
    softmax; an event that is not among them teaches the head nothing); for ``ratings`` it is the standardised rating of
    the event (squared error). A query's best ``retrieved`` items are ordered by retrieval score plus ``ranking_weight``
    times the head's output, before all others. Early stopping and refit are those of `Sasrec`. Needs the extra
    ``torch``.

    Time for E events, dimension d, C different items in a batch, text of dimension t, n items, K ranked items:
    O(E (C d + d² + K d)) an epoch, O(n t d) for the items' vectors, O(L d² + n d) a query. Memory: O(n (d + t)), and
    batch_size · L · (C + K d) floats in training. FLOPs of the matrix products are charged; what is done to single
    elements is not. Papers: Yi et al. 2019, eqs. 3 and 5 for the corrected softmax, with how often an item is drawn
    known instead of estimated, and accidental hits left out; Volkovs, Yu & Poutanen 2017 for dropping embeddings; the
    pair of tasks is that of TensorFlow Recommenders.

    >>> from frugalrec.testing.data import toy_dataset
    >>> data = toy_dataset(n_users=30, n_items=15)
    >>> len(TwoTower(dimension=8, epochs=2).fit(data).recommend([data.query(0)], k=3)[0])
    3
    """

    reader: Literal["gru", "mean"] = field(default="gru", metadata={"stage": "accumulate"})
    ranking: Literal["events", "ratings"] = field(default="events", metadata={"stage": "accumulate"})
    ranking_task: float = field(default=0.5, metadata={"stage": "accumulate"})
    ranked: int = field(default=32, metadata={"stage": "accumulate"})
    id_dropout: float = field(default=0.2, metadata={"stage": "accumulate", "text": True, "tune": (0.1, 0.2, 0.5)})
    whitening: float = field(default=0.3, metadata={"stage": "accumulate", "text": True})
    retrieved: int = field(default=100, metadata={"stage": "score"})
    ranking_weight: float = field(default=1.0, metadata={"stage": "score", "tune": (0.0, 0.5, 1.0)})
    text_dim_: int = field(init=False, repr=False, compare=False)
    known_: np.ndarray[Any, np.dtype[np.bool_]] = field(init=False, repr=False, compare=False)
    vectors_: Matrix = field(init=False, repr=False, compare=False)
    _told: Matrix | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("ranked", "retrieved"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("ranking_task", "ranking_weight"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be below 0, not {getattr(self, name)}")
        if not 0 <= self.id_dropout < 1:
            raise ConfigError(f"id_dropout must be at least 0 and below 1, not {self.id_dropout}")

    @property
    def scores_cold_items(self) -> bool:  # type: ignore[override]
        """Whether items without events get scores that mean something: with text, they do."""
        return self.encoder is not None

    def shapes(self, n_items: int) -> Shapes:
        """Return the shapes of all parameters by name."""
        return self._shapes(n_items, self.text_dim_)

    def _shapes(self, n_items: int, text_dim: int) -> Shapes:
        d = self.dimension
        shapes: dict[str, tuple[int, ...]] = {"item_embedding": (n_items + 1, d)}
        if text_dim:
            shapes["text.weight"] = (d, text_dim)
        if self.reader == "gru":
            for side in ("input", "state"):
                shapes |= {f"{side}.weight": (GATES * d, d), f"{side}.bias": (GATES * d,)}
        for part in ("inner", "outer"):
            shapes |= {f"{part}.weight": (d, d), f"{part}.bias": (d,)}
        shapes |= {"last.scale": (d,), "last.bias": (d,)}
        return shapes | {
            "ranking.user.weight": (d, d),
            "ranking.user.bias": (d,),
            "ranking.item.weight": (d, d),
            "ranking.last.weight": (1, d),
            "ranking.last.bias": (1,),
        }

    def starting_values(self, dataset: Dataset) -> dict[str, Matrix]:
        """Encode the catalogue and return fresh values; raises `DataError` where ratings are asked for and missing."""
        if self.ranking == "ratings" and dataset.interactions.value is None:
            raise DataError("ranking by ratings needs a log with ratings", hint='set ranking = "events"')
        told = np.zeros((self.n_items_, 0), dtype=np.float32)
        if self.encoder is not None:
            told = item_vectors(dataset.catalog, self.encoder, self.whitening)
        self.text_dim_ = told.shape[1]
        self.known_ = self.seen_ | told.any(axis=1)
        # The start is a token too, and has no text.
        self._told = np.concatenate([told, np.zeros((1, self.text_dim_), dtype=np.float32)])
        return super().starting_values(dataset)

    def examples(self, log: Interactions, parameters: dict[str, Tensor]) -> tuple[Callable[[int], int], LossOf]:
        """Return what cuts ``log`` into windows, anew each epoch, and the loss of some of them."""
        torch, windows = require_torch(), Windows(log, self.length)
        drawn: Matrix = np.log(np.maximum(log.popularity, 1) / max(1, len(log))).astype(np.float32)
        ratings = None
        if self.ranking == "ratings" and log.value is not None:
            spread = float(log.value.std()) or 1.0
            ratings = ((log.value - log.value.mean()) / spread).astype(np.float32)

        return (
            lambda epoch: windows.cut(np.random.default_rng([self.seed, epoch, 2])),
            lambda rows, batch, rng: self._loss(torch, parameters, windows, rows, batch, rng, drawn, ratings),
        )

    def finish(self, parameters: dict[str, Tensor]) -> None:
        """Keep the items' vectors: requests need no text."""
        with require_torch().inference_mode():
            self.vectors_ = self._items(parameters, np.arange(self.n_items_ + 1), self._served()).numpy().copy()
        self._told = None

    def scores(self, parameters: dict[str, Tensor], queries: Sequence[Query]) -> Matrix:
        """Return products of users' and items' vectors; each query's best are ordered by the ranking head."""
        torch = require_torch()
        scores = np.zeros((len(queries), self.n_items_), dtype=np.float32)
        if not len(queries):
            charge(flops=0.0)
            return scores
        with torch.inference_mode():
            if self._told is None:
                vectors = torch.from_numpy(self.vectors_)
            else:  # training is not over: vectors are those of this moment
                vectors = self._items(parameters, np.arange(self.n_items_ + 1), self._served())
            for start in range(0, len(queries), SCORED_AT_ONCE):
                block = queries[start : start + SCORED_AT_ONCE]
                scores[start : start + len(block)] = self._block(torch, parameters, vectors, block)
        return scores

    def expected(self, shape: DataShape) -> Stages:
        """Return what training and scoring take; how often the wanted item is among those retrieved is a guess."""
        text = width_of(self.encoder)
        if text is None:
            return Stages()
        n, d = shape.items, float(self.dimension)
        size = float(sum(math.prod(dims) for dims in self._shapes(int(n), text).values()))

        def epoch(held: float) -> tuple[float, float]:
            windows, width, events = expected_windows(shape, self.length, self.batch_size, held)
            batches = max(1.0, windows / self.batch_size)
            met = shape.distinct_among(events / batches)
            flops = windows * self._user_flops(1, width, training=True) + BACKWARD * 2.0 * events * met * d
            flops += WEIGHTS_ALONE * 2.0 * batches * (met + 1.0) * text * d
            if self.ranking_task and self.ranking == "ratings":
                flops += BACKWARD * self._head_flops(events, batches * met, events)
            elif self.ranking_task:
                hits = GUESSED_HITS * events
                flops += BACKWARD * self._head_flops(hits, batches * met, hits * min(float(self.ranked), met))
            return flops, windows

        def scored(tokens: int, block: float) -> float:
            flops = self._user_flops(1, tokens) + 2.0 * n * d
            if not self.ranking_weight:
                return flops
            listed = min(float(self.retrieved), n)
            return flops + self._head_flops(1.0, min(n, block * listed) / block, listed)

        width, behind = expected_tokens(shape, self.length, SCORED_AT_ONCE)
        among, alone = scored(width, float(SCORED_AT_ONCE)), scored(behind, 1.0)
        start = expected_text_space(shape, text, self.whitening) if text else Expected.nothing()
        turned = Expected(
            (Work("gemm-f32", 2.0 * (n + 1) * text * d, d),), 2.0 * (n + 1) * text * d, 0.0, 0.0, 0.0, 0.0
        )
        fit = expected_training(self, shape, epoch, among, size, 40.0 * self.length * d)
        fit = replace(start + fit + turned, spread=1.5 * fit.spread)
        one = (Work("state", 3.0, 4.0 * n * d), Work("scan", 4.0 * n * d, 4.0 * n * d))
        return Stages(
            fit,
            Expected(one, alone, 0.0, 0.0, 12.0 * n, 0.0, 2.0),
            Expected((Work("gemm-f32", among, d),), among, 0.0, 0.0, 12.0 * n, 0.0, 2.0),
        )

    def _served(self) -> Matrix:
        """Return which embeddings count: those of items with events, and the start's. float32 ``(n_items + 1, 1)``."""
        return np.append(self.seen_, True).astype(np.float32)[:, None]

    def _items(self, parameters: dict[str, Tensor], codes: Rows, by_id: Matrix) -> Tensor:
        """Return the vectors of the items ``codes``: embeddings, times ``by_id`` ``(n, 1)``, and mapped texts."""
        from torch import from_numpy

        vectors = parameters["item_embedding"][from_numpy(codes)] * from_numpy(by_id)
        if not self.text_dim_:
            return vectors
        assert self._told is not None
        charge(flops=2.0 * len(codes) * self.text_dim_ * self.dimension)
        return vectors + from_numpy(self._told[codes]) @ parameters["text.weight"].T

    def _users(self, parameters: dict[str, Tensor], x: Tensor, *, training: bool) -> Tensor:
        """Return the user's vector after each event, from the items' vectors ``x`` ``(n, width, dimension)``."""
        torch, p, d = require_torch(), parameters, self.dimension
        F = torch.nn.functional
        x = F.dropout(x * d**0.5, self.dropout, training)
        if self.reader == "gru":
            weights = [p[f"{side}.{part}"] for part in ("weight", "bias") for side in ("input", "state")]
            x, _ = torch.gru(x, x.new_zeros(1, len(x), d), weights, True, 1, 0.0, training, False, True)
        else:
            x = x.cumsum(dim=1) / torch.arange(1, x.shape[1] + 1, dtype=x.dtype)[:, None]
        inner = F.relu(F.linear(x, p["inner.weight"], p["inner.bias"]))
        x = x + F.dropout(F.linear(inner, p["outer.weight"], p["outer.bias"]), self.dropout, training)
        return F.layer_norm(x, (d,), p["last.scale"], p["last.bias"])

    def _user_flops(self, n: int, width: int, *, training: bool = False) -> float:
        """Return the FLOPs of `_users`: 12 d² a token for the unit, 4 d² for the hidden layer."""
        d = self.dimension
        unit = 4.0 * GATES * d**2 if self.reader == "gru" else 0.0
        forward = n * width * (unit + 4.0 * d**2)
        if not training:
            return forward
        # Nothing asks for the gradient of a unit's first state.
        return BACKWARD * forward - (2.0 * GATES * d**2 * n if self.reader == "gru" else 0.0)

    def _head(self, parameters: dict[str, Tensor], users: Tensor, items: Tensor, places: Tensor) -> Tensor:
        """Return the head's output ``(n, k)`` for ``users`` ``(n, d)`` and ``items`` ``(m, d)`` at ``places``."""
        p, F = parameters, require_torch().nn.functional
        one = F.linear(users, p["ranking.user.weight"], p["ranking.user.bias"])
        other = F.linear(items, p["ranking.item.weight"])
        hidden = F.relu(one[:, None] + F.embedding(places, other))
        return F.linear(hidden, p["ranking.last.weight"], p["ranking.last.bias"])[:, :, 0]

    def _head_flops(self, n_users: float, n_items: float, n_pairs: float) -> float:
        return 2.0 * self.dimension * (self.dimension * (n_users + n_items) + n_pairs)

    def _loss(
        self,
        torch: Any,
        parameters: dict[str, Tensor],
        windows: Windows,
        rows: Rows,
        batch: Rows,
        rng: np.random.Generator,
        drawn: Matrix,
        ratings: Matrix | None,
    ) -> tuple[Tensor, int]:
        """Return the summed loss of the windows ``rows`` and the number of events predicted.

        ``drawn``: the logarithm of each item's share of the events. ``ratings``: those of all events, standardised.
        """
        F, from_numpy = torch.nn.functional, torch.from_numpy
        # The items of the whole batch are candidates, whichever process has their windows.
        met, targets = windows.batch(batch)
        candidates, times = np.unique(targets[targets >= 0], return_counts=True)
        codes = np.union1d(candidates, met)
        tokens, targets = windows.batch(rows)
        asked = targets >= 0
        by_id = np.ones((len(codes), 1), dtype=np.float32)
        if self._told is not None and self.id_dropout:
            by_id[(rng.random(len(codes)) < self.id_dropout) & self._told[codes].any(axis=1)] = 0.0
        vectors = self._items(parameters, codes, by_id)
        charge(flops=(WEIGHTS_ALONE - 1.0) * 2.0 * len(codes) * self.text_dim_ * self.dimension)
        items = vectors[from_numpy(np.searchsorted(codes, candidates))]
        histories = F.embedding(from_numpy(np.searchsorted(codes, tokens)), vectors)
        users = self._users(parameters, histories, training=True)[from_numpy(asked)]
        wanted = from_numpy(np.searchsorted(candidates, targets[asked]))[:, None]
        raw = users @ items.T
        n, m = raw.shape
        charge(flops=self._user_flops(*tokens.shape, training=True) + BACKWARD * 2.0 * n * m * self.dimension)
        # An item drawn c times stands for c columns; the wanted one counts once, and its other draws not at all.
        often = from_numpy(np.log(times).astype(np.float32))
        logits = raw + (often - from_numpy(drawn[candidates]))
        logits = logits.scatter_add(1, wanted, -often[wanted])
        loss = F.cross_entropy(logits, wanted[:, 0], reduction="sum")
        if not self.ranking_task:
            return loss, n
        if ratings is not None:
            given = from_numpy(ratings[windows.places(rows)[asked]])
            charge(flops=BACKWARD * self._head_flops(n, m, n))
            said = self._head(parameters, users, items, wanted)[:, 0]
            return loss + self.ranking_task * F.mse_loss(said, given, reduction="sum"), n
        # What retrieval brings, whatever is wanted: were the wanted item added where it is not among them, the head
        # would learn that low scores are right.
        found, places = raw.detach().topk(min(self.ranked, m), dim=1)
        hit = (places == wanted).any(dim=1)
        found, places, users = found[hit], places[hit], users[hit]
        if not len(places):
            return loss, n
        charge(flops=BACKWARD * self._head_flops(len(places), m, places.numel()))
        # An item that is rarely in a batch is there, more often than others, because it is the wanted one.
        share = np.exp(drawn[candidates].astype(np.float64)).clip(max=1.0 - 1e-9)
        there = -np.expm1(times.sum() * np.log1p(-share))
        said = found + self._head(parameters, users, items, places)
        scored = said - from_numpy(np.log(there).astype(np.float32))[places]
        truth = (places == wanted[hit]).to(scored.dtype)
        judged = F.binary_cross_entropy_with_logits(scored, truth, reduction="sum") / places.shape[1]
        return loss + self.ranking_task * judged, n

    def _block(self, torch: Any, parameters: dict[str, Tensor], vectors: Tensor, block: Sequence[Query]) -> Matrix:
        tokens, ends = tokens_of(block, self.known_, self.length)
        histories = torch.nn.functional.embedding(torch.from_numpy(tokens), vectors)
        users = self._users(parameters, histories, training=False)[np.arange(len(block)), ends]
        scores: Matrix = (users @ vectors[: self.n_items_].T).numpy()
        charge(flops=self._user_flops(*tokens.shape) + 2.0 * len(block) * self.n_items_ * self.dimension)
        # Of what has neither events nor text nothing is known: it gets the floor.
        scores[:, ~self.known_] = scores.min(axis=1, keepdims=True)
        allowed = mask_scores(scores, block)
        best, found = top_k(allowed, self.retrieved)
        if self.ranking_weight:
            codes, places = np.unique(np.maximum(best, 0), return_inverse=True)
            items = vectors[torch.from_numpy(codes.astype(np.int64))]
            charge(flops=self._head_flops(len(block), len(codes), best.size))
            said = self._head(parameters, users, items, torch.from_numpy(places.reshape(best.shape)))
            found = found + self.ranking_weight * said.numpy()
        owner, column = np.nonzero(best >= 0)
        # What was not retrieved stays below what was.
        lowest = np.where(best >= 0, found, np.inf).min(axis=1, initial=np.inf)
        allowed[owner, best[owner, column]] = -np.inf
        highest = allowed.max(axis=1, initial=-np.inf)
        gap = highest - lowest
        lift = np.where(np.isfinite(gap) & (gap >= 0), gap + 1e-3, 0.0).astype(np.float32)
        scores[owner, best[owner, column]] = (found + lift[:, None])[owner, column]
        return scores


__all__ = ["TwoTower"]
