"""The file in which a search keeps what it looked at, a line each, so that an interrupted one goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from frugalrec.errors import FrugalrecError
from frugalrec.narrowing import Looked
from frugalrec.plan import Plan

NUMBERS = ("fit_seconds", "query_seconds", "cpu_seconds", "growth", "query_growth", "share", "fits", "setting_seconds")
"""What is kept of a look beside the plan and its values."""


def line_of(looked: Looked) -> dict[str, Any]:
    """Return a look as a table that goes into a file."""
    values = [None if np.isnan(v) else round(float(v), 6) for v in looked.values]
    found = {"plan": looked.plan.to_dict(), "values": values, "stopped_at": looked.stopped_at, "ready": looked.ready}
    return found | {"tried": list(looked.tried)} | {n: getattr(looked, n) for n in NUMBERS}


def looked_of(line: Mapping[str, Any]) -> Looked:
    """Return what `line_of` was made of."""
    values = np.array([np.nan if v is None else v for v in line["values"]], dtype=np.float64)
    numbers = {n: float(line[n]) for n in NUMBERS if n in line}  # an earlier version kept fewer
    plan, tried, ready = Plan.from_dict(line["plan"]), line.get("tried", ()), bool(line.get("ready", False))
    return Looked(plan, values, **numbers, stopped_at=line["stopped_at"], tried=tried, ready=ready)


def lines_of(path: Path) -> dict[str, dict[str, Any]]:
    """Return what an earlier run kept, by key; what cannot be read is done again."""
    found: dict[str, dict[str, Any]] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                table = json.loads(line)
                found[table["key"]] = {**table, "cpu_seconds": float(table["cpu_seconds"])}
            except (ValueError, KeyError, TypeError, FrugalrecError):
                continue
    return found


__all__ = ["line_of", "lines_of", "looked_of"]
