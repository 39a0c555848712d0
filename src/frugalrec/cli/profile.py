"""``frugalrec profile``: what a history says of somebody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def profile(
    user: Annotated[str, typer.Option(help="A user's id, as in your data.")],
    run: Annotated[Path, typer.Option("--run", metavar="DIR", help="Folder of a finished run.")],
    themes: Annotated[int, typer.Option(min=1, max=12, help="How many themes to look for.")] = 4,
    llm: Annotated[str | None, typer.Option(metavar="NAME", help="A language model to word it, checked.")] = None,
    lm_dollars: Annotated[
        float | None, typer.Option(help="Money that the language model may spend; no call is made beyond it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say what somebody's history shows: themes, likes and dislikes, drift; each claim with the items behind it.

    Needs no language model: themes are clusters of item vectors (of the run's own text encoder, or shared words), named
    by what they have much more often than the catalogue; likes and dislikes come from ratings, drift from the newest
    third. With --llm a model words the same claims; what it adds is found, refused and listed.

    \b
    Examples:
      frugalrec profile --user 196 --run frugalrec-demo
      frugalrec profile --user 196 --run frugalrec-demo --json | jq .themes
      frugalrec profile --user 196 --run frugalrec-demo --llm llama-cpp
    """
    from frugalrec.cli._asking import item_vectors, language_model, metered, opened
    from frugalrec.tasks.profile import Profiler

    found = opened(run, user)
    assert found.user is not None
    profiler = Profiler(found.dataset, item_vectors(found), themes=themes)
    said = profiler.profile(found.user)
    if llm is not None:
        with metered(found, lm_dollars):
            said = profiler.reworded(said, language_model(llm))
    if as_json:
        typer.echo(json.dumps(said.model_dump(mode="json"), indent=2, ensure_ascii=False))
        return
    typer.echo(f"User {said.user}: {said.n_events:,} events with {said.n_items:,} items.")
    for line in said.lines():
        typer.echo(line)
    if said.rejected:
        typer.echo(f"not taken from the language model: {', '.join(said.rejected)}", err=True)
