"""What the neural next-item models share: windows of events, losses, validation, scores. They differ in a network."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np

from frugalrec.cost import charge
from frugalrec.data.dataset import Dataset, Query
from frugalrec.data.interactions import IntArray, Interactions
from frugalrec.errors import ConfigError
from frugalrec.interfaces import Matrix, TextEncoder
from frugalrec.recommenders._base import Scores, mask_scores, require_fitted
from frugalrec.recommenders._text import TextSpace, encode_items
from frugalrec.recommenders._torch_training import (
    BACKWARD,
    EMBEDDING_DEVIATION,
    Flat,
    Rows,
    Shapes,
    Tensor,
    Training,
    flattened,
    fresh_parameters,
    identity_of,
    last_events,
    one_machine,
    train,
    unflattened,
)

SCORED_AT_ONCE = 256
"""Histories that go through the network together when nothing is learned."""

NOT_A_MATTER_OF_RESULT = ("epochs", "patience", "cpu_seconds", "log_dir", "checkpoint", "encoder")
"""Fields that decide how far training goes, not what an epoch does: a checkpoint serves all their values."""


@dataclass
class SequenceModel(Scores):
    """Base of networks that read a history from left to right and score the next item against item embeddings.

    Every event is predicted once an epoch, from the events before it in its window: windows of ``length`` do not
    overlap, so the first target of one that does not begin a history sees one event alone. A history begins with a
    start symbol, so that strangers get an answer. ``loss`` is the cross-entropy over the catalogue, or over the target
    and ``n_negatives`` items drawn uniformly for each batch. With ``patience``, the last event of each user is not
    trained on; NDCG@10 on it (``validation_users`` of them) decides which epoch is kept, and there is no refit with it:
    a handicap beside models that learn from every event. Sampled negatives are shared by a batch. With ``encoder``,
    item embeddings start from the principal directions of the item texts.
    """

    dimension: int = field(default=64, metadata={"stage": "accumulate"})
    layers: int = field(default=1, metadata={"stage": "accumulate"})
    length: int = field(default=50, metadata={"stage": "accumulate"})
    dropout: float = field(default=0.2, metadata={"stage": "accumulate", "tune": (0.2, 0.5)})
    loss: Literal["cross-entropy", "sampled-softmax"] = field(default="cross-entropy", metadata={"stage": "accumulate"})
    n_negatives: int = field(default=256, metadata={"stage": "accumulate"})
    epochs: int = field(default=100, metadata={"stage": "accumulate"})
    patience: int = field(default=5, metadata={"stage": "accumulate"})
    batch_size: int = field(default=128, metadata={"stage": "accumulate"})
    learning_rate: float = field(default=1e-3, metadata={"stage": "accumulate"})
    weight_decay: float = field(default=0.0, metadata={"stage": "accumulate"})
    validation_users: int = field(default=2000, metadata={"stage": "accumulate"})
    cpu_seconds: float = field(default=0.0, metadata={"stage": "accumulate"})
    encoder: TextEncoder | None = None
    seed: int = field(default=0, metadata={"stage": "accumulate"})
    log_dir: str = ""
    checkpoint: str = ""
    n_items_: int = field(init=False, repr=False, compare=False)
    parameters_: Flat = field(init=False, repr=False, compare=False)
    seen_: np.ndarray[Any, np.dtype[np.bool_]] = field(init=False, repr=False, compare=False)
    losses_: tuple[float, ...] = field(init=False, repr=False, compare=False)
    qualities_: tuple[float, ...] = field(init=False, repr=False, compare=False)
    best_epoch_: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("dimension", "layers", "length", "n_negatives", "validation_users"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be at least 0 and below 1, not {self.dropout}")
        self._training()

    @abstractmethod
    def shapes(self, n_items: int) -> Shapes:
        """Return the shapes of all parameters by name; ``item_embedding`` has ``n_items + 1`` rows, the start last."""

    @abstractmethod
    def states(self, parameters: dict[str, Tensor], tokens: Tensor, *, training: bool) -> Tensor:
        """Return the state after each token, ``(n, width, dimension)``, from ``tokens`` ``(n, width)``."""

    @abstractmethod
    def network_flops(self, n: int, width: int) -> float:
        """Return the FLOPs of the matrix products in `states` for ``n`` histories of ``width``."""

    def training_flops(self, n: int, width: int) -> float:
        """Return the FLOPs of the matrix products in `states` and of the way back."""
        return BACKWARD * self.network_flops(n, width)

    def fit(self, dataset: Dataset) -> Self:
        """Train on the events; raises `MissingExtraError` when torch is not installed."""
        with one_machine() as torch:
            log = dataset.interactions
            self.n_items_, self.seen_ = dataset.n_items, log.popularity > 0
            shapes = self.shapes(dataset.n_items)
            values = fresh_parameters(shapes, np.random.default_rng(self.seed))
            if self.encoder is not None:
                start_from_texts(values["item_embedding"], dataset, self.encoder)
            parameters = {name: torch.from_numpy(value).requires_grad_() for name, value in values.items()}
            held = last_events(log) if self.patience else np.empty(0, dtype=np.int64)
            learnt = np.ones(len(log), dtype=bool)
            learnt[held] = False
            windows = Windows.of(log.take(learnt), self.length)
            course = train(
                parameters,
                len(windows),
                lambda rows, rng: self._loss(torch, parameters, windows, rows, rng),
                self._training(),
                validate=self._validation(dataset, held, parameters) if len(held) else None,
                identity=self._identity(dataset),
            )
        self.parameters_ = flattened(parameters)
        self.losses_, self.qualities_ = tuple(course.losses), tuple(course.qualities)
        self.best_epoch_ = course.best_epoch
        return self

    def score(self, queries: Sequence[Query]) -> Matrix:
        """Return float32 ``(n_queries, n_items)``: products of the last state with the items' embeddings."""
        require_fitted(self, "parameters_")
        with one_machine():
            return self._scores(unflattened(self.parameters_, self.shapes(self.n_items_)), queries)

    def _scores(self, parameters: dict[str, Tensor], queries: Sequence[Query]) -> Matrix:
        from torch import inference_mode

        scores = np.zeros((len(queries), self.n_items_), dtype=np.float32)
        with inference_mode():
            items = parameters["item_embedding"][: self.n_items_]
            for start in range(0, len(queries), SCORED_AT_ONCE):
                tokens, ends = self._tokens(queries[start : start + SCORED_AT_ONCE])
                states = self.states(parameters, tokens, training=False)
                last = states[np.arange(len(ends)), ends]
                scores[start : start + len(ends)] = (last @ items.T).numpy()
                charge(flops=self.network_flops(*tokens.shape) + 2.0 * len(ends) * self.n_items_ * self.dimension)
        if not len(queries):
            charge(flops=0.0)
        # What nobody has chosen yet was never a target: its score would say nothing, so it gets the floor.
        scores[:, ~self.seen_] = scores.min(axis=1, initial=np.inf, keepdims=True)
        return scores

    def _tokens(self, queries: Sequence[Query]) -> tuple[Tensor, Rows]:
        """Return the newest events of each query behind a start symbol, filled up on the right, and where each ends."""
        from torch import from_numpy

        known = [query.history[self.seen_[query.history]] for query in queries]
        rows = [np.concatenate([[self.n_items_], history])[-self.length :] for history in known]
        ends = np.array([len(row) - 1 for row in rows], dtype=np.int64)
        tokens = np.full((len(rows), int(ends.max(initial=0)) + 1), self.n_items_, dtype=np.int64)
        for row, history in enumerate(rows):
            tokens[row, : len(history)] = history
        return from_numpy(tokens), ends

    def _loss(
        self, torch: Any, parameters: dict[str, Tensor], windows: Windows, rows: Rows, rng: np.random.Generator
    ) -> tuple[Tensor, int]:
        """Return the summed loss of the windows ``rows`` and the number of events predicted."""
        tokens, targets = windows.batch(rows)
        asked = targets >= 0
        states = self.states(parameters, torch.from_numpy(tokens), training=True)[torch.from_numpy(asked)]
        wanted = torch.from_numpy(targets[asked])
        items, n = parameters["item_embedding"], len(wanted)
        if self.loss == "cross-entropy":
            logits = states @ items[: self.n_items_].T
            scored = n * self.n_items_
        else:
            drawn = torch.from_numpy(rng.choice(np.flatnonzero(self.seen_), self.n_negatives))
            others = (states @ items[drawn].T).masked_fill(drawn == wanted[:, None], -torch.inf)
            logits = torch.cat([torch.einsum("nd,nd->n", states, items[wanted])[:, None], others], dim=1)
            wanted = torch.zeros_like(wanted)
            scored = n * (1 + self.n_negatives)
        charge(flops=self.training_flops(*tokens.shape) + BACKWARD * 2.0 * scored * self.dimension)
        return torch.nn.functional.cross_entropy(logits, wanted, reduction="sum"), n

    def _validation(self, dataset: Dataset, held: Rows, parameters: dict[str, Tensor]) -> Callable[[], float]:
        """Return a function that gives NDCG@10 on the events ``held``."""
        log = dataset.interactions
        if len(held) > self.validation_users:
            held = np.sort(np.random.default_rng(self.seed).choice(held, self.validation_users, replace=False))
        firsts = log.offsets[log.user[held]]
        queries = [Query(log.item[first:last]) for first, last in zip(firsts, held, strict=True)]
        return lambda: ndcg_at_10(lambda block: self._scores(parameters, block), queries, log.item[held])

    def _training(self) -> Training:
        names = {f.name for f in dataclasses.fields(Training)} - {"stage"}
        return Training(**{name: getattr(self, name) for name in names}, stage=f"train {type(self).__name__}")

    def _identity(self, dataset: Dataset) -> str:
        settings = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}
        kept = {name: value for name, value in settings.items() if name not in NOT_A_MATTER_OF_RESULT}
        text = None if self.encoder is None else self.encoder.fingerprint()
        return identity_of(type(self).__name__, kept, self.patience > 0, text, dataset.fingerprint())


