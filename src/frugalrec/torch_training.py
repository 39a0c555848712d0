"""Training by gradient descent, for neural recommenders and rerankers: epochs, early stopping, checkpoints, processes.

A model is a dictionary of named tensors and a function that gives the loss of some examples; nothing here knows what
the model computes. Everything random is drawn from (seed, epoch, batch), so a run that was killed and goes on from its
checkpoint draws what the uninterrupted one would have drawn. torch is imported only when something is trained.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from frugalrec import progress
from frugalrec.cost import Cost, Ledger, charge, charge_reused, threads
from frugalrec.data.interactions import Interactions
from frugalrec.errors import ConfigError, DataError, MissingExtraError
from frugalrec.interfaces import Matrix

Tensor = Any
"""A torch tensor: torch is optional, so its types cannot be named here."""

Shapes = Mapping[str, tuple[int, ...]]
Rows = np.ndarray[Any, np.dtype[np.int64]]
Flat = np.ndarray[Any, np.dtype[np.float32]]

EMBEDDING_DEVIATION = 0.02
"""Deviation of fresh embeddings (as in BERT); other weights are uniform within one by the root of their inputs."""

ADAM_DECAYS = (0.9, 0.98)
"""Adam's two decay rates, as in SASRec."""

BACKWARD = 3.0
"""FLOPs of a step by those of its forward pass: each product of matrices brings two of the same size going back."""

ELEMENTS = ("exp_avg", "exp_avg_sq", "step")
"""What Adam keeps for each parameter."""


@dataclass(frozen=True)
class Training:
    """How to train: the settings of `train` that are not the model's.

    ``after``: how many epochs came before, whose random draws are not repeated. From the share ``cool_from`` of all
    steps on, the learning rate falls in a straight line to 0.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.0
    patience: int = 0
    cpu_seconds: float = 0.0
    seed: int = 0
    log_dir: str = ""
    checkpoint: str = ""
    stage: str = "train"
    after: int = 0
    cool_from: float = 1.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be above 0, not {getattr(self, name)}")
        for name in ("weight_decay", "patience", "cpu_seconds"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be below 0, not {getattr(self, name)}")

    def rate(self, done: float) -> float:
        """Return the learning rate when the share ``done`` of all steps has been taken."""
        if done <= self.cool_from:
            return self.learning_rate
        return self.learning_rate * (1.0 - done) / (1.0 - self.cool_from)


@dataclass
class Course:
    """What happened while training: the mean loss and the validation quality of each epoch, the epoch kept, the price.

    ``flops`` and ``cpu_seconds`` are those of all epochs, whichever process computed them.
    """

    losses: list[float] = field(default_factory=list)
    qualities: list[float] = field(default_factory=list)
    best_epoch: int = 0
    cpu_seconds: float = 0.0
    flops: float = 0.0


LossOf = Callable[[Rows, Rows, np.random.Generator], tuple[Tensor, int]]
"""Rows of examples → the sum of their losses (with a gradient) and how many terms it has.

The second argument is the whole batch, of which the first is this process's share; the generator is the same in all.
"""


def require_torch() -> Any:
    """Import torch, or raise `MissingExtraError`."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError.of("torch", "torch") from error
    return torch


@contextmanager
def one_machine() -> Iterator[Any]:
    """Give torch as many threads as frugalrec may use, and take back what it was; yields torch."""
    torch = require_torch()
    before = torch.get_num_threads()
    torch.set_num_threads(threads())
    try:
        yield torch
    finally:
        torch.set_num_threads(before)


def fresh_parameters(shapes: Shapes, rng: np.random.Generator) -> dict[str, Matrix]:
    """Return starting values by name: biases 0, scales 1, embeddings normal, other weights uniform."""
    values: dict[str, Matrix] = {}
    for name, shape in shapes.items():
        if name.endswith("bias"):
            value = np.zeros(shape)
        elif name.endswith("scale"):
            value = np.ones(shape)
        elif name.endswith("embedding"):
            value = rng.normal(0.0, EMBEDDING_DEVIATION, shape)
        else:
            value = rng.uniform(-1.0, 1.0, shape) / np.sqrt(shape[-1])
        values[name] = value.astype(np.float32)
    return values


def flattened(parameters: Mapping[str, Tensor]) -> Flat:
    """Return all parameters one after another, as one array that can be saved."""
    return np.concatenate([np.asarray(p.detach(), dtype=np.float32).ravel() for p in parameters.values()])


