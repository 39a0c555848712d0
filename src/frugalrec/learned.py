"""What components learned, apart from the components: walked through, measured, and given to others of the same plan.

What was learned is in attributes that end in ``_``; with those alone a component answers as the fitted one does.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy import sparse

from frugalrec import registry
from frugalrec.cost import Cost
from frugalrec.plan import Plan, Spec


@dataclass(frozen=True)
class Learned:
    """What a recommender or reranker learned, and the recommenders and rerankers that it is made of, by their place."""

    values: Mapping[str, Any]
    parts: Mapping[str, Learned]

    @classmethod
    def of(cls, component: Any) -> Self:
        """Return what ``component`` learned; nothing is copied."""
        return cls(dict(learned_by(component)), {place: cls.of(part) for place, part in parts_of(component)})

    def give(self, component: Any) -> None:
        """Make ``component``, built from the same spec, one that learned this."""
        for name, value in self.values.items():
            setattr(component, name, value)
        for place, part in parts_of(component):
            self.parts[place].give(part)

    def arrays(self) -> Iterator[Any]:
        """Yield every value."""
        yield from self.values.values()
        for part in self.parts.values():
            yield from part.arrays()


@dataclass(frozen=True)
class Ready:
    """What a recommender learned from some data with the settings of ``spec``, and what a fit takes from nothing."""

    spec: Spec
    learned: Learned
    cost: Cost

    def fits(self, plan: Plan) -> bool:
        """Whether fitting ``plan`` to these data would make just this."""
        return plan.reranker is None and plan.recommender == self.spec


def parts_of(component: Any) -> Iterator[tuple[str, Any]]:
    """Yield the recommenders and rerankers that ``component`` is made of, each with its place."""
    for declared in dataclasses.fields(component):
        if registry.kind_of(str(declared.type)) in ("recommender", "reranker"):
            value = getattr(component, declared.name)
            for i, part in enumerate(value if isinstance(value, tuple) else (value,)):
                if part is not None:
                    yield f"{declared.name}.{i}", part


def learned_by(component: Any) -> Iterator[tuple[str, Any]]:
    """Yield what ``component`` itself learned, by name."""
    for name, value in vars(component).items():
        if name.endswith("_") and not name.startswith("_"):
            yield name, value


def copied(component: Any) -> Any:
    """Return a copy that shares what was learned, of which fitting the original again changes nothing."""
    made = copy.copy(component)
    for declared in dataclasses.fields(component):
        if registry.kind_of(str(declared.type)) in ("recommender", "reranker"):
            value = getattr(component, declared.name)
            if value is not None:
                parts = tuple(map(copied, value)) if isinstance(value, tuple) else copied(value)
                setattr(made, declared.name, parts)
    return made


def held_bytes(component: Any) -> int:
    """Return the bytes of all arrays that ``component`` and those in it hold, for answers or not."""
    return sum(map(size_of, vars(component).values())) + sum(held_bytes(part) for _, part in parts_of(component))


def distinct_bytes(models: Iterable[Learned]) -> int:
    """Return the bytes of what several models learned; what they share counts once."""
    return sum({id(value): size_of(value) for one in models for value in one.arrays()}.values())


def size_of(value: Any) -> int:
    """Return the bytes of arrays and texts; of an array that is mapped from a file, none."""
    if isinstance(value, np.ndarray):
        return 0 if isinstance(value, np.memmap) else int(value.nbytes)
    if sparse.issparse(value):
        return int(value.data.nbytes + value.indices.nbytes + value.indptr.nbytes)
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    return sum(map(size_of, value)) if isinstance(value, list | tuple) else 0


__all__ = ["Learned", "Ready", "copied", "distinct_bytes", "held_bytes", "learned_by", "parts_of", "size_of"]
