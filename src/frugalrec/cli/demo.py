"""``frugalrec demo``: the whole job on MovieLens-100K."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the report and everything behind it.")] = Path("frugalrec-demo"),
    offline: Annotated[bool, typer.Option("--offline", help="Download nothing; fail if data are not cached.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do finished plans again.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the decision and all trials as JSON.")] = False,
) -> None:
    """Do the whole job on MovieLens-100K: fetch, encode, tune, fit, evaluate, price, choose, explain.

    Tries every plan from chance to a sequential model with language-model text, on 943 real users, and says which to
    run, what the language model bought and what it costs. Takes a few minutes the first time; vectors and finished
    plans are kept, so the next time is quick.

    \b
    Examples:
      frugalrec demo
      frugalrec demo --out my-demo --fresh
      frugalrec recommend --run frugalrec-demo --user 196 --explain
    """
    from frugalrec.cli._study import run_study
    from frugalrec.cli.assets import shown_on_stderr
    from frugalrec.config import parse_config

    config = parse_config(
        {
            "data": {"dataset": "movielens-100k"},
            "tuning": {"seconds": 20, "max_queries": 943},
        },
        "the demo's configuration",
    )
    with shown_on_stderr() as (notify, progress):
        from frugalrec import assets

        for name in ("movielens-100k", "all-minilm-l6-v2-int8"):
            assets.fetch(name, offline=offline, notify=notify, progress=progress)
    command = "frugalrec demo" + (f" --out {out}" if out != Path("frugalrec-demo") else "")
    raise typer.Exit(run_study(config, Path(), out, command, offline=offline, as_json=as_json, fresh=fresh))
