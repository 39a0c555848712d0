"""What a forecast is made of, and what comes out: a size and assumptions, rows, and where lines cross."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from frugalrec.errors import ConfigError
from frugalrec.forecast import DAYS_A_MONTH

HOURS_A_MONTH = 24 * DAYS_A_MONTH
SPREAD = 1.25
"""The factor that forecasts of compute are meant to keep to, within `CHECKED` times the size that was measured."""

CHECKED = 10.0
"""Formulas were compared with runs over this factor in size; beyond, a forecast is an order of magnitude."""


_ALIKE = 0.01


@dataclass(frozen=True)
class Size:
    """The size to forecast for. ``catalogue_growth`` is the share of new items a month."""

    users: float
    items: float
    requests_per_second: float
    refreshes_per_day: float = 1.0
    catalogue_growth: float = 0.0

    def __post_init__(self) -> None:
        for name in ("users", "items", "requests_per_second", "refreshes_per_day"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ConfigError(f"{name.replace('_', '-')} must be above 0, not {value:g}")
        if not 0 <= self.catalogue_growth < math.inf:
            raise ConfigError(f"catalogue-growth must be at least 0, not {self.catalogue_growth:g}")


@dataclass(frozen=True)
class Assumptions:
    """What the arithmetic takes for granted.

    ``utilisation``: share of a machine's cores that answers requests at the daily mean; ``replicas``: copies of every
    shard, at least; ``memory_share``: of a machine's memory that a model may fill; ``parallel``: how well a fit uses
    further cores and machines; ``refresh_share``: how much of the time between refreshes a fit may take;
    ``hop_seconds``: a round trip between machines; ``list_length`` items an answer of ``response_bytes``;
    ``history_bytes`` an event kept for its user; ``stored_copies`` of the model. For language models on own GPUs,
    ``gpu_share`` of the peak arithmetic is reached, ``gpu_memory_share`` of a GPU holds weights, and ``gpu_batch``
    requests are written at once. ``latency_limit`` seconds is what users still call fast.
    """

    utilisation: float = 0.5
    replicas: int = 2
    memory_share: float = 0.6
    parallel: float = 0.7
    hop_seconds: float = 0.0005
    list_length: int = 10
    response_bytes: float = 1000.0
    history_bytes: float = 12.0
    refresh_share: float = 0.5
    stored_copies: int = 2
    gpu_share: float = 0.4
    gpu_memory_share: float = 0.8
    gpu_batch: int = 32
    latency_limit: float = 0.1


@dataclass(frozen=True)
class PerRequestModel:
    """A language model that is asked at every request: parameters, tokens read and written."""

    parameters: float
    tokens_in: float
    tokens_out: float
    name: str = ""


@dataclass(frozen=True)
class Row:
    """A plan at the forecast's size. None is unknown. ``money`` is a month's, by what it pays for.

    The topology: the items are split into ``item_shards``, each on ``replicas`` machines; the histories of users lie
    spread over all machines, ``users_a_machine`` on each. A fit takes ``refresh_bytes`` at its peak and on one machine
    ``refresh_alone_seconds``; for that time, memory aside, ``refresh_machines_in_time`` would do.
    """

    plan: str
    hardware: str
    machines: float | None
    item_shards: int | None
    replicas: int | None
    refresh_machines: float | None
    refresh_seconds: float | None
    latency_seconds: float | None
    model_bytes: float | None
    storage_bytes: float | None
    network_bytes_per_second: float | None
    kwh: float | None
    co2e_kg: float | None
    money: Mapping[str, float] | None
    request_seconds: float | None = None
    items_a_shard: float | None = None
    users_a_machine: float | None = None
    requests_per_second: float = 0.0
    unknown: str = ""
    refresh_bytes: float | None = None
    refresh_alone_seconds: float | None = None
    refresh_machines_in_time: float | None = None

    @property
    def month(self) -> float | None:
        """Money a month."""
        return None if self.money is None else sum(self.money.values())

    @property
    def name(self) -> str:
        """The plan and what it is computed on."""
        return f"{self.plan} on {self.hardware}"

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return {**asdict(self), "money": None if self.money is None else dict(self.money), "month": self.month}


@dataclass(frozen=True)
class Break:
    """What no longer works on the way to the size, and where: the first of its kind."""

    plan: str
    what: str
    users: float
    items: float
    requests_per_second: float


def crossings(rates: Sequence[float], lines: Mapping[str, Sequence[float]]) -> list[tuple[float, str, str]]:
    """Return ``(requests a second, cheaper below, cheaper above)`` wherever two lines cross, by ascending traffic.

    Lines less than `_ALIKE` apart are not told apart: machines are bought whole, and such lines touch often.
    """
    found = []
    for a, b in combinations(lines, 2):
        before, since = 0, 0
        for i, (one, other) in enumerate(zip(lines[a], lines[b], strict=True)):
            sign = 0 if abs(one - other) <= _ALIKE * min(one, other) else 1 if one > other else -1
            if sign and before and sign != before:
                at = math.sqrt(rates[since] * rates[i])
                found.append((at, a, b) if before < 0 else (at, b, a))
            if sign:
                before, since = sign, i
    return sorted(found)


__all__ = [
    "CHECKED",
    "HOURS_A_MONTH",
    "SPREAD",
    "Assumptions",
    "Break",
    "PerRequestModel",
    "Row",
    "Size",
    "crossings",
]
