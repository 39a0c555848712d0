"""What the neural next-item models share: losses and scores. They differ in a network."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from frugalrec.cost import charge
from frugalrec.data.dataset import Dataset, Query
from frugalrec.data.interactions import Interactions
from frugalrec.data.shape import DataShape
from frugalrec.errors import ConfigError
from frugalrec.interfaces import Matrix, TextEncoder
from frugalrec.recommenders._expected import expected_text_space, width_of
from frugalrec.recommenders._neural import (
    SCORED_AT_ONCE,
    NeuralModel,
    expected_tokens,
    expected_training,
    expected_windows,
)
from frugalrec.recommenders._text import TextSpace, encode_items
from frugalrec.recommenders._windows import Windows, tokens_of
from frugalrec.torch_training import (
    BACKWARD,
    EMBEDDING_DEVIATION,
    LossOf,
    Rows,
    Tensor,
    require_torch,
)
from frugalrec.work import Expected, Stages, Work


@dataclass
class SequenceModel(NeuralModel):
    """Base of networks that read a history from left to right and score the next item against item embeddings.

    Every event is predicted once an epoch, from the events before it in its window: windows of ``length`` do not
    overlap, so the first target of one that does not begin a history sees one event alone; where they are cut is drawn
    anew each epoch. A history begins with a start symbol, so that strangers get an answer. ``loss`` is the
    cross-entropy over the catalogue, or over the target and ``n_negatives`` items drawn uniformly for each batch and
    shared by it. With ``encoder``, item embeddings start from the principal directions of the item texts. Early
    stopping and the refit after it are those of `NeuralModel`.
    """

    layers: int = field(default=1, metadata={"stage": "accumulate"})
    loss: Literal["cross-entropy", "sampled-softmax"] = field(default="cross-entropy", metadata={"stage": "accumulate"})
    n_negatives: int = field(default=256, metadata={"stage": "accumulate"})

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("layers", "n_negatives"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")

    @abstractmethod
    def states(self, parameters: dict[str, Tensor], tokens: Tensor, *, training: bool) -> Tensor:
        """Return the state after each token, ``(n, width, dimension)``, from ``tokens`` ``(n, width)``."""

    @abstractmethod
    def network_flops(self, n: int, width: int) -> float:
        """Return the FLOPs of the matrix products in `states` for ``n`` histories of ``width``."""

    def training_flops(self, n: int, width: int) -> float:
        """Return the FLOPs of the matrix products in `states` and of the way back."""
        return BACKWARD * self.network_flops(n, width)

    def starting_values(self, dataset: Dataset) -> dict[str, Matrix]:
        """Return fresh values; with ``encoder``, item embeddings from texts."""
        values = super().starting_values(dataset)
        if self.encoder is not None:
            start_from_texts(values["item_embedding"], dataset, self.encoder)
        return values

    def examples(self, log: Interactions, parameters: dict[str, Tensor]) -> tuple[Callable[[int], int], LossOf]:
        """Return what cuts ``log`` into windows, anew each epoch, and the loss of some of them."""
        torch, windows = require_torch(), Windows(log, self.length)
        return (
            lambda epoch: windows.cut(np.random.default_rng([self.seed, epoch, 2])),
            lambda rows, batch, rng: self._loss(torch, parameters, windows, rows, rng),
        )

    def scores(self, parameters: dict[str, Tensor], queries: Sequence[Query]) -> Matrix:
        """Return products of the last states with the items' embeddings."""
        from torch import from_numpy, inference_mode

        scores = np.zeros((len(queries), self.n_items_), dtype=np.float32)
        with inference_mode():
            items = parameters["item_embedding"][: self.n_items_]
            for start in range(0, len(queries), SCORED_AT_ONCE):
                tokens, ends = tokens_of(queries[start : start + SCORED_AT_ONCE], self.seen_, self.length)
                states = self.states(parameters, from_numpy(tokens), training=False)
                last = states[np.arange(len(ends)), ends]
                scores[start : start + len(ends)] = (last @ items.T).numpy()
                charge(flops=self.network_flops(*tokens.shape) + 2.0 * len(ends) * self.n_items_ * self.dimension)
        if not len(queries):
            charge(flops=0.0)
        # What nobody has chosen yet was never a target: its score would say nothing, so it gets the floor.
        scores[:, ~self.seen_] = scores.min(axis=1, initial=np.inf, keepdims=True)
        return scores

    def expected(self, shape: DataShape) -> Stages:
        """Return what training and scoring take, as far as `_neural.expected_epochs` tells how long training goes on.

        Windows and their widths are those of the mean, which is exact where all histories are as long and fit into one.
        """
        if self.encoder is not None and width_of(self.encoder) is None:
            return Stages()
        n, d = shape.items, float(self.dimension)
        candidates = n if self.loss == "cross-entropy" else 1.0 + self.n_negatives
        size = float(sum(math.prod(shape_) for shape_ in self.shapes(int(n)).values()))
        text = expected_start(shape, width_of(self.encoder) or 0, self.dimension)

        def epoch(held: float) -> tuple[float, float]:
            windows, width, events = expected_windows(shape, self.length, self.batch_size, held)
            # The products of `states` are linear in the number of histories of one width.
            flops = windows * self.training_flops(1, width) + BACKWARD * 2.0 * events * candidates * d
            return flops, windows

        width, behind = expected_tokens(shape, self.length, SCORED_AT_ONCE)
        among = self.network_flops(1, width) + 2.0 * n * d
        fit = expected_training(self, shape, epoch, among, size, self.length * candidates + 40.0 * self.length * d)
        scored = self.network_flops(1, behind) + 2.0 * n * d
        alone = Expected(
            (Work("state", 2.0, 4.0 * n * d), Work("scan", 4.0 * n * d, 4.0 * n * d)),
            scored,
            0.0,
            0.0,
            8.0 * n,
            0.0,
            2.0,
        )
        batch = Expected((Work("gemm-f32", among, d),), among, 0.0, 0.0, 8.0 * n, 0.0, 2.0)
        return Stages(text + fit, alone, batch)

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


def expected_start(shape: DataShape, dim: int, kept: int) -> Expected:
    """Return what `start_from_texts` takes for texts of ``dim``; nothing without."""
    if not dim:
        return Expected.nothing()
    n, d = shape.n_texts, float(dim)
    turned = 2.0 * n * d * d + 9.0 * d**3 + 2.0 * n * d * min(kept, dim)
    work = (Work("gemm-f64", turned - 9.0 * d**3, d), Work("eigen-f64", 9.0 * d**3, d))
    more = Expected(work, turned, 0.0, 0.0, 24.0 * n * d, 0.0)
    return expected_text_space(shape, dim, 0.0) + more


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


__all__ = ["SequenceModel", "start_from_texts"]
