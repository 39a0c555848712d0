"""An exhaustive grid over the settings of plans, really run: every combination, on all validation users.

What a careful person would share is shared: one fit for all settings that only scoring depends on, one pass over the
log for all settings that only solving depends on, and scores that are linear in a setting are added up, not made again.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from frugalrec import metrics, registry
from frugalrec.data.dataset import Query, Split
from frugalrec.errors import DataError
from frugalrec.plan import Plan, Spec
from frugalrec.recommenders._base import mask_scores
from frugalrec.recommenders._sharded import accumulated
from frugalrec.tuning_space import members_space, search_space

QUERIES_AT_ONCE = 1000
Cheap = Mapping[str, tuple[Any, ...]]
Scale = Callable[[int, Mapping[str, Any]], float]
Space = Mapping[str, tuple[str, tuple[Any, ...]]]
Scored = Iterator[tuple[dict[str, Any], np.ndarray[Any, Any]]]


@dataclass(frozen=True)
class Grid:
    """A grid over one plan: ``space`` maps each setting to its stage and values. `run` looks at what is not kept yet.

    A line of ``path`` is one fit: settings that need one, the metric under all settings that do not, and CPU seconds.
    """

    plan: Plan
    space: Space
    split: Split
    metric: str
    path: Path

    @property
    def size(self) -> int:
        """The number of combinations."""
        return math.prod(len(values) for _, values in self.space.values())

    def run(self, say: Callable[[str], None]) -> None:
        """Look at every combination, those that share sums one after another."""
        done = {line["key"] for line in self.kept()}
        dear = {n: values for n, (stage, values) in self.space.items() if stage != "score"}
        # What the sums depend on changes last.
        dear = dict(sorted(dear.items(), key=lambda item: self.space[item[0]][0] != "accumulate"))
        of_sums = [n for n in dear if self.space[n][0] == "accumulate"]
        sums: tuple[tuple[Any, ...], Any] | None = None
        for values in itertools.product(*dear.values()):
            settings = dict(zip(dear, values, strict=True))
            if (key := json.dumps(settings)) in done:
                continue
            began = time.process_time()
            built = replace(self.plan, recommender=self.plan.recommender.with_settings(**settings)).build()
            pipeline = built.encode(self.split.train)
            model: Any = pipeline.recommender
            line: dict[str, Any] = {"key": key, "settings": settings}
            try:
                if hasattr(model, "accumulate"):
                    model.read(self.split.train.catalog)
                    wanted = tuple(settings[n] for n in of_sums)
                    if sums is None or sums[0] != wanted:
                        sums = None
                        sums = (wanted, accumulated(model, self.split.train.interactions))
                    model.solve(sums[1])
                else:
                    model.fit(self.split.train)
                line["fit_seconds"] = time.process_time() - began
                line["found"] = list(self._judged(model))
            except DataError as error:
                line |= {"found": [], "passed_over": error.message}
            line["cpu_seconds"] = time.process_time() - began
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            best = max((value for _, value in line["found"]), default=float("nan"))
            say(f"{self.plan.name} {key}: {best:.4f}, {len(line['found'])} settings, {line['cpu_seconds']:.1f} s")

    def kept(self) -> list[dict[str, Any]]:
        """Return what was looked at, a table a fit."""
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]

    def best(self) -> tuple[dict[str, Any], float]:
        """Return the best settings and their value; the first of equals."""
        found = [({**line["settings"], **cheap}, value) for line in self.kept() for cheap, value in line["found"]]
        settings, value = max(found, key=lambda pair: pair[1])
        return {n: tuple(v) if isinstance(v, list) else v for n, v in settings.items()}, value

    def _judged(self, model: Any) -> Iterator[tuple[dict[str, Any], float]]:
        """Yield the metric over all validation queries under each combination of settings for scoring."""
        cheap = {n: values for n, (stage, values) in self.space.items() if stage == "score"}
        scales: dict[str, float] = {}

        def scale(place: int, settings: Mapping[str, Any]) -> float:
            key = json.dumps([place, settings])
            if key not in scales:
                for name, value in settings.items():
                    setattr(model.members[place], name, value)
                model.rescale(self.split.train, [place])
                scales[key] = float(model.scales_[place])
            return scales[key]

        metric, fold = metrics.parse(self.metric), self.split.validation
        found: dict[str, list[np.ndarray[Any, Any]]] = defaultdict(list)
        for start in range(0, len(fold), QUERIES_AT_ONCE):
            queries = fold.queries[start : start + QUERIES_AT_ONCE]
            relevant = fold.relevant[start : start + QUERIES_AT_ONCE]
            barred = mask_scores(np.zeros((len(queries), model.n_items_), dtype=np.float32), queries)
            for settings, scores in scored(model, cheap, queries, scale):
                found[json.dumps(settings)].append(metric(metrics.ranks_of(scores + barred, relevant)))
        for key, values in found.items():
            yield json.loads(key), float(np.nanmean(np.concatenate(values)))


def space_of(plan: Plan, only: Mapping[str, tuple[Any, ...]]) -> dict[str, tuple[str, tuple[Any, ...]]]:
    """Return the values worth trying that the plan's components declare, or those of ``only``."""
    space = search_space(plan.recommender)
    space |= members_space(space, plan.recommender)
    if "weights" in space:
        # One number for all weights changes no ranking: the first member keeps weight 1.
        others = len(plan.recommender.settings["members"]) - 1
        values = only.get("weights", space["weights"][1])
        space["weights"] = ("score", tuple((1.0, *rest) for rest in itertools.product(values, repeat=others)))
    return {n: (stage, only.get(n, values) if n != "weights" else values) for n, (stage, values) in space.items()}


