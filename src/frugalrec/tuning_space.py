"""Which settings of a component are searched, as its own fields declare, and how those of members are named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from frugalrec import registry
from frugalrec.plan import Spec


def search_space(spec: Spec) -> dict[str, tuple[str, tuple[Any, ...]]]:
    """Return ``{setting: (stage, values)}`` of a component, for the settings that ``spec`` leaves open.

    The stage is what must be redone when the setting changes: ``score``, ``solve`` or, dearest, ``accumulate``.
    Settings about text are left out where the spec names no encoder.
    """
    space: dict[str, tuple[str, tuple[Any, ...]]] = {}
    for option, declared in registry.settings_of(registry.load("recommender", spec.component)).items():
        values = declared.metadata.get("tune")
        if values is None or option in {k.replace("_", "-") for k in spec.settings}:
            continue
        if declared.metadata.get("text") and "encoder" not in spec.settings:
            continue
        space[declared.name] = (declared.metadata["stage"], tuple(values))
    return space


def members_space(space: Mapping[str, tuple[str, tuple[Any, ...]]], spec: Spec) -> dict[str, tuple[str, Any]]:
    """Return the same for what members leave open and only scoring depends on, where each has a place in ``space``."""
    declared = registry.settings_of(registry.load("recommender", spec.component))
    found: dict[str, tuple[str, Any]] = {}
    if any("each" in declared[name.replace("_", "-")].metadata for name in space):
        for place, member in enumerate(spec.settings["members"]):
            of_member = registry.settings_of(registry.load("recommender", member.component))
            for name, (stage, values) in search_space(member).items():
                if stage == "score" and "each" not in of_member[name.replace("_", "-")].metadata:
                    found[f"members.{place}.{name}"] = (stage, values)
    return found


def default_of(declared: Any) -> Any:
    """Return the default of a setting, of whatever type."""
    return declared.default


def placed(values: tuple[Any, ...], place: int, value: Any) -> tuple[Any, ...]:
    """Return ``values`` with another one at ``place``."""
    return (*values[:place], value, *values[place + 1 :])


def place_of(name: str) -> tuple[int, str]:
    """Return which member a setting is of, and what the member calls it."""
    _, place, setting = name.split(".")
    return int(place), setting


def of_member(name: str, start: Mapping[str, Any], spec: Spec, *, by_default: bool = False) -> Any:
    """Return a member's setting where a search starts: as found for a plan of that kind, as it is, or its default."""
    place, setting = place_of(name)
    member = spec.settings["members"][place]
    declared = registry.settings_of(registry.load("recommender", member.component))[setting.replace("_", "-")]
    if by_default:
        return default_of(declared)
    known = [m for m in start.get("members", ())[place : place + 1] if m.component == member.component]
    return next((m.settings[setting] for m in (*known, member) if setting in m.settings), default_of(declared))


def kin(tried: Spec, spec: Spec) -> bool:
    """Whether the settings found for ``tried`` may start the search of ``spec``: what ``spec`` fixes is the same."""
    return tried.component == spec.component and all(
        len(tried.settings[key]) == len(value) if key == "members" else tried.settings.get(key, value) == value
        for key, value in spec.settings.items()
        if key == "members" or not isinstance(value, Spec)
    )
