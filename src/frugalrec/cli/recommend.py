"""``frugalrec recommend``: ask a finished run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from frugalrec.data.dataset import Dataset, Query
    from frugalrec.data.interactions import IntArray
    from frugalrec.pipeline import Pipeline

TRIED_WITHOUT = 50
"""Newest items of the history of which is asked what would be recommended without them."""


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

    import numpy as np

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
    query = replace(query, text=text, repeats=chosen.repeats)
    if not len(query.history) and not np.ptp(pipeline.score([query])):
        raise ConfigError(
            f"the plan '{chosen.plan.name}' makes nothing of “{text.strip()}”: all items score the same",
            hint="use words and a language of the item texts",
        )
    (ranking,) = pipeline.recommend([query], k)
    reasons = pipeline.explain(query, ranking.items) if explain else [() for _ in ranking.items]
    turned = _counterfactuals(pipeline, query, ranking.items, dataset) if explain else ["" for _ in ranking.items]
    rows = [
        {
            "item": str(dataset.catalog.items.ids[item]),
            "title": dataset.catalog.title(int(item)),
            "score": float(score),
            **({"reason": explain_words(reason, dataset.catalog), "counterfactual": other} if explain else {}),
        }
        for item, score, reason, other in zip(ranking.items, ranking.scores, reasons, turned, strict=True)
    ]
    if as_json:
        answer = {"user": user, "plan": chosen.plan.name, "degraded": ranking.degraded, "items": rows}
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    for place, row in enumerate(rows, start=1):
        typer.echo(f"{place:>3}  {row['title']}")
        if explain and row["reason"]:
            typer.echo(f"     {row['reason']}")
        if explain and row["counterfactual"]:
            typer.echo(f"     {row['counterfactual']}")


def _counterfactuals(pipeline: Pipeline, query: Query, items: IntArray, dataset: Dataset) -> list[str]:
    """Say of each item where it would stand without the history item that matters most to its place."""
    from frugalrec.report.words import shorten
    from frugalrec.tasks.counterfactuals import counterfactuals

    # What is further back moves little, and each item costs a scoring of the catalogue.
    recent = [int(code) for code in query.history[-TRIED_WITHOUT:]]
    found = []
    for each in counterfactuals(pipeline, query, items, recent) if recent else [[] for _ in items]:
        most = each[0] if each and each[0].rank_without > each[0].rank else None
        title = "" if most is None else shorten(dataset.catalog.title(most.without), 60)
        found.append("" if most is None else f"without {title} this would be rank {round(most.rank_without)}")
    return found
