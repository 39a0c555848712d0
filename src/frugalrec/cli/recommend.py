"""``frugalrec recommend``: ask a finished run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def recommend(
    run: Annotated[Path, typer.Option("--run", metavar="DIR", help="Folder of a finished run.")],
    user: Annotated[str | None, typer.Option(help="A user's id, as in your data.")] = None,
    text: Annotated[str, typer.Option(help="What is wanted, in words; for plans that read text.")] = "",
    k: Annotated[int, typer.Option("-k", min=1, help="How many items.")] = 10,
    explain: Annotated[bool, typer.Option("--explain", help="Say why, item by item.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Recommend items to a user of a finished run, or to anybody who says in words what they want.

    \b
    Examples:
      frugalrec recommend --run frugalrec-demo --user 196
      frugalrec recommend --run frugalrec-demo --user 196 -k 5 --explain
      frugalrec recommend --run frugalrec-demo --text "slow-burn science fiction"
    """
    from dataclasses import replace

    from frugalrec.data.dataset import Query
    from frugalrec.datasets import load_data
    from frugalrec.errors import ConfigError, UnknownNameError
    from frugalrec.report.words import explain_words
    from frugalrec.run_folder import PlanFile, load_model
    from frugalrec.stores.array_cache import ArrayCache

    if user is None and not text.strip():
        raise ConfigError("recommend needs somebody to recommend to", hint='give --user ID, or --text "what is wanted"')
    chosen = PlanFile.read(run / "plan.toml")
    dataset, _ = load_data(chosen.data, run, offline=True)
    chosen.check_data(dataset.fingerprint())
    pipeline = load_model(run, chosen.plan, ArrayCache())
    reads = bool(getattr(pipeline.recommender, "reads_words", False))
    if text.strip() and not reads:
        raise ConfigError(f"the plan '{chosen.plan.name}' does not read text", hint="leave --text out")
    query = Query()
    if user is not None:
        try:
            query = dataset.query(dataset.interactions.users.code(user))
        except UnknownNameError as error:
            can = 'say what is wanted with --text "…"' if reads else "frugalrec plan can try popularity for newcomers"
            raise UnknownNameError(
                f"{error.message}: no events of this user in the data", hint=f"{error.hint or ''} {can}".strip()
            ) from error
    query = replace(query, text=text)
    (ranking,) = pipeline.recommend([query], k)
    reasons = pipeline.explain(query, ranking.items) if explain else [() for _ in ranking.items]
    rows = [
        {
            "item": str(dataset.catalog.items.ids[item]),
            "title": dataset.catalog.title(int(item)),
            "score": float(score),
            **({"reason": explain_words(reason, dataset.catalog)} if explain else {}),
        }
        for item, score, reason in zip(ranking.items, ranking.scores, reasons, strict=True)
    ]
    if as_json:
        answer = {"user": user, "plan": chosen.plan.name, "degraded": ranking.degraded, "items": rows}
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    for place, row in enumerate(rows, start=1):
        typer.echo(f"{place:>3}  {row['title']}")
        if explain and row["reason"]:
            typer.echo(f"     {row['reason']}")
