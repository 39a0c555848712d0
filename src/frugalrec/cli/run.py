"""``frugalrec run``: fit exactly a chosen plan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frugalrec.cli._workers import AddressOption, CheckpointsOption, ExecutorOption, WorkersOption


def run(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.toml", help="A plan.toml that frugalrec plan wrote.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the model; default: the folder of PLAN.toml.")] = None,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Fit although data or prices have changed since.")
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Download nothing.")] = False,
    executor: ExecutorOption = "local",
    workers: WorkersOption = 1,
    checkpoints: CheckpointsOption = "",
    ray_address: AddressOption = "",
) -> None:
    """Fit exactly a chosen plan on all of its data, and keep the model for frugalrec recommend.

    Refuses when the data or the prices are not those that the plan was chosen on: the choice may no longer hold.

    \b
    Examples:
      frugalrec run frugalrec-demo/plan.toml
      frugalrec run shop-run/plan.toml --out nightly --accept-changes
      frugalrec run shop-run/plan.toml --executor ray --workers 2 --checkpoints nightly-parts
    """
    import time
    from dataclasses import replace

    from threadpoolctl import threadpool_limits

    from frugalrec import machine_profile
    from frugalrec.cli._console import shown_progress
    from frugalrec.cli._workers import working
    from frugalrec.cost import Ledger, threads
    from frugalrec.datasets import load_data
    from frugalrec.prices import PriceSheet
    from frugalrec.run_folder import PlanFile, write_whole
    from frugalrec.run_record import RunRecord
    from frugalrec.stores.array_cache import ArrayCache

    began = time.time()
    chosen = PlanFile.read(plan)
    prices = PriceSheet.load(Path(chosen.price_sheet) if chosen.price_sheet else None)
    folder = out if out is not None else plan.parent
    with threadpool_limits(limits=threads()), shown_progress() as say:
        dataset, _ = load_data(chosen.data, plan.parent, offline=offline)
        if not accept_changes:
            chosen.check_data(dataset.fingerprint())
            chosen.check_prices(prices)
        ledger = Ledger(folder / "ledger.jsonl")
        with working(executor, workers, checkpoints, ray_address):
            pipeline = chosen.plan.build(ArrayCache()).fit(dataset, ledger)
        pipeline.save(folder / "model")
        command = f"frugalrec run {plan}" + ("" if out is None else f" --out {out}")
        record = RunRecord.of(dataset.fingerprint(), machine_profile.load(), started=began, command=command)
        write_whole(folder / "run.json", record.after_those_in(folder).to_json())
    now = replace(chosen, data_fingerprint=dataset.fingerprint(), price_fingerprint=prices.fingerprint())
    if now != chosen or folder != plan.parent:
        now.write(folder / "plan.toml")
    cost = ledger.total()
    say(f"fitted {chosen.plan.name} on {len(dataset.interactions):,} events in {cost.seconds:.1f} s")
    typer.echo(folder / "model")
