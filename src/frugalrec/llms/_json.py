"""Is a value an instance of a JSON schema? The part of the standard that constrained generation uses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from frugalrec.errors import DataError

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def parsed(text: str, schema: Mapping[str, Any]) -> Any:
    """Return the value that ``text`` is; raises `DataError` when it is no JSON, or not an instance of ``schema``."""
    shown = text if len(text) <= 120 else f"{text[:120]}…"
    try:
        value = json.loads(text)
    except ValueError as error:
        raise DataError(
            f"expected a JSON value from the language model, got {shown!r}", hint="allow more tokens, or ask again"
        ) from error
    if problem := mismatch(value, schema):
        raise DataError(f"the language model's answer is not what was asked for: {problem}; it was {shown!r}")
    return value


def mismatch(value: Any, schema: Mapping[str, Any], where: str = "the value") -> str:
    """Return why ``value`` is no instance of ``schema``, or "".

    Knows ``type``, ``enum``, ``const``, ``properties``, ``required``, ``additionalProperties``, ``items``, bounds of
    lengths and numbers, and ``anyOf``; other words are taken as met.

    >>> mismatch({"year": "1990"}, {"properties": {"year": {"type": "integer"}}})
    "the value.year is '1990', not of type integer"
    """
    if "anyOf" in schema and all(mismatch(value, each, where) for each in schema["anyOf"]):
        return f"{where} is none of what it may be"
    if "enum" in schema and value not in schema["enum"]:
        return f"{where} is {value!r}, not one of {', '.join(map(str, schema['enum']))}"
    if "const" in schema and value != schema["const"]:
        return f"{where} is {value!r}, not {schema['const']!r}"
    if "type" in schema:
        names = [schema["type"]] if isinstance(schema["type"], str) else list(schema["type"])
        if not any(_is(value, name) for name in names):
            return f"{where} is {value!r}, not of type {' or '.join(names)}"
    for name, low in (("minimum", value), ("minLength", value), ("minItems", value)):
        if name in schema and (size := _size(low, name)) is not None and size < schema[name]:
            return f"{where} is below {name} {schema[name]}"
    for name, high in (("maximum", value), ("maxLength", value), ("maxItems", value)):
        if name in schema and (size := _size(high, name)) is not None and size > schema[name]:
            return f"{where} is above {name} {schema[name]}"
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        for name in schema.get("required", ()):
            if name not in value:
                return f"{where} has no '{name}'"
        for name, inner in value.items():
            if name in properties:
                if problem := mismatch(inner, properties[name], f"{where}.{name}"):
                    return problem
            elif schema.get("additionalProperties", True) is False:
                return f"{where} has '{name}', which was not asked for"
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        for i, inner in enumerate(value):
            if problem := mismatch(inner, schema["items"], f"{where}[{i}]"):
                return problem
    return ""


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool) and name != "boolean":
        return False
    return isinstance(value, _TYPES.get(name, (object,)))


def _size(value: Any, bound: str) -> float | None:
    if bound in ("minimum", "maximum"):
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    kind = str if bound.endswith("Length") else list
    return float(len(value)) if isinstance(value, kind) else None


__all__ = ["mismatch", "parsed"]
