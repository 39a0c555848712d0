"""``frugalrec ask``: questions about the catalogue, and recommendations under constraints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def ask(
    question: Annotated[
        str | None, typer.Argument(metavar="QUESTION", help="What you want to know; left out, a conversation begins.")
    ] = None,
    run: Annotated[Path, typer.Option("--run", metavar="DIR", help="Folder of a finished run.")] = Path(),
    user: Annotated[str | None, typer.Option(help="A user's id: answers are ranked for them.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many items to name, unless the question says.")] = 5,
    language: Annotated[str | None, typer.Option(metavar="en|zh", help="Default: that of the question.")] = None,
    llm: Annotated[
        str | None, typer.Option(metavar="NAME", help="A language model to read what the rules do not understand.")
    ] = None,
    lm_dollars: Annotated[
        float | None, typer.Option(help="Money that the language model may spend; no call is made beyond it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each answer as one JSON document.")] = False,
) -> None:
    """Answer a question about the catalogue, or recommend what meets the constraints in it, without a language model.

    Understands the values of your catalogue's own columns (and common words for genres), "and", "or", "not", "without",
    years, numbers ("rating above 8"), titles after "like", counts, and questions about one item; in English and
    Chinese. Items are ranked by the run's own model for a known user, else by popularity. Asks back when nothing
    matches or something is ambiguous. What is not in the catalogue cannot be in an answer.

    With --llm a model reads the words that the rules do not know, into the same values and years; the answer is marked.

    Without QUESTION it reads one question a line and remembers what was said: "before 1990", "and no war", "more",
    "start over".

    \b
    Examples:
      frugalrec ask "a comedy from before 1990, not with romance" --run frugalrec-demo --user 196
      frugalrec ask "how many westerns are there since 1990?" --run frugalrec-demo
      frugalrec ask "三部90年代的科幻片，不要恐怖" --run frugalrec-demo
      frugalrec ask --run frugalrec-demo
    """
    import sys

    from frugalrec.cli._asking import constrained_model, metered, opened
    from frugalrec.errors import ConfigError
    from frugalrec.tasks.conversation import Answer, Conversation

    if language not in (None, "en", "zh"):
        raise ConfigError(f"--language must be en or zh, not '{language}'")
    found = opened(run, user)
    model = None if llm is None else constrained_model(llm)
    talk = Conversation(found.dataset, found.pipeline, user=found.user, k=k, reads_text=found.reads_text, model=model)

    def show(answer: Answer) -> None:
        if as_json:
            typer.echo(json.dumps(answer.model_dump(mode="json"), indent=2, ensure_ascii=False))
        else:
            for line in answer.lines():
                typer.echo(line)

    with metered(found, lm_dollars):
        if question is not None:
            show(talk.ask(question, language=language or ""))
            return
        interactive = sys.stdin.isatty()
        while True:
            if interactive:
                typer.echo("> ", nl=False, err=True)
            line = sys.stdin.readline()
            if not line or line.strip().casefold() in ("quit", "exit", "bye", "退出"):
                return
            if line.strip():
                show(talk.ask(line, language=language or ""))
