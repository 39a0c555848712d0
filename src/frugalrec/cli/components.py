"""``frugalrec components``: what plans can be made of."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import typer


def components(
    name: Annotated[str | None, typer.Argument(help="One component: show its settings and documentation.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the components that plans are made of, their settings, and the extras they need.

    \b
    Examples:
      frugalrec components
      frugalrec components sequential-linear
      frugalrec components --json | jq '.[] | select(.kind == "recommender") | .name'
    """
    from frugalrec import registry
    from frugalrec.errors import UnknownNameError

    found = [_describe(kind, each) for kind in registry.KINDS for each in registry.names(kind)]
    if name is not None:
        found = [c for c in found if c["name"] == name]
        if not found:
            known = [each for kind in registry.KINDS for each in registry.names(kind)]
            raise UnknownNameError.of("component", name, known)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    kind = ""
    for component in found:
        if component["kind"] != kind:
            kind = component["kind"]
            typer.echo(f"{kind}:")
        needs = f"  (pip install 'frugalrec[{component['missing_extra']}]')" if component["missing_extra"] else ""
        typer.echo(f"  {component['name']:<23}{component['about']}{needs}")
        if name is not None:
            typer.echo("")
            for setting in component["settings"]:
                tried = f"  tuned over {setting['tune']}" if setting["tune"] else ""
                typer.echo(f"    {setting['name']:<20}{setting['type']:<36}default {setting['default']}{tried}")
            typer.echo("")
            typer.echo(component["documentation"])


def _describe(kind: str, name: str) -> dict[str, Any]:
    import dataclasses
    import inspect

    from frugalrec import registry

    component = registry.load(kind, name)
    documentation = inspect.cleandoc(component.__doc__ or "")
    return {
        "kind": kind,
        "name": name,
        "about": re.split(r"(?<!eq)[.;:](?:\s|$)", documentation.replace("\n", " "))[0].replace("``", ""),
        "documentation": documentation,
        "missing_extra": registry.missing_extra(kind, name),
        "settings": [
            {
                "name": f.name,
                "type": str(f.type),
                "default": None if f.default is dataclasses.MISSING else f.default,
                "tune": list(f.metadata.get("tune", ())),
            }
            for f in registry.settings_of(component).values()
        ],
    }
