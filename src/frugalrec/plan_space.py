"""A plan of one's own with alternatives in it → a plan for each of their combinations."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from frugalrec.errors import ConfigError

MOST_PLANS = 200
"""A space holds so many plans at most."""


def expanded(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tables of all plans that ``table`` stands for: itself, where it has no ``space``.

    ``space`` maps the place of a setting, with dots, to the values it may take; a value may be a table, and ``false``
    leaves the setting out. Each plan is called after what it takes: ``name[setting=value,…]``. Raises `ConfigError` on
    a place that is none, on no alternatives, and on more than `MOST_PLANS` plans.

    >>> plan = {"name": "mine", "recommender": {"component": "ease"}, "space": {"recommender.ridge": [10.0, 30.0]}}
    >>> [(p["name"], p["recommender"]["ridge"]) for p in expanded(plan)]
    [('mine[ridge=10]', 10.0), ('mine[ridge=30]', 30.0)]
    """
    if "space" not in table:
        return [dict(table)]
    name, space = table.get("name"), table["space"]
    where = f"the space of plan '{name}'"
    if not isinstance(space, Mapping) or not space:
        raise ConfigError(
            f"{where} must be a table of lists, not {space!r}",
            hint='write space = { "recommender.ridge" = [10.0, 30.0] }',
        )
    for place, values in space.items():
        if not isinstance(values, list | tuple) or not values:
            raise ConfigError(f"{where}: {place} needs a list of values, not {values!r}")
        if any(value == other for value, other in itertools.combinations(values, 2)):
            raise ConfigError(f"{where}: {place} has a value twice")
    count = math.prod(len(values) for values in space.values())
    if count > MOST_PLANS:
        raise ConfigError(
            f"{where} holds {count:,} plans, and {MOST_PLANS} are the most", hint="leave settings to [tuning]"
        )
    rest = {key: value for key, value in table.items() if key != "space"}
    plans = []
    for values in itertools.product(*space.values()):
        plan = copy.deepcopy(rest)
        for place, value in zip(space, values, strict=True):
            _put(plan, place, value, where)
        told = ",".join(f"{_label(place)}={_word(value)}" for place, value in zip(space, values, strict=True))
        plan["name"] = f"{name}[{told}]"
        plans.append(plan)
    return plans


def _put(plan: dict[str, Any], place: str, value: Any, where: str) -> None:
    *path, last = place.split(".")
    inner: Any = plan
    for part in path:
        inner = inner.get(part) if isinstance(inner, dict) else None
        if not isinstance(inner, dict):
            raise ConfigError(
                f"{where}: there is no table '{part}' on the way to {place}",
                hint='places begin with "recommender." or "reranker.", as in "recommender.encoder.component"',
            )
    if value is False:
        inner.pop(last, None)
    else:
        inner[last] = copy.deepcopy(value)


def _label(place: str) -> str:
    parts = [part for part in place.split(".") if part != "component"]
    return parts[-1] if parts else place


def _word(value: Any) -> str:
    if value is False:
        return "no"
    if isinstance(value, Mapping):
        return str(value.get("component", value.get("plan", "table")))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "+".join(map(_word, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


__all__ = ["MOST_PLANS", "expanded"]
