"""What a report shows beside the decision: the data, the question asked, the machine, and how to do it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from frugalrec.budgets import Budget
from frugalrec.forecast import Traffic
from frugalrec.prices import PriceSheet


@dataclass(frozen=True)
class Recommended:
    """One recommended item in words. ``reason``: a line such as `words.explain_words` returns."""

    title: str
    score: float
    reason: str


@dataclass(frozen=True)
class Example:
    """What one real user is recommended. ``history``: titles, oldest first."""

    user: str
    history: tuple[str, ...]
    recommendations: tuple[Recommended, ...]


@dataclass(frozen=True)
class Context:
    """All that the report says and the decision does not hold. Metric and floor are the decision's.

    ``split_settings`` are the settings and counts of the `Split`; ``load_report`` has one line a finding of the reader;
    ``seconds`` is what the whole run took, None where unknown; ``created`` is shown as it is.
    """

    dataset: str
    n_users: int
    n_items: int
    n_events: int
    split: str
    split_settings: Mapping[str, Any]
    traffic: Traffic
    budget: Budget
    prices: PriceSheet
    created: str
    command: str
    config: str
    machine: Mapping[str, Any] = field(default_factory=dict)
    load_report: tuple[str, ...] = ()
    seconds: float | None = None
    examples: tuple[Example, ...] = ()


__all__ = ["Context", "Example", "Recommended"]
