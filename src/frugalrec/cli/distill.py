"""``frugalrec distill``: a static encoder from a transformer, on one's own catalogue."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def distill(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="A configuration whose [data] has item texts.")],
    out: Annotated[Path, typer.Option(help="Folder for the encoder.")],
    encoder: Annotated[str, typer.Option(help="The encoder to learn from, as plans call it.")] = "onnx",
    tokenizer: Annotated[
        Path | None, typer.Option(help="A tokenizer.json; default: the teacher's, or one of many languages.")
    ] = None,
    sample: Annotated[int, typer.Option(min=50, help="Read this many texts at most, drawn at random.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Seeds the sample and the held-out fifth.")] = 0,
    offline: Annotated[bool, typer.Option("--offline", help="Download nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Make a static encoder: a table of token vectors, fitted to what a transformer says of your items' texts.

    It encodes some hundred times faster than the transformer: new items and requests in words cost next to nothing.
    Use it in a plan with encoder = { component = "static", path = "DIR" }.

    \b
    Examples:
      frugalrec distill shop.toml --out shop-encoder
      frugalrec distill shop.toml --out shop-encoder --encoder e5 --sample 5000
    """
    import numpy as np
    from threadpoolctl import threadpool_limits

    from frugalrec import assets, registry
    from frugalrec.cli._console import shown_progress
    from frugalrec.config import load_config
    from frugalrec.cost import Ledger, threads
    from frugalrec.datasets import load_data
    from frugalrec.encoders._cached import Cached
    from frugalrec.encoders._distillation import described, distil
    from frugalrec.errors import MissingExtraError
    from frugalrec.stores.array_cache import ArrayCache

    if (extra := registry.missing_extra("encoder", encoder)) is not None:
        raise MissingExtraError.of(encoder, extra)
    teacher = registry.build("encoder", encoder, {})
    settings = load_config(config)
    ledger = Ledger()
    with threadpool_limits(limits=threads()), shown_progress() as say, ledger.span("distil"):
        dataset, _ = load_data(settings.data, config.parent, offline=offline)
        if tokenizer is None:
            if encoder == "onnx":
                tokenizer = assets.fetch(teacher.model, offline=offline).files["tokenizer.json"]
            else:
                tokenizer = assets.fetch("tokenlearn-static-64", offline=offline).files["tokenizer.json"]
        texts = [text for text in dict.fromkeys(dataset.catalog.texts()) if text.strip()]
        if len(texts) > sample:
            drawn = np.random.default_rng(seed).choice(len(texts), size=sample, replace=False)
            texts = [texts[i] for i in np.sort(drawn)]
        found = distil(texts, Cached(teacher, ArrayCache()), tokenizer, out, seed=seed)
        say(
            f"{found.texts:,} texts, {found.tokens:,} tokens, ridge {found.ridge:g}: on texts held out the cosine with "
            f"'{encoder}' is {found.held_out_cosine:.3f} (its token vectors alone: {found.token_cosine:.3f})"
        )
    if as_json:
        spent = ledger.total().to_dict()
        typer.echo(json.dumps({"folder": str(out), **described(found), "cost": spent}, indent=2))
    else:
        typer.echo(out)
