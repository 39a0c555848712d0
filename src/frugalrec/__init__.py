"""frugalrec: recommenders that use a language model where it pays, and can prove it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from frugalrec.cost import Cost, Ledger
    from frugalrec.data.catalog import Catalog
    from frugalrec.data.dataset import Dataset, Query, Ranking, Split
    from frugalrec.data.interactions import Interactions
    from frugalrec.data.loading import load
    from frugalrec.errors import FrugalrecError
    from frugalrec.evaluation import Trial
    from frugalrec.pipeline import Pipeline
    from frugalrec.plan import Plan
    from frugalrec.planner import Decision
    from frugalrec.prices import PriceSheet

_HOMES = {
    "Catalog": "data.catalog",
    "Cost": "cost",
    "Dataset": "data.dataset",
    "Decision": "planner",
    "FrugalrecError": "errors",
    "Interactions": "data.interactions",
    "Ledger": "cost",
    "Pipeline": "pipeline",
    "Plan": "plan",
    "PriceSheet": "prices",
    "Query": "data.dataset",
    "Ranking": "data.dataset",
    "Split": "data.dataset",
    "Trial": "evaluation",
    "load": "data.loading",
}

__all__ = [
    "Catalog",
    "Cost",
    "Dataset",
    "Decision",
    "FrugalrecError",
    "Interactions",
    "Ledger",
    "Pipeline",
    "Plan",
    "PriceSheet",
    "Query",
    "Ranking",
    "Split",
    "Trial",
    "load",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import frugalrec`` is quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'frugalrec' has no attribute '{name}'")
    return getattr(importlib.import_module(f"frugalrec.{_HOMES[name]}"), name)
