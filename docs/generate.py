"""Writes the generated pages of ``docs/reference``: ``python docs/generate.py``, or ``--check`` to compare only.

``config.md`` comes from the fields of the configuration, ``cli.md`` from the help of the commands, ``components.md``
from the registry. A test compares them, so a page cannot say what the code does not.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import dataclasses
import doctest
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.models import ArgumentInfo, OptionInfo

from frugalrec import registry
from frugalrec.cli._app import app
from frugalrec.config import Config

REFERENCE = Path(__file__).parent / "reference"
NOTICE = "<!-- Written by docs/generate.py. Do not edit: change the code and run it again. -->"

KINDS = {
    "recommender": "Queries → a score for every item of the catalogue.",
    "reranker": "The best few of a ranking → a better order. Paid on every request.",
    "rating-model": "A user and an item → the rating to expect. Used from Python; plans rank and do not rate.",
    "encoder": "Texts → vectors. Paid once an item.",
    "llm": "Prompts → tokens, and texts → log-probabilities.",
    "metric": "Ranks of the relevant items → a number a query. Named `ndcg@10` where there is a cut-off, else `auc`.",
    "split": "A data set → what is learned from, what settings are chosen on, and what is reported.",
}
TYPES: dict[Any, str] = {str: "text", float: "number", int: "whole number", bool: "true or false"}
BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
PLAN = """
A table `[[plans.own]]` is a plan:

| key | type | default | what it is |
|---|---|---|---|
| `name` | text | needed | what the plan is called in tables and files |
| `recommender` | component | needed | what finds items |
| `reranker` | component | none | what puts the best of them in a better order, on every request |
| `without_lm` | text | `""` | the plan that is the same without its language model, to compare with |
| `about` | text | `""` | one line for the report |

A component is written `{ component = "its name", setting = value, … }`; what may stand there is in
[components](components.md). A setting that takes a component takes such a table again. `{ plan = "name" }` stands for
the recommender of another plan, with the settings that were chosen for it. Settings that a plan names are kept; the
others are tuned.
"""


def pages() -> dict[str, str]:
    """Return the generated pages by file name."""
    return {"cli.md": cli_page(), "components.md": components_page(), "config.md": config_page()}


def cli_page() -> str:
    """Return every command with its help, arguments and options."""
    parts = [
        NOTICE,
        "# Command line",
        "Results go to standard output, progress and messages to standard error. Exit codes: 0 done, 1 no plan is "
        "feasible, 2 wrong use or wrong input, 130 interrupted.",
        "| variable | what it does |\n|---|---|\n"
        "| `FRUGALREC_CACHE` | folder of downloads and of encoded texts; default: the platform's cache folder |\n"
        "| `FRUGALREC_OFFLINE` | `1` forbids every download |\n"
        "| `FRUGALREC_THREADS` | threads to compute with; default 1 |\n"
        "| `NO_COLOR` | no colours |",
    ]
    for name, callback in commands(app):
        parts += [f"## `{name}`", _help(inspect.getdoc(callback) or "")]
        rows = list(_parameters(callback))
        if rows:
            parts.append(_table(("", "default", "what it does"), rows))
    return "\n\n".join(parts) + "\n"


def commands(group: typer.Typer, prefix: str = "frugalrec") -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield ``(full name, function)`` of every command, in the order of the help."""
    for command in group.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__.replace("_", "-")
        yield f"{prefix} {name}", command.callback
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from commands(inner.typer_instance, f"{prefix} {inner.typer_instance.info.name}")


def _parameters(callback: Callable[..., Any]) -> Iterator[tuple[str, str, str]]:
    hints = typing.get_type_hints(callback, include_extras=True)
    for name, parameter in inspect.signature(callback).parameters.items():
        type_, *extras = typing.get_args(hints[name])
        info = next(e for e in extras if isinstance(e, OptionInfo | ArgumentInfo))
        metavar = info.metavar or ("" if type_ is bool else name.upper().replace("_", "-"))
        metavar = metavar.replace("|", "\\|")
        default = parameter.default
        if isinstance(info, ArgumentInfo):
            shown = f"`{metavar}`"
        else:
            # In Annotated, typer takes a first name for a default until it registers the command.
            names = [*([info.default] if isinstance(info.default, str) else []), *(info.param_decls or ())]
            flags = ", ".join(f"`{n}`" for n in names or [f"--{name.replace('_', '-')}"])
            shown = flags if type_ is bool else f"{flags} `{metavar}`"
        given = "" if default in (None, False, "") else f"`{default}`"
        given = "needed" if default is inspect.Parameter.empty else given
        yield shown, given, info.help or ""


def _help(text: str) -> str:
    """Return a command's help as Markdown: what typer keeps as it is (after a line with ``\\b``) is a code block."""
    text = _prose(text)
    if "\b" not in text:
        return text
    before, kept = text.split("\b", 1)
    lines = kept.strip("\n").splitlines()
    shown = "\n".join(line[2:] if line.startswith("  ") else f"# {line}" for line in lines if not _is_title(line))
    return f"{before.strip()}\n\n```text\n{shown}\n```"


def _is_title(line: str) -> bool:
    return line.strip() in ("Example:", "Examples:")


