"""Pipelines on paper: `Spec` (one component) and `Plan` (all of them). What they become is in `frugalrec.pipeline`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from frugalrec import registry
from frugalrec.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from frugalrec.interfaces import ArrayStore
    from frugalrec.pipeline import Pipeline


@dataclass(frozen=True)
class Spec:
    """One component on paper: its name and its settings, which may be specs themselves.

    ``Spec("plan", {"name": "ease"})`` stands for the recommender of another plan, with the settings chosen for it.
    """

    component: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any], where: str) -> Spec:
        """Read ``{"component": …, setting: …}``; tables with a ``component`` or ``plan`` in them become specs."""
        if "plan" in table:
            if len(table) > 1:
                raise ConfigError(f"{where}: a reference to a plan takes no settings", hint='write { plan = "name" }')
            return cls("plan", {"name": str(table["plan"])})
        if not isinstance(table.get("component"), str):
            raise ConfigError(f"{where}: a component needs a name", hint='add component = "…"')
        settings = {k: _read(v, f"{where}.{k}") for k, v in table.items() if k != "component"}
        return cls(table["component"], settings)

    def to_dict(self) -> dict[str, Any]:
        """Inverse of `from_dict`."""
        if self.component == "plan":
            return {"plan": self.settings["name"]}
        return {"component": self.component} | {k: _write(v) for k, v in self.settings.items()}

    def with_settings(self, **settings: Any) -> Spec:
        """Return the spec with some settings replaced."""
        return replace(self, settings={**self.settings, **settings})

    def children(self) -> Iterator[tuple[str, Spec]]:
        """Yield ``(setting, spec)`` for every component this one is given."""
        for key, value in self.settings.items():
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, Spec):
                    yield key, part

    def resolved(self, plans: Mapping[str, Plan]) -> Spec:
        """Return the spec with references to plans replaced by those plans' recommenders."""
        if self.component == "plan":
            name = self.settings["name"]
            if name not in plans:
                raise UnknownNameError.of("plan", name, plans)
            return plans[name].recommender.resolved(plans)
        return replace(self, settings={k: map_specs(v, lambda s: s.resolved(plans)) for k, v in self.settings.items()})


def map_specs(value: Any, change: Callable[[Spec], Any]) -> Any:
    """Return a setting's value with ``change`` applied to every spec in it."""
    if isinstance(value, Spec):
        return change(value)
    if isinstance(value, tuple):
        return tuple(map_specs(v, change) for v in value)
    return value


def _read(value: Any, where: str) -> Any:
    if isinstance(value, Mapping):
        return Spec.from_dict(value, where)
    if isinstance(value, list | tuple):
        return tuple(_read(v, f"{where}[{i}]") for i, v in enumerate(value))
    return value


def _write(value: Any) -> Any:
    if isinstance(value, Spec):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_write(v) for v in value]
    return value


