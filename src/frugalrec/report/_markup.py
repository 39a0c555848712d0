"""HTML and SVG as text that cannot be broken by what it shows: everything is escaped unless it is `Markup` already."""

from __future__ import annotations

import html
from collections.abc import Iterable

from frugalrec.report.words import plain

_VOID = frozenset({"br", "col", "hr", "meta"})


class Markup(str):
    """Text that is HTML or SVG already and goes in as it is."""

    __slots__ = ()


Child = str | int | float | None | Iterable["Child"]


def tag(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Markup:
    """Return one element. A trailing ``_`` of an attribute's name is dropped, other ``_`` become ``-``.

    Attributes that are None or False are left out, True stands alone; numbers are rounded to hundredths.

    >>> tag("a", "R&D", Markup("<b>!</b>"), href="#top", class_="x")
    '<a href="#top" class="x">R&amp;D<b>!</b></a>'
    """
    opened = [name]
    for key, value in attributes.items():
        label = key.rstrip("_").replace("_", "-")
        if value is True:
            opened.append(label)
        elif value is not None and value is not False:
            opened.append(f'{label}="{html.escape(_text(value), quote=True)}"')
    start = f"<{' '.join(opened)}>"
    return Markup(start if name in _VOID else f"{start}{joined(*children)}</{name}>")


def joined(*children: Child) -> Markup:
    """Return children one after another, escaped where they are not markup; None is nothing."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Markup):
            parts.append(child)
        elif isinstance(child, str | int | float):
            parts.append(html.escape(_text(child), quote=False))
        else:
            parts.append(joined(*child))
    return Markup("".join(parts))


def _text(value: str | float) -> str:
    if isinstance(value, str):
        return plain(value, lines=True)
    return f"{round(value, 2):g}" if abs(value) < 1e5 else f"{value:.0f}"
