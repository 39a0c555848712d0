"""Finds components by kind and name: the file ``recommenders/item_knn.py`` holds the recommender ``item-knn``.

A component file defines ``__all__`` with exactly one class. It may define ``EXTRA = ("als", "implicit")``: the extra
that installs what it needs and a package to look for, so that what is missing can be listed without importing it.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import pkgutil
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any

from frugalrec.errors import ConfigError, UnknownNameError

KINDS: dict[str, str] = {
    "recommender": "recommenders",
    "reranker": "rerankers",
    "rating-model": "rating_models",
    "encoder": "encoders",
    "llm": "llms",
    "metric": "metrics",
    "split": "data.splits",
}
"""Kinds of component and the packages that hold them."""


@cache
def names(kind: str) -> tuple[str, ...]:
    """Return the names of all components of ``kind``, sorted, whether their extras are installed or not."""
    package = importlib.import_module(f"frugalrec.{KINDS[kind]}")
    return tuple(
        sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))
    )


@cache
def module_of(kind: str, name: str) -> types.ModuleType:
    """Import the module of a component; raises `UnknownNameError` naming the nearest one."""
    if name not in names(kind):
        raise UnknownNameError.of(kind, name, names(kind))
    return importlib.import_module(f"frugalrec.{KINDS[kind]}.{name.replace('-', '_')}")


def load(kind: str, name: str) -> type[Any]:
    """Return the class of a component."""
    module = module_of(kind, name)
    (public,) = module.__all__
    component: type[Any] = getattr(module, public)
    return component


def missing_extra(kind: str, name: str) -> str | None:
    """Return the extra that a component needs and that is not installed, or None when it can be used."""
    extra = getattr(module_of(kind, name), "EXTRA", None)
    if extra is None:
        return None
    label, package = extra
    return None if importlib.util.find_spec(package) is not None else str(label)


def kind_of(annotation: str) -> str | None:
    """Return the kind of component that a field with this annotation takes, or None for a plain setting."""
    for seam, kind in (
        ("TextEncoder", "encoder"),
        ("LanguageModel", "llm"),
        ("Recommender", "recommender"),
        ("Reranker", "reranker"),
    ):
        if seam in annotation:
            return kind
    return None


def settings_of(component: type[Any]) -> dict[str, dataclasses.Field[Any]]:
    """Return the fields a plan may set, by name (``-`` for ``_``); learned state is none of them."""
    return {
        f.name.replace("_", "-"): f
        for f in dataclasses.fields(component)
        if f.init and not f.name.endswith("_") and not f.name.startswith("_")
    }


@cache
def _hints(kind: str, name: str) -> dict[str, Any]:
    return typing.get_type_hints(load(kind, name))


def build(kind: str, name: str, settings: Mapping[str, Any], *, where: str = "") -> Any:
    """Construct a component from plan settings, `checked`."""
    return load(kind, name)(**checked(kind, name, settings, where=where))


def checked(kind: str, name: str, settings: Mapping[str, Any], *, where: str = "") -> dict[str, Any]:
    """Return plan settings as a component's arguments: names checked against its fields, values against their types.

    Raises `ConfigError` where one is wrong, or missing and needed. A field that takes a component accepts whatever is
    no plain value, so that specs of components pass as well.
    """
    known = settings_of(load(kind, name))
    hints = _hints(kind, name)
    arguments: dict[str, Any] = {}
    for key, value in settings.items():
        option = key.replace("_", "-")
        if option not in known:
            raise UnknownNameError.of("setting", key, known, where=where or f"{kind} '{name}'")
        declared = known[option]
        arguments[declared.name] = _fitting(value, hints[declared.name], f"{where or name}.{option}")
    for option, declared in known.items():
        needed = declared.default is declared.default_factory is dataclasses.MISSING
        if needed and declared.name not in arguments:
            like = '{ component = "…" }' if kind_of(str(declared.type)) else "…"
            raise ConfigError(f"{where or f'{kind} {name!r}'} needs '{option}'", hint=f"write {option} = {like} in it")
    return arguments


def _fitting(value: Any, annotation: Any, where: str) -> Any:
    """Return ``value`` as ``annotation`` wants it (lists become tuples, ints become floats), or raise `ConfigError`."""
    origin = typing.get_origin(annotation)
    options = typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        for option in options:
            try:
                return _fitting(value, option, where)
            except ConfigError:
                continue
    elif origin is typing.Literal:
        if value in options:
            return value
        raise ConfigError(f"{where} must be one of {', '.join(map(repr, options))}, not {value!r}")
    elif origin is tuple:
        if isinstance(value, list | tuple):
            return tuple(_fitting(v, options[0], where) for v in value)
    elif annotation is type(None):
        if value is None:
            return None
    elif annotation is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif kind_of(str(annotation)) is not None:
        if value is not None and not isinstance(value, bool | int | float | str | list | tuple | dict):
            return value
    elif (
        isinstance(annotation, type)
        and isinstance(value, annotation)
        and (annotation is bool or not isinstance(value, bool))
    ):
        return value
    takes_component = kind_of(str(annotation)) is not None
    expected = "a component" if takes_component else getattr(annotation, "__name__", str(annotation))
    if origin is tuple:
        expected = "a list of components" if takes_component else "a list"
    raise ConfigError(
        f"{where} must be {expected}, not {value!r} ({type(value).__name__})",
        hint='write a component as { component = "its name" }' if takes_component else "",
    )
