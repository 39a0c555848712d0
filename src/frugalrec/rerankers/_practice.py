"""Requests like those to come, whose answers are known: what rerankers learn from, and lists put in a new order."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize

from frugalrec import progress, registry
from frugalrec.cost import charge
from frugalrec.data.dataset import Dataset, Query, Ranking
from frugalrec.data.interactions import FloatArray
from frugalrec.interfaces import Recommender, Reranker

Rows = np.ndarray[Any, np.dtype[np.int64]]
Cube = np.ndarray[Any, np.dtype[np.float64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

ASKED_AT_ONCE = 64


@dataclass(frozen=True)
class Practice:
    """Held-out requests. ``places[i]``: where the answer of ``queries[i]`` stands in ``rankings[i]``, -1 if nowhere.

    ``earlier`` holds the events that everything was fitted on; ``owners[i]`` is the user who asked.
    """

    earlier: Dataset
    queries: Sequence[Query]
    rankings: Sequence[Ranking]
    places: Rows
    owners: Rows

    def __len__(self) -> int:
        return len(self.queries)

    def take(self, rows: Rows) -> Practice:
        """Return the requests at ``rows``."""
        return Practice(
            self.earlier,
            [self.queries[i] for i in rows],
            [self.rankings[i] for i in rows],
            self.places[rows],
            self.owners[rows],
        )

    def parted(self, share: float, seed: int) -> tuple[Practice, Practice]:
        """Return the requests of most users, and those of a ``share`` of them: nobody is in both."""
        users = np.random.default_rng([seed, 1]).permutation(np.unique(self.owners))
        held = np.isin(self.owners, users[: round(share * len(users))])
        return self.take(np.flatnonzero(~held)), self.take(np.flatnonzero(held))


def practise(
    dataset: Dataset, retriever: Recommender, depth: int, *, requests: int, tail: int = 1, seed: int = 0
) -> Practice:
    """Hold out the ``tail`` last events of users drawn at random, and ask ``retriever``, fitted on the rest, for them.

    Each held-out event is a request: the history is all before it, the answer the event. About ``requests`` of them are
    made, those whose answer the user had met before left out. Users keep at least one event. ``retriever`` itself is
    left unfitted, so that nothing of it is saved with a model.
    """
    log = dataset.interactions
    lengths = np.diff(log.offsets)
    users = np.random.default_rng([seed, 0]).permutation(np.flatnonzero(lengths > 1))
    counts = np.minimum(tail, lengths[users] - 1)
    enough = int(np.searchsorted(np.cumsum(counts), requests)) + 1
    rows = [np.arange(log.offsets[u + 1] - n, log.offsets[u + 1]) for u, n in zip(users, counts, strict=True)][:enough]
    held = np.concatenate([np.empty(0, dtype=np.int64), *rows])
    learnt = np.ones(len(log), dtype=bool)
    learnt[held] = False
    earlier = dataset.with_interactions(log.take(learnt))
    queries, answers, owners = [], [], []
    for row in held.tolist():
        user = int(log.user[row])
        first = int(log.offsets[user])
        if log.item[row] in log.item[first:row]:
            continue
        times = None if log.timestamp is None else log.timestamp[first:row]
        queries.append(Query(history=log.item[first:row], times=times, user=user))
        answers.append(int(log.item[row]))
        owners.append(user)
    rankings = unfitted(retriever).fit(earlier).recommend(queries, depth) if queries else []
    places = [_place(ranking, answer) for ranking, answer in zip(rankings, answers, strict=True)]
    return Practice(
        earlier, queries, rankings, np.array(places, dtype=np.int64), np.array(owners, dtype=np.int64)
    )  # fmt: skip


def reranked(reranker: Reranker, lists: Practice, stage: str) -> list[Ranking]:
    """Return the rankings of ``lists`` after ``reranker``, and report how far it is under the name ``stage``."""
    found: list[Ranking] = []
    for start in range(0, len(lists), ASKED_AT_ONCE):
        progress.report(stage, start, len(lists))
        part = lists.take(np.arange(start, min(start + ASKED_AT_ONCE, len(lists))))
        found += reranker.rerank(part.queries, part.rankings)
    progress.report(stage, len(lists), len(lists))
    return found


def unfitted(component: Any) -> Any:
    """Return a component with the same settings that has learned nothing, the recommenders in it likewise."""
    parts: dict[str, Any] = {}
    for declared in dataclasses.fields(component):
        if declared.init and registry.kind_of(str(declared.type)) in ("recommender", "reranker"):
            value = getattr(component, declared.name)
            if isinstance(value, tuple):
                parts[declared.name] = tuple(map(unfitted, value))
            elif value is not None:
                parts[declared.name] = unfitted(value)
    return dataclasses.replace(component, **parts)


def conditional_logit(lists: Sequence[FloatArray], chosen: Rows, *, ridge: float) -> FloatArray:
    """Return the weights, float64 ``(features,)``, under which the chosen rows of ``lists`` are most likely.

    Each list is ``(candidates, features)``; maximises the sum of log softmax(list · w)[chosen] less ``ridge`` / 2 ·
    |w|² (McFadden 1974). Concave, solved by L-BFGS. Without lists, all weights are 0. Charges 4 FLOPs a cell and step.
    """
    width = lists[0].shape[1] if lists else 0
    cube = np.zeros((len(lists), max((len(x) for x in lists), default=0), width))
    there = np.zeros(cube.shape[:2], dtype=bool)
    for row, features in enumerate(lists):
        cube[row, : len(features)], there[row, : len(features)] = features, True
    rows = np.arange(len(lists))

    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        logits = np.where(there, cube @ weights, -np.inf)
        highest = logits.max(axis=1, keepdims=True)
        chances = np.exp(logits - highest)
        sums = chances.sum(axis=1, keepdims=True)
        charge(flops=4.0 * cube.size)
        value = float((np.log(sums[:, 0]) + highest[:, 0] - logits[rows, chosen]).sum())
        slope = np.einsum("qi,qif->f", chances / sums, cube) - cube[rows, chosen].sum(axis=0)
        return value + ridge / 2 * float(weights @ weights), slope + ridge * weights

    if not lists:
        return np.zeros(width)
    found = minimize(loss, np.zeros(width), jac=True, method="L-BFGS-B", options={"maxiter": 200})
    return np.asarray(found.x, dtype=np.float64)


def _place(ranking: Ranking, answer: int) -> int:
    found = np.flatnonzero(ranking.items == answer)
    return int(found[0]) if len(found) else -1


__all__ = ["Practice", "conditional_logit", "practise", "reranked", "unfitted"]