@dataclass(frozen=True)
class Windows:
    """Stretches of at most ``length`` events of one user, newest first full, every event in exactly one."""

    items: IntArray
    firsts: Rows
    lasts: Rows
    begins: np.ndarray[Any, np.dtype[np.bool_]]
    start: int

    @classmethod
    def of(cls, log: Interactions, length: int) -> Windows:
        """Cut each user's events, from the newest backwards."""
        firsts, lasts, begins = [], [], []
        for user in np.flatnonzero(np.diff(log.offsets)):
            first, last = int(log.offsets[user]), int(log.offsets[user + 1])
            ends = np.arange(last, first, -length)
            lasts.append(ends)
            firsts.append(np.maximum(ends - length, first))
            begins.append(firsts[-1] == first)
        nothing = np.empty(0, dtype=np.int64)
        return cls(
            log.item,
            np.concatenate([nothing, *firsts]),
            np.concatenate([nothing, *lasts]),
            np.concatenate([nothing.astype(bool), *begins]),
            log.n_items,
        )

    def __len__(self) -> int:
        return len(self.firsts)

    def batch(self, rows: Rows) -> tuple[np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.int64]]]:
        """Return what stands before each event (the start before the first) and the events, -1 beyond the end."""
        place = self.firsts[rows, None] + np.arange(int((self.lasts[rows] - self.firsts[rows]).max()))
        inside = place < self.lasts[rows, None]
        before = np.where(inside, place - 1, -1)
        before[self.begins[rows], 0] = -1
        tokens = np.where(before >= 0, self.items[before], self.start).astype(np.int64)
        targets = np.where(inside, self.items[np.where(inside, place, 0)], -1).astype(np.int64)
        return tokens, targets