def unflattened(flat: Flat, shapes: Shapes) -> dict[str, Tensor]:
    """Return the tensors that `flattened` joined, as views into it."""
    torch = require_torch()
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    parts = torch.from_numpy(np.ascontiguousarray(flat)).split(sizes)
    return {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def last_events(interactions: Interactions, at_least: int = 3) -> Rows:
    """Return the row of the last event of each user who has ``at_least`` events: what early stopping watches."""
    lengths = np.diff(interactions.offsets)
    return np.asarray(interactions.offsets[1:][lengths >= at_least] - 1, dtype=np.int64)


def identity_of(*parts: object) -> str:
    """Return a short hash of what a checkpoint belongs to: settings and data."""
    return sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def train(
    parameters: dict[str, Tensor],
    begin: Callable[[int], int],
    loss_of: LossOf,
    training: Training,
    *,
    validate: Callable[[], float] | None = None,
    identity: str = "",
) -> Course:
    """Train ``parameters`` in place with Adam; they end at the best epoch by ``validate``, or at the last.

    ``begin`` is told the number of an epoch before it begins and returns how many examples it has. Training stops after
    ``epochs``, after ``patience`` epochs without a better validation quality (0: never), or with the first epoch that
    ends beyond ``cpu_seconds`` (0: never). Inside an initialised ``torch.distributed`` group, each process takes its
    share of every batch, and gradients are summed before they are divided by the number of loss terms of the whole
    batch: one process and many take the same steps, up to rounding and dropout. What a checkpoint spares is told to the
    ledger as such, and the FLOPs of all processes but this one are not on it.
    """
    torch = require_torch()
    group = _Group(torch)
    optimizer = torch.optim.Adam(
        list(parameters.values()),
        lr=training.learning_rate,
        betas=ADAM_DECAYS,
        weight_decay=training.weight_decay,
        fused=True,
    )
    course, best = Course(), {name: p.detach().clone() for name, p in parameters.items()}
    saved = _Checkpoint(Path(training.checkpoint) / identity) if training.checkpoint else None
    if saved is not None:
        course = saved.read(parameters, best, optimizer) or course
        # What a killed run has paid for is part of what the model takes from nothing.
        charge_reused(Cost(cpu_seconds=course.cpu_seconds, flops=course.flops))
        charge(flops=0.0)  # so that the sum is known where nothing is left to do
    # An epoch that was told before a kill, but not kept, is told again and counts once.
    purge = len(course.losses) + 1 if saved is not None else None
    writer = _tensorboard(training.log_dir, purge) if training.log_dir and group.rank == 0 else None
    while not _finished(course, training):
        epoch = len(course.losses)
        with Ledger().span("epoch") as spent:
            n = begin(training.after + epoch)
            course.losses.append(_epoch(torch, group, parameters, n, loss_of, optimizer, training, epoch))
            if validate is not None:
                # Weights are equal in all processes, but sums may round differently: one of them decides.
                course.qualities.append(group.said_by_first(validate()))
        if validate is None or course.qualities[-1] > max(course.qualities[:-1], default=-np.inf):
            course.best_epoch = epoch + 1
            for name, parameter in parameters.items():
                best[name].copy_(parameter.detach())
        assert spent.entry is not None
        course.cpu_seconds = group.said_by_first(course.cpu_seconds + (spent.entry.cost.cpu_seconds or 0.0))
        course.flops += spent.entry.cost.flops or 0.0
        if writer is not None:
            writer.add_scalar("loss", course.losses[-1], epoch + 1)
            if course.qualities:
                writer.add_scalar("validation ndcg@10", course.qualities[-1], epoch + 1)
            writer.flush()  # before the checkpoint: a run that goes on does not come back to this epoch
        if saved is not None and group.rank == 0:
            saved.write(parameters, best, optimizer, course)
        progress.report(training.stage, epoch + 1, training.epochs)
    if len(course.losses) < training.epochs:
        progress.report(training.stage, training.epochs, training.epochs)
    if writer is not None:
        writer.close()
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(best[name])
    return course


def _finished(course: Course, training: Training) -> bool:
    done = len(course.losses)
    weary = training.patience > 0 and bool(course.qualities) and done - course.best_epoch >= training.patience
    late = 0 < training.cpu_seconds <= course.cpu_seconds
    return done >= training.epochs or weary or late


def _epoch(
    torch: Any,
    group: _Group,
    parameters: dict[str, Tensor],
    n_examples: int,
    loss_of: LossOf,
    optimizer: Any,
    training: Training,
    epoch: int,
) -> float:
    """Take one step a batch and return the mean loss."""
    drawn = training.after + epoch
    order = np.random.default_rng([training.seed, drawn]).permutation(n_examples)
    total, terms = 0.0, 0.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.default_rng([training.seed, drawn, group.rank]).integers(2**62)))
        for batch, start in enumerate(range(0, n_examples, training.batch_size)):
            # All processes draw the same negatives, and each takes its own rows.
            rng = np.random.default_rng([training.seed, drawn, batch, 1])
            everyones = order[start : start + training.batch_size]
            mine = everyones[group.rank :: group.size]
            for settings in optimizer.param_groups:
                settings["lr"] = training.rate((epoch + start / n_examples) / training.epochs)
            optimizer.zero_grad(set_to_none=True)
            loss, count = (None, 0) if not len(mine) else loss_of(mine, everyones, rng)
            if loss is not None:
                loss.backward()
            loss_sum, loss_terms = group.join_gradients(
                parameters, 0.0 if loss is None else float(loss.detach()), count
            )
            optimizer.step()
            total, terms = total + loss_sum, terms + loss_terms
    return total / max(terms, 1.0)


