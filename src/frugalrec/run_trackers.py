"""A run's plans in experiment trackers: TensorBoard event files and MLflow runs, one a plan (extra ``track``)."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from frugalrec.errors import MissingExtraError
from frugalrec.prices import PriceSheet
from frugalrec.run_costs import PHASES, Run

_EXTRA = "track"
_AMOUNTS = ("seconds", "cpu_seconds", "flops", "tokens_in", "tokens_out", "peak_bytes", "joules", "fees")


def tensorboard(run: Run, prices: PriceSheet, folder: Path) -> list[str]:
    """Write an event file for each plan below ``folder``, and return the plans.

    Scalars: quality, slices and lists of the trial, then what each phase took and its price. What was tried in tuning
    is ``tuning/value``, a step each. What is unknown has no scalar. Raises `MissingExtraError` without tensorboard.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError as error:
        raise MissingExtraError.of("tensorboard", _EXTRA) from error
    trials = _trials(run.folder)
    for plan in run.plans():
        writer = EventFileWriter(str(folder / _file_name(plan)))
        points = [(name, value, 0) for name, value in _measures(run, plan, trials.get(plan), prices)]
        points += [("tuning/value", value, step) for step, value in enumerate(_tuning(trials.get(plan)))]
        for name, value, step in points:
            summary = Summary(value=[Summary.Value(tag=name, simple_value=value)])
            writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
        writer.close()
    return run.plans()


def mlflow(run: Run, prices: PriceSheet, tracking: str) -> list[str]:
    """Write an MLflow run for each plan to the tracking store ``tracking`` (a folder or a URI), and return the plans.

    The experiment is called after the run's folder. Settings are parameters, the rest is as for `tensorboard`; the tag
    ``verdict`` says what was decided. Raises `MissingExtraError` without MLflow.
    """
    try:
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise MissingExtraError.of("mlflow", _EXTRA) from error
    if "://" not in tracking:
        # Later versions of MLflow write folders only when told so; a folder is what was asked for.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        tracking = Path(tracking).resolve().as_uri()
    client = MlflowClient(tracking)
    name = run.folder.resolve().name
    known = client.get_experiment_by_name(name)
    experiment = client.create_experiment(name) if known is None else known.experiment_id
    trials, verdicts = _trials(run.folder), _verdicts(run.folder)
    now = int(time.time() * 1000)
    for plan in run.plans():
        made = client.create_run(experiment, run_name=plan)
        trial = trials.get(plan)
        metrics = [
            Metric(name.replace("@", "_at_"), value, now, 0) for name, value in _measures(run, plan, trial, prices)
        ]
        metrics += [Metric("tuning/value", value, now, step) for step, value in enumerate(_tuning(trial))]
        params = [Param(key, text[:6000]) for key, text in _settings(trial)]
        tags = [RunTag("frugalrec.plan", plan), RunTag("frugalrec.currency", prices.currency)]
        tags += [RunTag("verdict", verdicts[plan])] if plan in verdicts else []
        client.log_batch(made.info.run_id, metrics=metrics, params=params, tags=tags)
        client.set_terminated(made.info.run_id)
    return run.plans()


def _measures(run: Run, plan: str, trial: Mapping[str, Any] | None, prices: PriceSheet) -> Iterator[tuple[str, float]]:
    for kind in ("quality", "slices", "lists"):
        for name, estimate in (trial or {}).get(kind, {}).items():
            for end in ("mean", "low", "high"):
                if estimate[end] is not None:
                    yield f"{kind}/{name}" + ("" if end == "mean" else f" {end}"), float(estimate[end])
    for name, seconds in (trial or {}).get("latency_seconds", {}).items():
        yield f"latency_seconds/{name}", float(seconds)
    if trial is not None:
        yield "model_bytes", float(trial["model_bytes"])
    costs = run.costs(plan)
    for phase in PHASES:
        if phase not in costs:
            continue
        for amount in _AMOUNTS:
            if (value := getattr(costs[phase], amount)) is not None:
                yield f"cost/{phase}/{amount}", float(value)
        if (money := prices.price(costs[phase])) is not None:
            yield f"cost/{phase}/money", money


def _tuning(trial: Mapping[str, Any] | None) -> list[float]:
    return [float(note["value"]) for note in (trial or {}).get("tuning", []) if note.get("value") is not None]


def _settings(trial: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    def walk(table: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
        for key, value in table.items():
            if isinstance(value, Mapping):
                yield from walk(value, f"{path}{key}.")
            else:
                yield f"{path}{key}", value if isinstance(value, str) else json.dumps(value)

    yield from walk((trial or {}).get("settings", {}), "")


def _trials(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the newest trial of each plan; lines that cannot be read are left out."""
    found: dict[str, dict[str, Any]] = {}
    path = folder / "trials.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            table = json.loads(line)
            found[table["plan"]] = table
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _verdicts(folder: Path) -> dict[str, str]:
    try:
        document = json.loads((folder / "decision.json").read_text(encoding="utf-8"))
        return {trial["plan"]: trial["verdict"] for trial in document["trials"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _file_name(plan: str) -> str:
    """Return a plan's name as that of a folder: whatever it holds, it stays below."""
    return "".join(c if c.isalnum() or c in "-_.=+,[]" else "_" for c in plan).lstrip(".") or "_"


__all__ = ["mlflow", "tensorboard"]
