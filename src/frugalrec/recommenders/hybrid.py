"""Several recommenders as one, their scores made comparable first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal, Self

import numpy as np

from frugalrec.cost import charge
from frugalrec.data.dataset import Dataset
from frugalrec.data.interactions import FloatArray
from frugalrec.data.shape import DataShape
from frugalrec.errors import ConfigError
from frugalrec.interfaces import Matrix, Recommender
from frugalrec.recommenders._expected import expected_of
from frugalrec.recommenders._fused import Fused, Mask, deviations, scores_cold_items, standardised
from frugalrec.work import Expected, Stages, Work

RANK_OFFSET = 60.0
"""What reciprocal-rank fusion adds to a rank, so that the first few do not decide alone."""

SCALED_BY = 100
"""How many training users the scales of scores are learned from."""


@dataclass
class Hybrid(Fused):
    """Recommends by a weighted sum of its members' scores, made comparable for each query first.

    Choose it to join what users chose (collaborative members) with what items are (text members). ``z-score`` gives
    each member mean 0 and deviation 1 over the items that may be recommended; a member that scores them all alike adds
    nothing. ``reciprocal-rank`` sums 1 / (60 + rank), equal scores sharing their average rank: coarser, and safe with
    members whose scores are wild. ``scale`` divides each member's scores by one number, their deviation within a query
    over a sample of training users, so that a member still says how sure it is of each query: for members whose scores
    are a sort of probability, as those of ``sequential-linear`` and ``state-knn``. ``weights`` default to 1; members
    beyond the last weight take that one.

    Items without training events (cold ones) cannot be compared directly: collaborative members score them at their
    floor, which would drown what the text says. So the members that can score them (``scores_cold_items``) place each
    cold item among the warm ones, and it gets the fused score of that place: better than a tenth of the warm items by
    text alone means better than a tenth of them in the end. Beyond the best warm item, the distance is kept, in warm
    deviations. Warm items keep their order, so the accuracy among them stays that of the fusion.

    Time: the members', and O(items) a query (O(items log items) for ranks or cold items). Memory: the members', and
    blocks of scores. FLOPs a query beside the members': per item and member 8 for ``z-score``, 5 for
    `X
    Paper: Cormack, Clarke & Buettcher 2009.

    >>> from frugalrec.recommenders.content import Content
    >>> from frugalrec.recommenders.item_knn import ItemKnn
    >>> from frugalrec.testing.data import checkerboard
    >>> from frugalrec.testing.encoders import HashEncoder
    >>> data = checkerboard(8)
    >>> hybrid = Hybrid((ItemKnn(), Content(HashEncoder())), weights=(1.0, 0.5)).fit(data)
    >>> hybrid.recommend([data.query(5)], k=1)[0].items.tolist()
    [5]
    """

    members: tuple[Recommender, ...]
    weights: tuple[float, ...] = field(
        default=(1.0,), metadata={"tune": (0.0, 0.1, 0.3, 0.6, 1.0, 2.0), "each": "members", "stage": "score"}
    )
    method: Literal["z-score", "reciprocal-rank", "scale"] = field(
        default="z-score", metadata={"tune": ("z-score", "reciprocal-rank", "scale"), "stage": "score"}
    )
    n_items_: int = field(init=False, repr=False, compare=False)
    scales_: FloatArray = field(init=False, repr=False, compare=False)
    warm_: Mask = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raise `ConfigError` for fewer than two members, more weights than members, or a weight below 0."""
        if len(self.members) < 2:
            raise ConfigError(f"a hybrid needs at least two members, not {len(self.members)}")
        if not 0 < len(self.weights) <= len(self.members):
            raise ConfigError(f"a hybrid of {len(self.members)} members got {len(self.weights)} weights")
        if min(self.weights) < 0:
            raise ConfigError(f"weights of a hybrid must be at least 0, not {min(self.weights)}")
        self.scores_cold_items = any(scores_cold_items(member) for member in self.members)

    def fit(self, dataset: Dataset) -> Self:
        """Fit every member, and learn the scale of its scores."""
        for member in self.members:
            member.fit(dataset)
        self.warm_ = dataset.interactions.popularity > 0
        self.n_items_ = dataset.n_items
        self.scales_ = np.ones(len(self.members))
        self.rescale(dataset, range(len(self.members)))
        return self

    def rescale(self, dataset: Dataset, places: Iterable[int]) -> None:
        """Learn the scales of the scores of some members: their deviation within a query; 1 where they have none."""
        users = np.flatnonzero(np.diff(dataset.interactions.offsets))
        chosen = np.random.default_rng(0).choice(users, size=min(SCALED_BY, len(users)), replace=False)
        queries = [dataset.query(int(user)) for user in np.sort(chosen)]
        if queries:
            reference = self._masks(queries)[2]
            for place in places:
                spread = deviations(self.members[place].score(queries), reference)
                self.scales_[place] = np.sqrt(np.mean(np.square(spread))) or 1.0

    def expected(self, shape: DataShape) -> Stages:
        """Return what fitting and scoring take for data of ``shape``: the members' parts, and fusing their scores."""
        parts = [part for member in self.members if (part := expected_of(member, shape)) is not None]
        if len(parts) < len(self.members):
            return Stages()
        n = shape.items
        weighted = [(m, p) for m, p, w in zip(self.members, parts, self._weights(), strict=True) if w > 0]
        places = sum(scores_cold_items(m) for m, _ in weighted) if shape.n_warm < n else 0
        # What a single member says of cold items needs no scale of its own to be added to others.
        scaled = 8.0 * places if places > 1 else 0.0
        an_item = len(weighted) * {"z-score": 8.0, "reciprocal-rank": 5.0, "scale": 2.0}[self.method] + scaled
        # Placing cold items sorts the warm ones twice.
        compared, sorted_ = n * (len(weighted) + places), Work("rank", 2.0 * n if places else 0.0, n)
        alone = (Work("fuse-alone", compared, n), sorted_, Work("query", 1.0 if places else 0.0))
        among = (Work("fuse", compared, n), sorted_)
        fused = Expected(alone, an_item * n, 0.0, 0.0, 40.0 * n, 0.0, 1.3)
        fit = Expected.nothing()
        for part in parts:
            fit += part.fit
        # The scale of each member's scores is learned from a sample of users.
        sampled = min(float(SCALED_BY), shape.n_users)
        for part in parts:
            learned = Expected((Work("stream", 500.0 * n, 1 << 26),), 4.0 * n, 0.0, 0.0, 12.0 * n * sampled, 0.0, 1.3)
            fit += (part.in_batch + learned).times(sampled)
        score, batch = fused, replace(fused, work=among)
        for _, part in weighted:
            score, batch = score + part.score, batch + part.in_batch
        return Stages(fit, score, batch)

    def _weights(self) -> tuple[float, ...]:
        return self.weights + self.weights[-1:] * (len(self.members) - len(self.weights))

    def _comparable(self, member: int, scores: Matrix, reference: Mask) -> Matrix:
        if self.method == "scale":
            return np.asarray(scores / np.float32(self.scales_[member]))
        return standardised(scores, reference) if self.method == "z-score" else _reciprocal_ranks(scores, reference)


def _reciprocal_ranks(scores: Matrix, reference: Mask) -> Matrix:
    """Return 1 / (60 + rank) among each row's ``reference`` items; all others rank last together."""
    fused = np.empty(scores.shape, dtype=np.float32)
    for row, ranked in enumerate(np.where(reference, scores, -np.inf)):
        order = np.argsort(-ranked)
        found = ranked[order]
        starts = np.flatnonzero(np.concatenate([[True], found[1:] != found[:-1]]))
        stops = np.append(starts[1:], len(found))
        fused[row, order] = np.repeat(1.0 / (RANK_OFFSET + (starts + stops + 1) / 2), stops - starts)
    charge(flops=3.0 * scores.size)
    return fused


__all__ = ["Hybrid"]