def ndcg_at_10(scores_of: Callable[[Sequence[Query]], Matrix], queries: Sequence[Query], wanted: IntArray) -> float:
    """Return mean NDCG@10 of one wanted item a query, equal scores sharing their average rank.

    `frugalrec.metrics` has it for any fold, but component folders never import each other.
    """
    gains = []
    for start in range(0, len(queries), SCORED_AT_ONCE):
        block = queries[start : start + SCORED_AT_ONCE]
        answers = wanted[start : start + len(block)]
        scores = scores_of(block)
        own = scores[np.arange(len(block)), answers][:, None]
        masked = mask_scores(scores, block)
        masked[np.arange(len(block)), answers] = -np.inf  # it is counted by `own`, repeated or not
        ranks = 1.0 + (masked > own).sum(axis=1) + 0.5 * (masked == own).sum(axis=1)
        gains.append(np.where(ranks <= 10, 1.0 / np.log2(1.0 + ranks), 0.0))
    return float(np.concatenate(gains).mean())


def start_from_texts(embeddings: Matrix, dataset: Dataset, encoder: TextEncoder) -> None:
    """Overwrite rows of ``embeddings`` with the principal directions of the items' texts, at the same deviation.

    Items without text keep what they have. FLOPs for n items of text dimension t and d kept: those of `TextSpace`,
    2nt² + 9t³ for the directions and 2ntd to turn onto them.
    """
    encoded = encode_items(dataset.catalog, encoder)
    told = encoded.any(axis=1)
    if not told.any():
        return
    rows = TextSpace.fit(encoded, 0.0).project(encoded)[told].astype(np.float64)
    _, axes = np.linalg.eigh(rows.T @ rows)
    kept = rows @ axes[:, ::-1][:, : embeddings.shape[1]]
    n, dim = rows.shape
    charge(flops=2.0 * n * dim**2 + 9.0 * dim**3 + 2.0 * n * dim * kept.shape[1])
    deviation = kept.std()
    if deviation > 0:
        places = np.flatnonzero(told)[:, None], np.arange(kept.shape[1])
        embeddings[places] = (kept * (EMBEDDING_DEVIATION / deviation)).astype(np.float32)


__all__ = ["SequenceModel", "Windows", "ndcg_at_10", "start_from_texts"]
