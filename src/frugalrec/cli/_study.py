"""What ``frugalrec demo`` and ``frugalrec plan`` share: run a study, write its folder, print what came out."""

from __future__ import annotations

import json
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import tomli_w
import typer
from rich.console import Console

from frugalrec import machine_profile
from frugalrec.assets import without_fetching
from frugalrec.budgets import Budget
from frugalrec.cli._console import shown_progress
from frugalrec.cli._workers import working
from frugalrec.cli.assets import shown_on_stderr
from frugalrec.config import Config
from frugalrec.cost import Ledger, threads
from frugalrec.data.dataset import Dataset
from frugalrec.data.loading import LoadReport
from frugalrec.datasets import load_data, located
from frugalrec.errors import BudgetError
from frugalrec.machine import describe
from frugalrec.pipeline import Pipeline
from frugalrec.planner import Decision
from frugalrec.prices import PriceSheet
from frugalrec.report import html, tables, words
from frugalrec.report.context import Context, Example, Recommended
from frugalrec.run_folder import PlanFile, document, write_decision, write_whole
from frugalrec.run_record import RunRecord
from frugalrec.stores.array_cache import ArrayCache
from frugalrec.study import Study

EXAMPLE_USERS = 3
INTERRUPTED = 130


def run_study(
    config: Config, base: Path, folder: Path, command: str, *, offline: bool, as_json: bool, fresh: bool
) -> int:
    """Do the whole job and return the exit code: 0, 1 when no plan is feasible, `INTERRUPTED` when it was cut short."""
    from threadpoolctl import threadpool_limits

    began, started, compute = time.time(), time.perf_counter(), config.compute
    ledger = Ledger(folder / "ledger.jsonl")
    with threadpool_limits(limits=threads()), without_fetching() if offline else nullcontext():
        with shown_on_stderr() as (notify, fetch_progress), ledger.span("load data", plan="(study)", phase="once"):
            dataset, loaded = load_data(
                config.data, base, offline=offline, notify=notify, progress=fetch_progress, seed=config.seed
            )
        sheet = base / config.prices.sheet if config.prices.sheet else None
        prices = PriceSheet.load(sheet)
        if fresh and (folder / "trials.jsonl").exists():
            (folder / "trials.jsonl").unlink()
        with shown_progress() as say:
            for line in loaded.lines():
                say(line)
            with ledger.span("prepare", plan="(study)", phase="once"):
                profile = machine_profile.load()
                study = Study(config, dataset, prices, folder, ArrayCache(), say, profile=profile, ledger=ledger)
                record = RunRecord.of(study.data_fingerprint, profile, started=began, command=command)
                write_whole(folder / "run.json", record.after_those_in(folder).to_json())
                _check_caps(study)
            with working(compute.executor, compute.workers, compute.checkpoints, compute.ray_address):
                decision = study.run()
                write_decision(folder, document(decision, study.traffic))
                examples: list[Example] = []
                if decision.plan is not None:
                    pipeline = study.final(decision.choice(decision.plan).trial.plan)
                    with ledger.span("save the model", plan="(study)", phase="once"):
                        pipeline.save(folder / "model")
                    _plan_file(study, config, base, sheet, pipeline).write(folder / "plan.toml")
                    with ledger.span("examples", plan="(study)", phase="once"):
                        examples = example_users(pipeline, dataset, config.seed, repeats=study.repeats)
    with ledger.span("report", plan="(study)", phase="once"):
        _write_report(study, decision, config, loaded, command, time.perf_counter() - started, examples)
        if as_json:
            typer.echo(json.dumps(document(decision, study.traffic), indent=2, ensure_ascii=False))
        else:
            _print(decision, examples, folder)
    if study.interrupted:
        return INTERRUPTED
    return 0 if decision.plan is not None else 1


