"""Top-k lists → numbers that need no truth: what a plan shows, beside how well it answers. One metric a file.

Every list metric takes `Lists` and returns float64. Those about one list (``novelty``, ``diversity``,
``popularity-bias``) return a number a query, ``(n,)``, NaN where the list does not tell. Those about all lists together
(``coverage``, ``gini``) return ``(1,)``. The lists are as long as they come; cut them before to compare at a given k.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from frugalrec.data.interactions import FloatArray
from frugalrec.interfaces import Lists
from frugalrec.list_metrics.coverage import Coverage
from frugalrec.list_metrics.diversity import Diversity
from frugalrec.list_metrics.gini import Gini
from frugalrec.list_metrics.novelty import Novelty
from frugalrec.list_metrics.popularity_bias import PopularityBias


class ListMetric(Protocol):
    """Top-k lists → one number a query, or one for all."""

    def __call__(self, lists: Lists) -> FloatArray:
        """Return float64 ``(n,)``, or ``(1,)`` for a number about all lists together; NaN where unknown."""
        ...


LIST_METRICS: Mapping[str, ListMetric] = MappingProxyType(
    {
        "coverage": Coverage(),
        "diversity": Diversity(),
        "gini": Gini(),
        "novelty": Novelty(),
        "popularity-bias": PopularityBias(),
    }
)
"""Every list metric by its name in a report."""

__all__ = ["LIST_METRICS", "ListMetric"]