class _Group:
    """The processes that train together: those of torch's default group, or this one alone."""

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        together = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.size = torch.distributed.get_world_size() if together else 1
        self.rank = torch.distributed.get_rank() if together else 0

    def join_gradients(self, parameters: Mapping[str, Tensor], loss: float, count: int) -> tuple[float, float]:
        """Make gradients those of the mean loss over all processes; return the sum of the loss and its terms."""
        torch = self._torch
        for parameter in parameters.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in parameters.values()]
        if self.size > 1:
            told = torch.tensor([loss, count], dtype=torch.float64)
            torch.distributed.all_reduce(told)
            loss, terms = told.tolist()
            joined = torch.cat([g.reshape(-1) for g in gradients])
            torch.distributed.all_reduce(joined)
            for gradient, part in zip(gradients, joined.split([g.numel() for g in gradients]), strict=True):
                gradient.copy_(part.view_as(gradient))
        else:
            terms = float(count)
        torch._foreach_div_(gradients, max(terms, 1.0))
        return loss, terms

    def said_by_first(self, value: float) -> float:
        """Return the first process's ``value``."""
        if self.size == 1:
            return value
        told = self._torch.tensor([value], dtype=self._torch.float64)
        self._torch.distributed.broadcast(told, src=0)
        return float(told)


class _Checkpoint:
    """A folder that holds the newest complete epoch: weights in safetensors, the course in JSON.

    The JSON file names the file of weights and is replaced last, so that a kill at any moment leaves a whole pair.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._state = folder / "state.json"

    def write(
        self, parameters: Mapping[str, Tensor], best: Mapping[str, Tensor], optimizer: Any, course: Course
    ) -> None:
        from safetensors.torch import save_file

        self._folder.mkdir(parents=True, exist_ok=True)
        weights = f"epoch-{len(course.losses)}.safetensors"
        tensors = {f"parameters/{name}": p.detach() for name, p in parameters.items()}
        tensors |= {f"best/{name}": p for name, p in best.items()}
        for name, parameter in parameters.items():
            tensors |= {f"adam/{name}/{element}": optimizer.state[parameter][element] for element in ELEMENTS}
        save_file(tensors, self._folder / weights)
        told = {"weights": weights, **vars(course)}
        half = self._folder / f".{os.getpid()}-state.json"
        half.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        os.replace(half, self._state)
        for older in self._folder.glob("epoch-*.safetensors"):
            if older.name != weights:
                older.unlink()

    def read(self, parameters: Mapping[str, Tensor], best: Mapping[str, Tensor], optimizer: Any) -> Course | None:
        """Restore what was written and return the course, or None where there is nothing yet."""
        if not self._state.exists():
            return None
        torch = require_torch()
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            told = json.loads(self._state.read_text(encoding="utf-8"))
            tensors = load_file(self._folder / told.pop("weights"))
            course = Course(**told)
            with torch.no_grad():
                for name, parameter in parameters.items():
                    parameter.copy_(tensors[f"parameters/{name}"])
                    best[name].copy_(tensors[f"best/{name}"])
                    optimizer.state[parameter] = {e: tensors[f"adam/{name}/{e}"] for e in ELEMENTS}
        except (SafetensorError, OSError, ValueError, LookupError, TypeError, RuntimeError) as error:
            raise DataError(
                f"{self._folder}: the checkpoint is damaged: {error}", hint="delete the folder to train from the start"
            ) from error
        return course


def _tensorboard(folder: str, purge: int | None) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError.of("tensorboard", "torch") from error
    return SummaryWriter(folder, purge_step=purge)


__all__ = [
    "BACKWARD",
    "Course",
    "Training",
    "flattened",
    "fresh_parameters",
    "identity_of",
    "last_events",
    "one_machine",
    "require_torch",
    "train",
    "unflattened",
]