def _check_caps(study: Study) -> None:
    """Ask at a terminal, refuse elsewhere, when the study is expected to break a cap; refuse when no plan can do.

    Raises `BudgetError`.
    """
    from frugalrec.cli.estimate import over_caps, unforeseen

    config, estimates = study.config, study.expected()
    broken = over_caps(config, estimates, study.prices.currency)
    for line in unforeseen(config, estimates):
        study.say(line)
    if broken:
        if sys.stdin.isatty() and sys.stderr.isatty():
            typer.confirm("; ".join(broken) + ". Go on?", abort=True, err=True)
        else:
            raise BudgetError(
                "; ".join(broken), hint="see frugalrec estimate; raise the cap, or name fewer plans in [plans] only"
            )
    cap = config.budget.dollars_per_month
    months = [e.month for e in estimates]
    if cap is not None and months and all(m is not None and m.low > cap for m in months):
        cheapest = min((e for e in estimates if e.month is not None), key=lambda e: e.month.low if e.month else 0.0)
        assert cheapest.month is not None
        raise BudgetError(
            f"no plan can keep dollars_per_month = {cap:g}: the cheapest, {cheapest.name}, is expected to cost "
            f"{study.prices.currency} {cheapest.month.expected:.2g} a month (at least {cheapest.month.low:.2g})",
            hint="raise the cap, or lower [traffic]",
        )


def _write_report(
    study: Study,
    decision: Decision,
    config: Config,
    loaded: LoadReport,
    command: str,
    seconds: float,
    examples: list[Example],
) -> None:
    folder = study.folder
    context = _context(study, config, loaded, command, seconds, examples)
    write_whole(folder / "report.html", html.render(decision, context, study.ledger.entries))


def _print(decision: Decision, examples: list[Example], folder: Path) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(tables.frontier_table(decision, width=console.width))
    for text in (tables.decision_text(decision), *tables.language_model_text(decision)):
        console.print(text, markup=False, highlight=False)
    if examples:
        console.print()
        console.print(tables.recommendations_text(examples), markup=False, highlight=False)
    typer.echo(f"report: {folder / 'report.html'}")


def example_users(pipeline: Pipeline, dataset: Dataset, seed: int, *, repeats: bool = False) -> list[Example]:
    """Return recommendations with reasons for a few users with a middling number of events, drawn by ``seed``."""
    lengths = np.diff(dataset.interactions.offsets)
    known = np.flatnonzero(lengths > 0)
    middle = known[lengths[known] <= np.quantile(lengths[known], 0.75)]
    users = np.random.default_rng(seed).choice(middle, size=min(EXAMPLE_USERS, len(middle)), replace=False)
    examples = []
    for user in sorted(int(u) for u in users):
        query = replace(dataset.query(user), repeats=repeats)
        (ranking,) = pipeline.recommend([query], 5)
        reasons = pipeline.explain(query, ranking.items)
        examples.append(
            Example(
                user=f"User {dataset.interactions.users.ids[user]}",
                history=tuple(dataset.catalog.title(int(i)) for i in query.history[-5:]),
                recommendations=tuple(
                    Recommended(
                        dataset.catalog.title(int(item)), float(score), words.explain_words(reason, dataset.catalog)
                    )
                    for item, score, reason in zip(ranking.items, ranking.scores, reasons, strict=True)
                ),
            )
        )
    return examples


def _plan_file(study: Study, config: Config, base: Path, sheet: Path | None, pipeline: Pipeline) -> PlanFile:
    data = config.data
    # The plan may be run from anywhere, so it names its files by their full paths.
    here = {k: located(v, base) for k in ("interactions", "items") if (v := getattr(data, k)) is not None}
    return PlanFile(
        plan=pipeline.plan,
        data=data.model_copy(update=here),
        data_fingerprint=study.data_fingerprint,
        price_sheet="" if sheet is None else str(sheet.resolve()),
        price_fingerprint=study.prices.fingerprint(),
        repeats=study.repeats,
    )


def _context(
    study: Study, config: Config, loaded: LoadReport, command: str, seconds: float, examples: list[Example]
) -> Context:
    log = study.dataset.interactions
    return Context(
        dataset=study.dataset.name,
        n_users=int(np.count_nonzero(np.diff(log.offsets))),
        n_items=study.dataset.n_items,
        n_events=len(log),
        split=study.split.kind,
        split_settings=dict(study.split.settings),
        traffic=study.traffic,
        budget=Budget(**config.budget.model_dump(exclude={"lm_dollars"})),
        prices=study.prices,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=command,
        config=tomli_w.dumps(config.model_dump(mode="json", exclude_none=True, exclude_defaults=True)),
        machine=describe(),
        load_report=tuple(loaded.lines()),
        seconds=seconds,
        examples=tuple(examples),
    )
