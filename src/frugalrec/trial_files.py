"""Trials in the folder of a run: each is kept as soon as it is finished, and found again by an interrupted run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

import frugalrec
from frugalrec.config import Config
from frugalrec.cost import threads
from frugalrec.data.interactions import FloatArray
from frugalrec.errors import FrugalrecError
from frugalrec.evaluation import SLICES, Trial
from frugalrec.plan import Plan, Spec


@dataclass(frozen=True)
class TrialFiles:
    """``trials.jsonl`` and ``values/`` in ``folder``: what was measured, and for each user apart."""

    folder: Path
    say: Callable[[str], None]

    def keep(self, trial: Trial, key: str) -> None:
        """Add a trial under ``key``, which stands for all that it depends on."""
        values = self.folder / "values"
        values.mkdir(exist_ok=True)
        np.save(values / f"{key}.npy", values_of(trial))
        with (self.folder / "trials.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, **trial.to_dict()}) + "\n")

    def finished(self) -> dict[str, Trial]:
        """Return the trials that an earlier run left in the folder, by key; half a line at the end is no trial."""
        found: dict[str, Trial] = {}
        path = self.folder / "trials.jsonl"
        if not path.exists():
            return found
        text = path.read_text(encoding="utf-8")
        if text and not text.endswith("\n"):
            with path.open("a", encoding="utf-8") as file:
                file.write("\n")  # so that the next trial does not end up on the half line
        for line in text.splitlines():
            try:
                table = json.loads(line)
                values = np.load(self.folder / "values" / f"{table['key']}.npy", allow_pickle=False)
                found[table["key"]] = with_values(table, values)
            except (ValueError, KeyError, TypeError, OSError, EOFError, FrugalrecError):
                self.say("one trial of an earlier run could not be read and is done again")
        return found


def key_of(plan: Plan, start: Spec | None, config: Config, data_fingerprint: str) -> str:
    """Return what stands for all that the trial of ``plan`` depends on; its search begins at ``start``."""
    parts: list[Any] = [
        frugalrec.__version__,
        data_fingerprint,
        plan.to_dict(),
        config.split.model_dump(),
        config.quality.metric,
        config.tuning.model_dump(),
        config.evaluation.model_dump(),
        config.seed,
        threads(),
        *([start.to_dict()] if start else []),
    ]
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def values_of(trial: Trial) -> FloatArray:
    """Return the values of a trial for each user, float64 ``(1 + n_slices, n_users)``: of all, and of each slice."""
    return np.stack([trial.values, *(trial.slice_values[name] for name in SLICES)])


def with_values(table: dict[str, object], values: FloatArray) -> Trial:
    """Return the trial of which `Trial.to_dict` is ``table`` and `values_of` are ``values``."""
    whole, *parts = np.atleast_2d(values)  # runs of before slices were kept have one row
    return Trial.from_dict(table, whole, dict(zip(SLICES, parts, strict=False)))


__all__ = ["TrialFiles", "values_of", "with_values"]
