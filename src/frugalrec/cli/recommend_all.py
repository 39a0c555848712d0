"""``frugalrec recommend-all``: a finished run, for every user."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frugalrec.cli._workers import AddressOption, ExecutorOption, WorkersOption


def recommend_all(
    run: Annotated[Path, typer.Option("--run", metavar="DIR", help="Folder of a finished run.")],
    out: Annotated[str, typer.Option(metavar="DIR|URL", help="Folder for the Parquet files, here or elsewhere.")],
    k: Annotated[int, typer.Option("-k", min=1, help="How many items a user.")] = 10,
    executor: ExecutorOption = "local",
    workers: WorkersOption = 1,
    ray_address: AddressOption = "",
) -> None:
    """Recommend items to every user of a finished run, and write them as partitioned Parquet.

    Columns: user, item, rank, score. Interrupted, the same command goes on where it stopped. With a Ray cluster of
    several machines, the folders must be where all of them see them.

    \b
    Examples:
      frugalrec recommend-all --run frugalrec-demo --out recommendations
      frugalrec recommend-all --run shop-run --out s3://shop/recommendations -k 50 --workers 4
    """
    import time

    from threadpoolctl import threadpool_limits

    from frugalrec import machine_profile
    from frugalrec.array_files import refuse_memory
    from frugalrec.batch import recommend_all as write_all
    from frugalrec.cli._console import shown_progress
    from frugalrec.cli._workers import working
    from frugalrec.cost import Ledger, threads
    from frugalrec.datasets import load_data
    from frugalrec.run_folder import PlanFile, write_whole
    from frugalrec.run_record import RunRecord

    began = time.time()
    refuse_memory(out, "recommendations")
    chosen = PlanFile.read(run / "plan.toml")
    with threadpool_limits(limits=threads()), shown_progress() as say:
        dataset, _ = load_data(chosen.data, run, offline=True)
        chosen.check_data(dataset.fingerprint())
        # Not where they go: a URL may hold a password.
        command = f"frugalrec recommend-all --run {run} -k {k}"
        record = RunRecord.of(chosen.data_fingerprint, machine_profile.load(), started=began, command=command)
        write_whole(run / "run.json", record.after_those_in(run).to_json())
        ledger = Ledger(run / "ledger.jsonl")
        with (
            working(executor, workers, "", ray_address) as found,
            ledger.span("recommend all", plan=chosen.plan.name, phase="refresh") as span,
        ):
            users = write_all(run, dataset, out, k=k, executor=found)
        assert span.entry is not None
        say(f"{k} items for each of {users:,} users in {span.entry.cost.seconds:.1f} s")
    typer.echo(out)
