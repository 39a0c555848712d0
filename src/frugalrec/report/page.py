"""One HTML file around plots and tables that need no run: the machine profile, and forecasts."""

from __future__ import annotations

from importlib import resources

import frugalrec
from frugalrec.report._markup import Child, Markup, tag


def page(title: str, *children: Child) -> str:
    """Return a whole page with the report's style; it fetches nothing and runs no script."""
    style = resources.files("frugalrec.report").joinpath("style.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content="default-src 'none'; style-src 'unsafe-inline'"),
        tag("title", f"{title} · frugalrec"),
        tag("style", Markup(style)),
    )
    footer = tag("footer", f"Written by frugalrec {frugalrec.__version__}. This page fetches nothing.")
    body = tag("body", tag("main", tag("h1", title), *children), footer)
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def standalone(drawn: Markup) -> str:
    """Return an SVG of the report as a file of its own, with the report's style in it."""
    style = resources.files("frugalrec.report").joinpath("style.css").read_text(encoding="utf-8")
    return (
        str(drawn)
        .replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" style="background: var(--paper)" ', 1)
        .replace(">", f"><style>{style}</style>", 1)
    )


__all__ = ["page", "standalone"]
