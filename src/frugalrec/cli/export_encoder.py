"""``frugalrec export-encoder``: a transformer as ONNX files, in full precision and with 8-bit products."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def export_encoder(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="A configuration whose [data] has item texts.")],
    out: Annotated[Path, typer.Option(help="Folder for the two exports, fp32 and int8.")],
    model: Annotated[str, typer.Option(help="The asset to export.")] = "all-minilm-l6-v2",
    path: Annotated[
        Path | None, typer.Option(help="A folder of your own instead: config.json, safetensors, tokenizer.json.")
    ] = None,
    pooling: Annotated[str, typer.Option(help="How tokens become one vector: mean, or cls.")] = "mean",
    max_tokens: Annotated[int, typer.Option(min=3, help="Text beyond so many tokens is cut off.")] = 128,
    sample: Annotated[int, typer.Option(min=50, help="Compare on this many texts at most, drawn at random.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seeds the sample.")] = 0,
    offline: Annotated[bool, typer.Option("--offline", help="Download nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Write a BERT-like sentence encoder as ONNX, and say what 8 bits change on your own catalogue.

    Both exports run without torch. Use one in a plan with encoder = { component = "onnx", path = "DIR/int8" }.

    \b
    Examples:
      frugalrec export-encoder shop.toml --out shop-onnx
      frugalrec export-encoder shop.toml --out shop-onnx --path my-finetuned-encoder
    """
    from dataclasses import asdict

    import numpy as np
    from threadpoolctl import threadpool_limits

    from frugalrec import assets
    from frugalrec.cli._console import shown_progress
    from frugalrec.config import load_config
    from frugalrec.datasets import load_data
    from frugalrec.encoders._export import export, require_onnx
    from frugalrec.encoders.transformers import Transformers

    require_onnx()
    settings = load_config(config)
    with threadpool_limits(limits=1), shown_progress() as say:
        dataset, _ = load_data(settings.data, config.parent, offline=offline)
        if path is None:
            assets.fetch(model, offline=offline)
        source = Transformers(model, str(path or ""), pooling=pooling, max_tokens=max_tokens, threads=1)  # type: ignore[arg-type]  # it checks
        texts = [text for text in dict.fromkeys(dataset.catalog.texts()) if text.strip()]
        if len(texts) > sample:
            drawn = np.random.default_rng(seed).choice(len(texts), size=sample, replace=False)
            texts = [texts[i] for i in np.sort(drawn)]
        found = export(source, texts, out)
        for name in ("fp32", "int8"):
            ratio = found.texts_a_second[name] / found.texts_a_second["source"]
            say(
                f"{name}: {found.neighbours[name]:.1%} of the ten nearest items are those of torch, {ratio:.1f} times "
                f"the texts a CPU second ({found.texts_a_second[name]:,.0f}), {found.bytes[name] / 1e6:.0f} MB"
            )
    typer.echo(json.dumps({"folder": str(out), **asdict(found)}, indent=2) if as_json else out)
