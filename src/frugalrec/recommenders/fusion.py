"""Several recommenders as one, with weights learned from events held out of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from scipy.optimize import minimize

from frugalrec.cost import charge
from frugalrec.data.dataset import Dataset, Query
from frugalrec.data.interactions import FloatArray, IntArray
from frugalrec.data.shape import DataShape
from frugalrec.errors import ConfigError, DataError
from frugalrec.interfaces import Recommender
from frugalrec.recommenders._base import BLOCK_BYTES
from frugalrec.recommenders._expected import expected_of
from frugalrec.recommenders._fused import Fused, Mask, scores_cold_items, standardised
from frugalrec.work import Expected, Stages, Work

STEPS = 12.0
"""About how often the solver looks at the held-out users before the weights stand still."""

UNKNOWN_STEPS = 3.0
"""How far that may be off."""

Cube = np.ndarray[Any, np.dtype[np.float32]]


@dataclass
class Fusion(Fused):
    """Recommends by a weighted sum of its members' standardised scores, with weights learned instead of searched.

    Choose it to join collaborative, sequential, text, popularity and recency members (a `Popularity` with a half-life)
    when there are too many weights for a grid. ``fit`` holds out each user's last event (``held_share`` 0) or the
    newest share of all events, fits the members on the rest, and takes the weights of at least 0 under which a softmax
    over the items that may be recommended makes the held-out ones most likely: a concave problem, solved by L-BFGS-B.
    Then it fits the members again, on everything. A member of weight 0 is not asked for scores. ``held_share`` suits
    requests that are answered by many future items, the last event those that are answered by the next.

    Scores are made comparable as in `Hybrid`, and cold items are placed as there. Users without an earlier event,
    items without one, and all but ``max_users`` users are left out of the learning; where nothing is left, every
    member weighs 1. ``ridge`` keeps weights finite where one member is always right.

    Time: twice the members' fits, and O(users · items · members) a step of the solver, of which it takes some tens.
    Memory: the members', and users · items · members floats, at most 256 MB. Paper: Cao et al., 2007 (ListNet, top-one
    probability); McFadden, 1974 (conditional logit).

    >>> from frugalrec.recommenders.item_knn import ItemKnn
    >>> from frugalrec.recommenders.popularity import Popularity
    >>> from frugalrec.testing.data import checkerboard
    >>> data = checkerboard(8)
    >>> fusion = Fusion((ItemKnn(), Popularity())).fit(data)
    >>> fusion.recommend([data.query(5)], k=1)[0].items.tolist()
    [5]
    """

    members: tuple[Recommender, ...]
    held_share: float = field(default=0.0, metadata={"stage": "accumulate", "tune": (0.0, 0.1)})
    ridge: float = field(default=1e-3, metadata={"stage": "solve"})
    max_users: int = field(default=2000, metadata={"stage": "accumulate"})
    seed: int = 0
    n_items_: int = field(init=False, repr=False, compare=False)
    warm_: Mask = field(init=False, repr=False, compare=False)
    weights_: FloatArray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raise `ConfigError` for fewer than two members, or a setting outside its range."""
        if len(self.members) < 2:
            raise ConfigError(f"a fusion needs at least two members, not {len(self.members)}")
        if not 0 <= self.held_share < 1:
            raise ConfigError(f"held_share must be at least 0 and below 1, not {self.held_share}")
        if self.ridge <= 0:
            raise ConfigError(f"ridge must be above 0, not {self.ridge}")
        if self.max_users < 1:
            raise ConfigError(f"max_users must be at least 1, not {self.max_users}")
        self.scores_cold_items = any(scores_cold_items(member) for member in self.members)

    def fit(self, dataset: Dataset) -> Self:
        """Learn the weights from held-out events, then fit every member to all of them."""
        self.weights_ = np.ones(len(self.members))
        self.n_items_ = dataset.n_items
        held = self._held(dataset)
        charge(flops=0.0)
        if held.any() and not held.all():
            self._learn(dataset, held)
        for member in self.members:
            member.fit(dataset)
        self.warm_ = dataset.interactions.popularity > 0
        return self

    def expected(self, shape: DataShape) -> Stages:
        """Return what fitting and scoring take: the members' parts twice, and the search for weights."""
        parts = [part for member in self.members if (part := expected_of(member, shape)) is not None]
        if len(parts) < len(self.members):
            return Stages()
        n, members = shape.items, len(self.members)
        room = max(1.0, BLOCK_BYTES // (4 * max(1.0, n) * (members + 3)))
        asked = min(float(self.max_users), room, shape.n_users)
        places = sum(scores_cold_items(m) for m in self.members) if shape.n_warm < n else 0
        fit = Expected.nothing()
        for part in parts:
            standardising = Expected((Work("fuse", n, n),), 6.0 * n, 0.0, 0.0, 0.0, 0.0)
            fit += part.fit + (part.in_batch + standardising).times(asked)
        cube = 4.0 * (members + 3) * n * asked
        looks = STEPS * (4.0 * members + 4.0) * n * asked
        fit += Expected((Work("stream", 4.0 * looks, cube),), looks, 0.0, 0.0, cube, 0.0, UNKNOWN_STEPS)
        for part in parts:
            fit += part.fit
        compared, scaled = n * (members + places), members + (places if places > 1 else 0)
        fused = Expected((Work("fuse-alone", compared, n),), 8.0 * n * scaled, 0.0, 0.0, 40.0 * n, 0.0, 1.3)
        score, batch = fused, replace(fused, work=(Work("fuse", compared, n),))
        for part in parts:
            score, batch = score + part.score, batch + part.in_batch
        return Stages(fit, score, batch)

    def _weights(self) -> tuple[float, ...]:
        return tuple(self.weights_.tolist())

    def _held(self, dataset: Dataset) -> Mask:
        """Return which events the weights are learned from."""
        events = dataset.interactions
        if not self.held_share:
            last = np.zeros(len(events), dtype=bool)
            last[events.offsets[1:][np.diff(events.offsets) > 1] - 1] = True
            return last
        if events.timestamp is None:
            raise DataError("held_share needs timestamps, and this log has none", hint="set held_share = 0 in the plan")
        if not len(events):
            return np.zeros(0, dtype=bool)
        return np.asarray(events.timestamp > np.quantile(events.timestamp, 1 - self.held_share))

    def _learn(self, dataset: Dataset, held: Mask) -> None:
        earlier = dataset.with_interactions(dataset.interactions.take(~held))
        self.warm_ = earlier.interactions.popularity > 0
        queries, relevant = self._examples(dataset, earlier, held)
        if not queries:
            return
        for member in self.members:
            member.fit(earlier)
        _, _, reference = self._masks(queries)
        scores = np.stack([standardised(member.score(queries), reference) for member in self.members])
        self.weights_ = most_likely_weights(scores, reference, relevant, self.ridge)

    def _examples(self, dataset: Dataset, earlier: Dataset, held: Mask) -> tuple[list[Query], list[IntArray]]:
        """Return requests of a sample of users, and the warm items new to them that they chose later."""
        events = dataset.interactions
        users = np.random.default_rng(self.seed).permutation(np.unique(events.user[held]))
        # Scores, their exponentials and one member's comparison are alive at once.
        room = BLOCK_BYTES // (4 * max(1, self.n_items_) * (len(self.members) + 3))
        queries: list[Query] = []
        relevant: list[IntArray] = []
        for user in users.tolist():
            rows = events.events_of(user)
            query = earlier.query(user)
            later = np.unique(events.item[rows][held[rows]])
            later = later[self.warm_[later] & ~np.isin(later, query.history)]
            if len(query.history) and len(later):
                queries.append(query)
                relevant.append(later)
            if len(queries) == max(1, min(self.max_users, room)):
                break
        return queries, relevant


def most_likely_weights(scores: Cube, allowed: Mask, relevant: Sequence[IntArray], ridge: float) -> FloatArray:
    """Return the weights of at least 0, float64 ``(members,)``, under which ``relevant`` items are most likely.

    ``scores`` is ``(members, queries, items)``; every query counts the same, and so does each of its items. Maximises
    the mean over queries of mean log softmax(w · scores)[relevant], less ``ridge`` / 2 · |w|².
    """
    members = len(scores)
    owner = np.repeat(np.arange(len(relevant)), [len(items) for items in relevant])
    shares = np.concatenate([np.full(len(items), 1 / len(items)) for items in relevant]) / len(relevant)
    target = scores[:, owner, np.concatenate(relevant)] @ shares

    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        total = np.tensordot(weights.astype(np.float32), scores, axes=1)
        total[~allowed] = -np.inf
        highest = total.max(axis=1, keepdims=True)
        chances = np.exp(total - highest)
        sums = chances.sum(axis=1, keepdims=True)
        chances /= sums
        expected = np.einsum("qi,mqi->m", chances, scores, optimize=True) / len(relevant)
        partition = float(np.mean(np.log(sums) + highest))
        charge(flops=(4.0 * members + 4.0) * chances.size)
        value = partition - float(weights @ target) + ridge / 2 * float(weights @ weights)
        return value, np.asarray(expected - target + ridge * weights, dtype=np.float64)

    start = np.full(members, 1 / members)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * members, options={"maxiter": 100})
    return np.asarray(found.x, dtype=np.float64)


__all__ = ["Fusion"]
