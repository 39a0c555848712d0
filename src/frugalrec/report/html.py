"""The whole report as one HTML file that needs nothing but a browser: no network, no script, no font."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources

import frugalrec
from frugalrec.cost import Entry
from frugalrec.planner import Decision
from frugalrec.report import _background, _results, words
from frugalrec.report._glance import first_glance, headline
from frugalrec.report._markup import Markup, tag
from frugalrec.report.context import Context


def render(decision: Decision, context: Context, entries: Sequence[Entry]) -> str:
    """Return the report: what was chosen and why at first glance, everything behind it below.

    ``entries`` are those of the run's ledger. The size is bounded whatever the data's: long lists and texts are cut,
    and say so. Titles and names are escaped, and the page forbids every script but its own, by its hash.
    """
    style, script = _asset("style.css"), _asset("sort.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("title", f"{headline(decision)} · {words.shorten(context.dataset)} · frugalrec"),
        tag("style", Markup(style)),
    )
    main = tag(
        "main",
        first_glance(decision, context),
        _results.plans(decision, context),
        _results.language_model(decision),
        _results.cost(decision, context, entries),
        _results.slices(decision),
        _results.measures(decision),
        _background.settings(decision, entries),
        _background.examples(context.examples),
        _background.data(decision, context),
        _background.again(context),
        _background.unknowns(decision),
    )
    footer = tag("footer", f"Written by frugalrec {frugalrec.__version__}. This page fetches nothing.")
    return (
        f"<!doctype html>\n{tag('html', head, tag('body', main, footer, tag('script', Markup(script))), lang='en')}\n"
    )


def _asset(name: str) -> str:
    return resources.files("frugalrec.report").joinpath(name).read_text(encoding="utf-8")


__all__ = ["render"]