def config_page() -> str:
    """Return every key of the configuration file."""
    parts = [
        NOTICE,
        "# Configuration",
        "The file that `frugalrec plan` reads, in TOML. `frugalrec plan --example` prints one with comments. Every key "
        "is checked: an unknown one is an error that names the nearest. Paths are relative to the file's own folder.",
    ]
    for name, declared in Config.model_fields.items():
        section = declared.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            about = (inspect.getdoc(section) or "").split(": ", 1)[-1]
            parts += [f"## `[{name}]`", f"{about[:1].upper()}{about[1:]}"]
            parts.append(
                _table(("key", "type", "default", "what it is"), [_key(n, f) for n, f in section.model_fields.items()])
            )
        else:
            parts += [
                f"## `{name}`",
                f"At the top of the file: {_type(section)}, default {_default(declared.default)}.",
            ]
        if name == "split":
            parts += [
                "Settings by kind (each is described under [components](components.md#split)):",
                _table(("kind", "settings"), _split_settings()),
            ]
        if name == "plans":
            parts.append(PLAN.strip())
    return "\n\n".join(parts) + "\n"


def _key(name: str, declared: FieldInfo) -> tuple[str, str, str, str]:
    bounds = [f"{BOUNDS[b]} {getattr(m, b):g}" for m in declared.metadata for b in BOUNDS if hasattr(m, b)]
    about = _prose("; ".join(filter(None, (declared.description, *bounds))))
    default = "needed" if declared.is_required() else _default(declared.default)
    return f"`{name}`", _type(declared.annotation), default, about


def _split_settings() -> Iterator[tuple[str, str]]:
    for kind in registry.names("split"):
        found = registry.settings_of(registry.load("split", kind)).values()
        yield f"`{kind}`", ", ".join(f"`{f.name} = {_toml(f.default)}`" for f in found)


def components_page() -> str:
    """Return every component with its documentation, settings and an example."""
    parts = [
        NOTICE,
        "# Components",
        "What plans are made of. The name of a component is that of its file. *Tuned* lists the values that "
        "`frugalrec plan` tries where a plan leaves a setting open; *stage* is what must be done again when it changes "
        "(accumulate, solve, or score only). An encoder or reranker is named by the plan and never tuned.",
    ]
    for kind, about in KINDS.items():
        parts += [f"## {kind}", about]
        for name in registry.names(kind):
            parts += _component(kind, name)
    return "\n\n".join(parts) + "\n"


def _component(kind: str, name: str) -> Iterator[str]:
    component = registry.load(kind, name)
    extra = getattr(registry.module_of(kind, name), "EXTRA", None)
    yield f"### `{name}`"
    prose, examples = _without_examples(inspect.getdoc(component) or "")
    yield _prose(prose)
    if extra is not None:
        yield f"Needs `pip install 'frugalrec[{extra[0]}]'`."
    hints = typing.get_type_hints(component)
    tuned = kind == "recommender"
    rows = [
        (
            f"`{f.name}`",
            _type(hints[f.name]),
            "needed" if f.default is dataclasses.MISSING else _default(f.default),
            *((", ".join(f"`{_toml(v)}`" for v in f.metadata.get("tune", ())), f.metadata.get("stage", "")) * tuned),
        )
        for f in registry.settings_of(component).values()
    ]
    if rows:
        yield _table(("setting", "type", "default", *(("tuned", "stage") * tuned)), rows)
    if examples:
        yield "```pycon\n" + "\n".join([*_imports(component, examples), *examples]) + "\n```"


def _without_examples(text: str) -> tuple[str, list[str]]:
    """Return a docstring's prose, and its examples as a transcript."""
    prose, _, transcript = text.partition(">>> ")
    lines = [line for line in f">>> {transcript}".splitlines() if line.strip()] if transcript else []
    return prose.strip(), lines


def _imports(component: type[Any], transcript: Sequence[str]) -> list[str]:
    """Return the imports that an example needs on a page, where the names of its module are not at hand."""
    source = "".join(e.source for e in doctest.DocTestParser().get_examples("\n".join(transcript)))
    nodes = list(ast.walk(ast.parse(source)))
    loaded = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    bound = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    bound |= {
        alias.asname or alias.name for n in nodes if isinstance(n, ast.Import | ast.ImportFrom) for alias in n.names
    }
    known = vars(sys.modules[component.__module__])
    lines = []
    for name in sorted(loaded - bound - set(dir(builtins))):
        value = known[name]
        if isinstance(value, types.ModuleType):
            lines.append(f">>> import {value.__name__}" + (f" as {name}" if value.__name__ != name else ""))
        else:
            lines.append(f">>> from {value.__module__} import {name}")
    return lines


def _prose(text: str) -> str:
    """Return a docstring as Markdown."""
    return text.replace("``", "`")


def _type(annotation: Any) -> str:
    """Return a type in the words of TOML."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in TYPES:
        return TYPES[annotation]
    if isinstance(annotation, type) and (kind := registry.kind_of(annotation.__name__)):
        return f"[{kind}](#{kind})"
    if origin is Literal:
        return ", ".join(f"`{_toml(a)}`" for a in arguments)
    if origin is tuple:
        part = "table" if typing.get_origin(arguments[0]) is dict else _type(arguments[0])
        return f"list of {part}" + ("s" if part != "text" else "")
    if origin is dict:
        return f"table of {_type(arguments[1])}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type(a) for a in arguments if a is not type(None))
    raise TypeError(f"no words for the type {annotation}")


def _default(value: Any) -> str:
    return "none" if value is None else f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace("\n", "\\n") + '"'
    return f"{value:_}" if isinstance(value, int) and value >= 10_000 else str(value)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(cell.replace(chr(10), ' ') for cell in line)} |" for line in lines)


def main() -> None:
    """Write the pages, or with ``--check`` exit 1 and name those that are not what would be written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is out of date")
    check = parser.parse_args().check
    stale = []
    for name, text in pages().items():
        path = REFERENCE / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                path.write_text(text, encoding="utf-8")
    print(f"{'out of date' if check else 'written'}: {', '.join(stale) or 'none'}")
    sys.exit(1 if check and stale else 0)


if __name__ == "__main__":
    main()
