"""The folder of a finished run: ``plan.toml`` (what was chosen, on what), ``decision.json`` and ``model/``."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

import frugalrec
from frugalrec.config import DataSection, parse_config
from frugalrec.errors import ConfigError, UnknownNameError
from frugalrec.forecast import Traffic, monthly
from frugalrec.interfaces import ArrayStore
from frugalrec.pipeline import Pipeline
from frugalrec.plan import Plan
from frugalrec.planner import Choice, Decision
from frugalrec.prices import PriceSheet

_KEYS = ("frugalrec", "plan", "data", "fingerprints", "prices", "requests")


@dataclass(frozen=True)
class PlanFile:
    """A chosen plan with the data and prices it was chosen on. The fingerprints tell whether they are the same still.

    ``price_sheet`` is the path of the sheet, or empty for the one that comes with frugalrec. ``repeats``: the plan was
    chosen on requests that may return items of the history, and so is asked such requests.
    """

    plan: Plan
    data: DataSection
    data_fingerprint: str
    price_sheet: str
    price_fingerprint: str
    repeats: bool = False

    @classmethod
    def read(cls, path: Path) -> PlanFile:
        """Read a ``plan.toml``; raises `ConfigError` saying what is wrong with it."""
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ConfigError(f"{path}: no such file", hint="frugalrec plan and frugalrec demo write one") from error
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read as a plan: {error}") from error
        for key in table:
            if key not in _KEYS:
                raise UnknownNameError.of("key", key, _KEYS, where=str(path))
        for key in ("prices", "requests"):
            table.setdefault(key, {})
        for key in ("plan", "data", "fingerprints", "prices", "requests"):
            if not isinstance(table.get(key), dict):
                raise ConfigError(f"{path}: the table [{key}] is missing", hint="is this the plan.toml of a run?")
        prints = table["fingerprints"]
        return cls(
            plan=Plan.from_dict(table["plan"]),
            data=parse_config({"data": table["data"]}, str(path)).data,
            data_fingerprint=str(prints.get("data", "")),
            price_sheet=str(table["prices"].get("sheet", "")),
            price_fingerprint=str(prints.get("prices", "")),
            repeats=table["requests"].get("repeats") is True,
        )

    def write(self, path: Path) -> None:
        """Write a ``plan.toml``, whole or not at all."""
        table = {
            "frugalrec": frugalrec.__version__,
            "fingerprints": {"data": self.data_fingerprint, "prices": self.price_fingerprint},
            "data": self.data.model_dump(exclude_none=True, exclude_defaults=True),
            "prices": {"sheet": self.price_sheet},
            **({"requests": {"repeats": True}} if self.repeats else {}),
            "plan": self.plan.to_dict(),
        }
        header = "# Chosen by frugalrec. Fit exactly this plan with: frugalrec run plan.toml\n"
        write_whole(path, header + tomli_w.dumps(table))

    def check_data(self, fingerprint: str) -> None:
        """Raise `ConfigError` unless the data are those that the plan was chosen on."""
        if fingerprint != self.data_fingerprint:
            raise ConfigError(
                f"the data have changed since the plan was chosen ({self.data_fingerprint} then, {fingerprint} now)",
                hint="choose again with frugalrec plan, or accept the change with --accept-changes",
            )

    def check_prices(self, sheet: PriceSheet) -> None:
        """Raise `ConfigError` unless the prices are those that the plan was chosen at."""
        if sheet.fingerprint() != self.price_fingerprint:
            raise ConfigError(
                f"prices have changed since the plan was chosen ({self.price_fingerprint} then, "
                f"{sheet.fingerprint()} now)",
                hint="choose again with frugalrec plan, or accept the change with --accept-changes",
            )


def load_model(folder: Path, plan: Plan, store: ArrayStore | None) -> Pipeline:
    """Return the fitted pipeline of a run; raises `NotFittedError` when the run kept no model."""
    return plan.build(store).load(folder / "model")


def write_decision(folder: Path, document: Mapping[str, Any]) -> None:
    """Write ``decision.json``: the decision and all trials with their verdicts, as `document` returns them."""
    write_whole(folder / "decision.json", json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def document(decision: Decision, traffic: Traffic) -> dict[str, Any]:
    """Return the decision and all trials as one JSON document: what ``frugalrec plan --json`` prints."""
    return {"decision": decision.to_dict(), "trials": [_trial(choice, traffic) for choice in decision.choices]}


def _trial(choice: Choice, traffic: Traffic) -> dict[str, Any]:
    trial = choice.trial.to_dict()
    bill = choice.bill
    money = {"once": bill.once, "per_refresh": bill.refresh, "per_request": None, "per_month": bill.month}
    if bill.thousand_requests is not None:
        money["per_request"] = bill.thousand_requests / 1000
    trial["cost"]["per_month"] = monthly(dict(choice.trial.cost), traffic).to_dict()
    for phase, amounts in trial["cost"].items():
        amounts["money"] = money[phase]
    trial["cost"]["currency"] = bill.currency
    return {**trial, "verdict": choice.verdict, "reason": choice.reason}


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that it is there whole or not at all."""
    written = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        written.write_text(text, encoding="utf-8")
        os.replace(written, path)
    finally:
        written.unlink(missing_ok=True)