@dataclass(frozen=True)
class Plan:
    """A declared pipeline. ``without_lm`` names the plan that is the same without its language model."""

    name: str
    recommender: Spec
    reranker: Spec | None = None
    without_lm: str = ""
    about: str = ""

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Plan:
        """Read a plan; raises `ConfigError` or `UnknownNameError` saying where it is wrong."""
        known = {f.name for f in dataclasses.fields(cls)}
        for key in table:
            if key not in known:
                raise UnknownNameError.of("key", key, known, where="a plan")
        name = table.get("name")
        if not isinstance(name, str) or not name:
            raise ConfigError("a plan needs a name", hint='add name = "…"')
        if not isinstance(table.get("recommender"), Mapping):
            raise ConfigError(f"plan '{name}' needs a recommender", hint="add a [recommender] table with a component")
        reranker = table.get("reranker")
        if reranker is not None and not isinstance(reranker, Mapping):
            raise ConfigError(
                f"the reranker of plan '{name}' must be a table, not {reranker!r}",
                hint='write reranker = { component = "its name" }',
            )
        plan = cls(
            name=name,
            recommender=Spec.from_dict(table["recommender"], f"plan '{name}'.recommender"),
            reranker=None if reranker is None else Spec.from_dict(reranker, f"plan '{name}'.reranker"),
            without_lm=str(table.get("without_lm", "")),
            about=str(table.get("about", "")),
        )
        plan.check()
        return plan

    def to_dict(self) -> dict[str, Any]:
        """Inverse of `from_dict`; empty parts are left out."""
        table: dict[str, Any] = {"name": self.name}
        if self.about:
            table["about"] = self.about
        if self.without_lm:
            table["without_lm"] = self.without_lm
        table["recommender"] = self.recommender.to_dict()
        if self.reranker is not None:
            table["reranker"] = self.reranker.to_dict()
        return table

    def resolved(self, plans: Mapping[str, Plan]) -> Plan:
        """Return the plan with references to other plans filled in."""
        return replace(
            self,
            recommender=self.recommender.resolved(plans),
            reranker=None if self.reranker is None else self.reranker.resolved(plans),
        )

    def check(self) -> None:
        """Raise unless every component and setting exists and has a value of its type; nothing heavy is loaded."""
        for kind, spec in list(self._specs()):
            if spec.component != "plan":
                where = f"{kind} '{spec.component}' of plan '{self.name}'"
                registry.checked(kind, spec.component, spec.settings, where=where)

    def components(self) -> list[str]:
        """Return ``kind:name`` of every component, outermost first."""
        return [f"{kind}:{spec.component}" for kind, spec in self._specs() if spec.component != "plan"]

    def missing_extras(self) -> list[str]:
        """Return the extras this plan needs that are not installed."""
        specs = [(k, s.component) for k, s in self._specs() if s.component != "plan"]
        return sorted({extra for kind, name in specs if (extra := registry.missing_extra(kind, name))})

    @property
    def language_model(self) -> str:
        """How the plan uses a language model: "no", "once" (texts are encoded) or "per request"."""
        parts = [("recommender", self.recommender), *([("reranker", self.reranker)] if self.reranker else [])]
        uses = {use for kind, spec in parts for use in _uses(kind, spec)}
        return next((use for use in ("per request", "once") if use in uses), "no")

    def _specs(self) -> Iterator[tuple[str, Spec]]:
        yield from _tree("recommender", self.recommender, f"plan '{self.name}'.recommender")
        if self.reranker is not None:
            yield from _tree("reranker", self.reranker, f"plan '{self.name}'.reranker")

    def build(self, store: ArrayStore | None = None) -> Pipeline:
        """Construct the components. ``store`` remembers what language models computed, across plans and runs."""
        from frugalrec.pipeline import build  # only here: what is on paper needs neither arrays nor models

        return build(self, store)


def is_language_model(kind: str, name: str) -> bool:
    """Whether a component is a language model: every llm, and the encoders and rerankers that say so."""
    return kind == "llm" or bool(getattr(registry.load(kind, name), "is_language_model", False))


def _uses(kind: str, spec: Spec) -> Iterator[str]:
    """Yield how each language model in a component is used; one that ``frees_requests`` asks its own only to learn."""
    if spec.component == "plan":
        return
    component = registry.load(kind, spec.component)
    if is_language_model(kind, spec.component):
        yield "once" if kind == "encoder" else "per request"
    for key, child in spec.children():
        child_kind = registry.kind_of(str(registry.settings_of(component)[key.replace("_", "-")].type))
        for use in _uses(str(child_kind), child):
            yield "once" if getattr(component, "frees_requests", False) else use


def _tree(kind: str, spec: Spec, where: str) -> Iterator[tuple[str, Spec]]:
    """Yield ``(kind, spec)`` of a component and all in it; raises with the path to what is not there."""
    if spec.component == "plan":
        if kind != "recommender":
            raise ConfigError(
                f"{where}: a plan stands for its recommender, and here belongs a component of kind '{kind}'",
                hint='write { component = "its name" }',
            )
        yield kind, spec
        return
    if spec.component not in registry.names(kind):
        raise UnknownNameError.of(kind, spec.component, registry.names(kind), where=where)
    yield kind, spec
    fields = registry.settings_of(registry.load(kind, spec.component))
    for key, value in spec.settings.items():
        several = isinstance(value, tuple)
        for place, child in enumerate(value if several else (value,)):
            if not isinstance(child, Spec):
                continue
            if key.replace("_", "-") not in fields:
                raise UnknownNameError.of("setting", key, fields, where=f"{kind} '{spec.component}' at {where}")
            child_kind = registry.kind_of(str(fields[key.replace("_", "-")].type))
            if child_kind is None:
                raise ConfigError(f"setting '{key}' of {kind} '{spec.component}' at {where} does not take a component")
            yield from _tree(child_kind, child, f"{where}.{key}" + (f"[{place}]" if several else ""))
