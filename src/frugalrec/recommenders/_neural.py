"""What all neural recommenders share: settings, early stopping on held-out events, a refit with them, saved weights."""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np

from frugalrec.data.dataset import Dataset, Query
from frugalrec.data.interactions import IntArray, Interactions
from frugalrec.data.shape import DataShape
from frugalrec.errors import ConfigError
from frugalrec.interfaces import Matrix, TextEncoder
from frugalrec.recommenders._base import Scores, mask_scores, require_fitted
from frugalrec.torch_training import (
    Course,
    Flat,
    LossOf,
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
from frugalrec.work import Expected, Work

SCORED_AT_ONCE = 256
"""Histories that go through the network together when nothing is learned."""

CONTINUED = 0.2
"""How long training goes on with all events after early stopping, as a share of the epochs kept."""

COOLED = 0.8
"""Where the learning rate begins to fall in a training of known length."""

NOT_A_MATTER_OF_RESULT = ("epochs", "patience", "cpu_seconds", "log_dir", "checkpoint", "encoder", "refit")
"""Fields that decide how far training goes, not what an epoch does: a checkpoint serves all their values."""


@dataclass
class NeuralModel(Scores):
    """Base of recommenders that are trained by gradient descent.

    With ``patience``, the last event of each user with three or more is held out; NDCG@10 on it (``validation_users``
    of them) decides which epoch is kept. What happens then to the events held out is ``refit``: ``continue`` trains on
    from the epoch kept with all events, a fifth of the epochs again, while the learning rate falls to 0; ``restart``
    trains anew with all events for as many epochs as were kept, the rate falling over the last fifth; ``none`` leaves
    them unlearned. ``cpu_seconds`` ends training with the epoch in which they are spent, the refit's share set aside.
    ``checkpoint`` names a folder from which a killed run goes on, ``log_dir`` one for TensorBoard.
    """

    dimension: int = field(default=64, metadata={"stage": "accumulate", "tune": (32, 64, 128)})
    length: int = field(default=50, metadata={"stage": "accumulate"})
    dropout: float = field(default=0.2, metadata={"stage": "accumulate", "tune": (0.2, 0.5)})
    epochs: int = field(default=100, metadata={"stage": "accumulate"})
    patience: int = field(default=5, metadata={"stage": "accumulate"})
    refit: Literal["continue", "restart", "none"] = field(default="continue", metadata={"stage": "accumulate"})
    batch_size: int = field(default=32, metadata={"stage": "accumulate"})
    learning_rate: float = field(default=1e-3, metadata={"stage": "accumulate", "tune": (3e-4, 1e-3, 3e-3)})
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
    refit_losses_: tuple[float, ...] = field(init=False, repr=False, compare=False)
    best_epoch_: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("dimension", "length", "validation_users"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be at least 0 and below 1, not {self.dropout}")
        if self.refit not in ("continue", "restart", "none"):
            raise ConfigError(f"refit must be 'continue', 'restart' or 'none', not '{self.refit}'")
        self._training()

    @abstractmethod
    def shapes(self, n_items: int) -> Shapes:
        """Return the shapes of all parameters by name; ``item_embedding`` has ``n_items + 1`` rows, the start last."""

    @abstractmethod
    def examples(self, log: Interactions, parameters: dict[str, Tensor]) -> tuple[Callable[[int], int], LossOf]:
        """Return what begins an epoch over ``log``, giving its number of examples, and the loss of some of them."""

    @abstractmethod
    def scores(self, parameters: dict[str, Tensor], queries: Sequence[Query]) -> Matrix:
        """Return float32 ``(n_queries, n_items)``; ``fit`` and `starting_values` have set what else it needs."""

    def starting_values(self, dataset: Dataset) -> dict[str, Matrix]:
        """Return what the parameters are before training; learns from texts what else the model keeps of them."""
        return fresh_parameters(self.shapes(dataset.n_items), np.random.default_rng(self.seed))

    def fit(self, dataset: Dataset) -> Self:
        """Train on the events; raises `MissingExtraError` when torch is not installed."""
        with one_machine() as torch:
            log = dataset.interactions
            self.n_items_, self.seen_ = dataset.n_items, log.popularity > 0
            values = self.starting_values(dataset)
            parameters = {name: torch.tensor(value).requires_grad_() for name, value in values.items()}
            held = last_events(log) if self.patience else np.empty(0, dtype=np.int64)
            learnt = np.ones(len(log), dtype=bool)
            learnt[held] = False
            course = train(
                parameters,
                *self.examples(log.take(learnt), parameters),
                self._training(),
                validate=self._validation(dataset, held, parameters) if len(held) else None,
                identity=self._identity(dataset),
            )
            self.losses_, self.qualities_ = tuple(course.losses), tuple(course.qualities)
            self.best_epoch_, self.refit_losses_ = course.best_epoch, ()
            if len(held) and self.refit != "none":
                if self.refit == "restart":
                    with torch.no_grad():
                        for name, parameter in parameters.items():
                            parameter.copy_(torch.from_numpy(values[name]))
                again = self._refit(dataset, parameters, course.best_epoch)
                self.refit_losses_ = tuple(again.losses)
            self.parameters_ = flattened(parameters)
            self.finish(parameters)
        return self

    def finish(self, parameters: dict[str, Tensor]) -> None:
        """Keep what scoring needs and can be computed once; a model may have nothing of the kind."""

    def score(self, queries: Sequence[Query]) -> Matrix:
        """Return float32 ``(n_queries, n_items)``: products of users' vectors with items' vectors."""
        require_fitted(self, "parameters_")
        with one_machine():
            return self.scores(unflattened(self.parameters_, self.shapes(self.n_items_)), queries)

    def _refit(self, dataset: Dataset, parameters: dict[str, Tensor], kept: int) -> Course:
        """Train with all events: on from what ``kept`` epochs learned, or for as many from the start."""
        on = self.refit == "continue"
        training = dataclasses.replace(
            self._training(),
            epochs=math.ceil(CONTINUED * kept) if on else kept,
            after=kept if on else 0,
            cool_from=0.0 if on else COOLED,
            cpu_seconds=0.0,
            log_dir=self.log_dir and f"{self.log_dir}/refit",
            stage=f"refit {type(self).__name__}",
        )
        identity = f"{self._identity(dataset)}-{self.refit}-{kept}"
        return train(parameters, *self.examples(dataset.interactions, parameters), training, identity=identity)

    def _validation(self, dataset: Dataset, held: Rows, parameters: dict[str, Tensor]) -> Callable[[], float]:
        """Return a function that gives NDCG@10 on the events ``held``."""
        log = dataset.interactions
        if len(held) > self.validation_users:
            held = np.sort(np.random.default_rng(self.seed).choice(held, self.validation_users, replace=False))
        firsts = log.offsets[log.user[held]]
        queries = [Query(log.item[first:last]) for first, last in zip(firsts, held, strict=True)]
        return lambda: ndcg_at_10(lambda block: self.scores(parameters, block), queries, log.item[held])

    def _training(self) -> Training:
        names = {f.name for f in dataclasses.fields(Training)} & {f.name for f in dataclasses.fields(self)}
        settings = {name: getattr(self, name) for name in names}
        if self.patience:
            settings["cpu_seconds"] /= {"none": 1.0, "continue": 1.0 + CONTINUED, "restart": 2.0}[self.refit]
        return Training(**settings, stage=f"train {type(self).__name__}")

    def _identity(self, dataset: Dataset) -> str:
        settings = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}
        kept = {name: value for name, value in settings.items() if name not in NOT_A_MATTER_OF_RESULT}
        text = None if self.encoder is None else self.encoder.fingerprint()
        return identity_of(type(self).__name__, kept, self.patience > 0, text, dataset.fingerprint())


def expected_windows(shape: DataShape, length: int, batch_size: int, held: float) -> tuple[float, int, float]:
    """Return the windows of an epoch, the width of the widest in a batch, and the events that are predicted.

    ``held``: events of each user with three or more that are not learned from.
    """
    sizes, users = shape.lengths
    if not len(sizes):
        return 0.0, 1, 0.0
    sizes = np.where(sizes >= 3, sizes - held, sizes)
    longer = sizes > length
    # Where the newest window ends is drawn evenly from 1 to ``length`` events before the end.
    newest = (length + 1) / 2
    each = np.where(longer, 1.0 + np.maximum(sizes - newest, 0.0) / length + (length - 1) / (2 * length), 1.0)
    counts = each * users
    widths = np.minimum(sizes, length)
    order = np.argsort(widths)
    below = np.cumsum(counts[order]) / max(counts.sum(), 1.0)
    widest = int(widths[order][min(int(np.searchsorted(below, 0.5 ** (1.0 / batch_size))), len(widths) - 1)])
    return float(counts.sum()), max(1, widest), float(sizes @ users)


def expected_tokens(shape: DataShape, length: int, at_once: int) -> tuple[int, int]:
    """Return how many tokens the longest of many histories has, and one of mean length; the start is one."""
    sizes, users = shape.lengths
    below = np.cumsum(users) / max(float(users.sum()), 1.0)
    place = min(int(np.searchsorted(below, 0.5 ** (1.0 / at_once))), len(sizes) - 1)
    longest = float(sizes[place]) if len(sizes) else 0.0
    return int(min(longest + 1, length)), int(min(round(shape.mean_history) + 1, length))


def expected_epochs(model: NeuralModel) -> tuple[float, float]:
    """Return about how many epochs early stopping takes, the refit's aside, and the factor by which that may be off.

    Between the first that can be the last and all there are, the data decide: the geometric mean is taken.
    """
    if not model.patience:
        return float(model.epochs), 1.0
    first = min(model.patience + 1.0, float(model.epochs))
    return math.sqrt(first * model.epochs), math.sqrt(model.epochs / first)


def expected_training(
    model: NeuralModel,
    shape: DataShape,
    epoch: Callable[[float], tuple[float, float]],
    scored: float,
    parameters: float,
    a_window: float,
) -> Expected:
    """Return what `NeuralModel.fit` takes. ``cpu_seconds``, where they are given, may end it earlier.

    ``epoch`` tells FLOPs and windows of one over all events less so many of each user; ``scored`` the FLOPs of one
    query among many; ``parameters`` how many numbers are learned; ``a_window`` the floats alive for one in a batch.
    """
    epochs, spread = expected_epochs(model)
    flops, windows = epoch(1.0 if model.patience else 0.0)
    passes, more = epochs, 0.0
    if model.patience:
        judged = min(float(model.validation_users), shape.n_users)
        more = epochs * judged * scored
        if model.refit != "none":
            kept = max(1.0, epochs - model.patience)
            again = math.ceil(CONTINUED * kept) if model.refit == "continue" else kept
            more += again * epoch(0.0)[0]
            passes += again
    steps = passes * math.ceil(windows / model.batch_size)
    total = epochs * flops + more
    work = (
        Work("gemm-f32", total, float(model.dimension)),
        # Adam reads and writes four numbers a parameter; what is done to single elements, some ten times what is alive.
        Work("stream", steps * (32.0 * parameters + 40.0 * model.batch_size * a_window), 1 << 26),
    )
    # Parameters, gradients, Adam's two means, the best so far and what is kept.
    peak = 4.0 * (6.0 * parameters + 3.0 * model.batch_size * a_window)
    # Histories of one length that fit into a window leave nothing to chance.
    even = len(shape.lengths[0]) == 1 and shape.lengths[0][0] <= model.length and not model.patience
    return Expected(work, total, 0.0, 0.0, peak, 4.0 * parameters, spread if even else 1.2 * spread)


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


__all__ = [
    "CONTINUED",
    "SCORED_AT_ONCE",
    "NeuralModel",
    "expected_epochs",
    "expected_tokens",
    "expected_training",
    "expected_windows",
    "ndcg_at_10",
]
