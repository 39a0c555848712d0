"""``frugalrec describe``: descriptions of items."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, cast

import typer


def describe(
    run: Annotated[Path, typer.Option("--run", metavar="DIR", help="Folder of a finished run.")],
    item: Annotated[list[str] | None, typer.Option(help="An item's id; may be given several times.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every item of the catalogue.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --all: JSON lines; default: descriptions.jsonl in DIR.")
    ] = None,
    words: Annotated[int, typer.Option(min=1, help="Words (in Chinese, characters) at most.")] = 60,
    language: Annotated[str, typer.Option(metavar="en|zh", help="English or Chinese.")] = "en",
    llm: Annotated[str | None, typer.Option(metavar="NAME", help="A language model to word it, checked.")] = None,
    lm_dollars: Annotated[
        float | None, typer.Option(help="Money that the language model may spend; no call is made beyond it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one document a line.")] = False,
) -> None:
    """Describe items from their attributes and from what else the same people chose.

    Needs no language model. With --llm a model words the same facts; a name, number or year that is not in them, or too
    many words, and the template stands. --all keeps each description as soon as it is there: interrupted, the same
    command goes on; finished, it costs nothing. Use the result as a text column of your items.

    \b
    Examples:
      frugalrec describe --item 50 --run frugalrec-demo
      frugalrec describe --all --run frugalrec-demo --out descriptions.jsonl
      frugalrec describe --item 50 --run frugalrec-demo --language zh --words 80
    """
    from frugalrec.cli._asking import language_model, metered, opened
    from frugalrec.cli._console import shown_progress
    from frugalrec.errors import ConfigError
    from frugalrec.tasks.describe import Describer, Description

    if bool(item) == everything:
        raise ConfigError("describe needs to know which items", hint="give --item ID, or --all")
    if out is not None and not everything:
        raise ConfigError("--out goes with --all", hint="leave --out out")
    found = opened(run)
    describer = Describer(found.dataset, language=cast(Literal["en", "zh"], language), max_words=words)
    model = language_model(llm) if llm is not None else None

    def show(said: Description) -> None:
        if as_json:
            typer.echo(json.dumps(said.model_dump(mode="json"), ensure_ascii=False))
        elif not everything:
            typer.echo(said.text)
            if said.rejected:
                typer.echo(f"not taken from the language model: {', '.join(said.rejected)}", err=True)

    if not everything:
        codes = [found.dataset.catalog.items.code(each) for each in item or ()]
        with metered(found, lm_dollars):
            for said in describer.describe(codes, model):
                show(said)
        return
    path = out if out is not None else run / "descriptions.jsonl"
    refused = n = 0
    with shown_progress(), metered(found, lm_dollars):
        for said in describer.write(path, range(found.dataset.n_items), model):
            n += 1
            refused += bool(said.rejected)
            show(said)
    if not as_json:
        typer.echo(path)
    if model is not None:
        typer.echo(f"{refused:,} of {n:,} were not taken from the language model", err=True)