def scored(model: Any, cheap: Cheap, queries: Sequence[Query], scale: Scale) -> Scored:
    """Yield the scores of ``queries`` under each combination of settings that only scoring depends on.

    ``scale`` tells the scale of the scores of a member of ``model``, by its place, under some settings of its own.
    """
    if getattr(model, "method", "") == "scale":
        yield from _blended(model, cheap, queries, scale)
    elif "text_weight" in cheap:
        yield from _with_text(model, cheap, queries)
    elif "sharpness" in cheap:
        yield from _by_neighbours(model, cheap, queries)
    else:
        for values in itertools.product(*cheap.values()):
            settings = dict(zip(cheap, values, strict=True))
            for name, value in settings.items():
                setattr(model, name, value)
            yield settings, model.score(queries)


def _with_text(model: Any, cheap: Cheap, queries: Sequence[Query]) -> Scored:
    """Scores are linear in the weight of the text."""
    model.text_weight = 0.0
    without = model.score(queries)
    for half_life in cheap["text_half_life"]:
        model.text_weight, model.text_half_life = 1.0, half_life
        text = model.score(queries) - without
        for weight in cheap["text_weight"]:
            yield {"text_weight": weight, "text_half_life": half_life}, without + np.float32(weight) * text


def _by_neighbours(model: Any, cheap: Cheap, queries: Sequence[Query]) -> Scored:
    """Fewer neighbours are the nearest of more, and how sharply they vote asks for no new ones."""
    model.recalled = {}
    for neighbours, sharpness in itertools.product(cheap["neighbours"], cheap["sharpness"]):
        model.neighbours, model.sharpness = neighbours, sharpness
        yield {"neighbours": neighbours, "sharpness": sharpness}, model.score(queries)


def _blended(model: Any, cheap: Cheap, queries: Sequence[Query], scale: Scale) -> Scored:
    """Every member's scores under each of its own settings, at the scale they have there; then sums of these."""
    parts: list[list[tuple[dict[str, Any], np.ndarray[Any, Any]]]] = []
    for place, member in enumerate(model.members):
        prefix = f"members.{place}."
        own = {name.removeprefix(prefix): values for name, values in cheap.items() if name.startswith(prefix)}
        part = list(scored(member, own, queries, scale))
        parts.append(
            [({prefix + n: v for n, v in s.items()}, scores / np.float32(scale(place, s))) for s, scores in part]
        )
    for combination in itertools.product(*parts):
        settings = {name: value for own, _ in combination for name, value in own.items()}
        for weights in cheap["weights"]:
            total = sum(np.float32(w) * scores for w, (_, scores) in zip(weights, combination, strict=True))
            yield {**settings, "weights": list(weights)}, np.asarray(total)


def placed(plan: Plan, settings: Mapping[str, Any]) -> Plan:
    """Return ``plan`` with ``settings``, those of its members among them."""
    spec: Spec = plan.recommender.with_settings(**{n: v for n, v in settings.items() if not n.startswith("members.")})
    for name, value in settings.items():
        if name.startswith("members."):
            _, place, setting = name.split(".")
            members = list(spec.settings["members"])
            members[int(place)] = members[int(place)].with_settings(**{setting: value})
            spec = spec.with_settings(members=tuple(members))
    return replace(plan, recommender=spec)


def seconds_of(grids: Iterable[Grid]) -> float:
    """Return the CPU seconds of all that was looked at."""
    return float(sum(line["cpu_seconds"] for grid in grids for line in grid.kept()))


def full_size(plan: Plan) -> int:
    """Return how many combinations the values that components declare make."""
    space = search_space(plan.recommender)
    space |= members_space(space, plan.recommender)
    each = registry.settings_of(registry.load("recommender", plan.recommender.component))
    sizes = []
    for name, (_, values) in space.items():
        one_a_member = not name.startswith("members.") and "each" in each[name.replace("_", "-")].metadata
        sizes.append(len(values) ** (len(plan.recommender.settings["members"]) if one_a_member else 1))
    return math.prod(sizes)


__all__ = ["Grid", "full_size", "placed", "scored", "seconds_of", "space_of"]
