"""Plans that were built: `Pipeline` (a plan's components, fitted), made by `build`, and saved as arrays and JSON."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self
from zipfile import ZIP_STORED, BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile
from scipy import sparse

from frugalrec import registry
from frugalrec.cost import Ledger, charge, charge_reused
from frugalrec.data.dataset import Dataset, Query, Ranking, Reason
from frugalrec.data.interactions import IntArray
from frugalrec.encoders._cached import Cached, Inspects
from frugalrec.encoders._spread import encode_spread
from frugalrec.errors import DataError, NotFittedError
from frugalrec.interfaces import (
    ArrayStore,
    Explains,
    LanguageModel,
    LearnsFromTexts,
    Matrix,
    Recommender,
    Reranker,
    Role,
    TextEncoder,
)
from frugalrec.learned import Learned, Ready, learned_by, parts_of, size_of
from frugalrec.llms._cached import CachedLanguageModel
from frugalrec.plan import Plan, Spec, map_specs
from frugalrec.spending import Rate, computing
from frugalrec.usage import give_back_memory

_MODEL_FILE = "model.npz"
_FORM = 4  # raised when a component's learned state comes to mean something else


class Remembering:
    """An encoder that keeps the catalogue's vectors of the stage that encodes, so that fitting pays nothing.

    ``component`` is the encoder of the plan itself, which ``encoder`` may be a cache around.
    """

    is_counted_alone = True
    """What it takes is a stage of its own: an encoder made of it does not count it again."""

    def __init__(self, encoder: TextEncoder, component: TextEncoder | None = None) -> None:
        self.encoder = encoder
        self.component = encoder if component is None else component
        self._known: dict[str, int] = {}
        self._vectors: Matrix | None = None

    def remember(self, texts: Sequence[str]) -> None:
        """Encode ``texts`` as items, now, and keep the vectors; an encoder that learns from texts does so first."""
        distinct = list(dict.fromkeys(texts))
        if isinstance(self.component, LearnsFromTexts):
            self.component.fit(list(texts))
        self._vectors = self.encoder.encode(distinct, role="item")
        self._known = {text: row for row, text in enumerate(distinct)}

    def encode(self, texts: Sequence[str], *, role: Role = "item") -> Matrix:
        """Return float32 ``(n, dim)``, from memory where all texts are known items."""
        if role == "item" and self._vectors is not None and all(text in self._known for text in texts):
            return self._vectors[[self._known[text] for text in texts]]
        return self.encoder.encode(texts, role=role)

    @property
    def dim(self) -> int | None:
        """Dimension of the vectors, where the encoder says it without encoding anything."""
        return getattr(self.component, "width", None) or getattr(self.component, "dim", None)

    def fingerprint(self) -> str:
        """Return the encoder's fingerprint."""
        return self.encoder.fingerprint()


class Metered:
    """An encoder whose calls are held to the spend cap in force; one that buys tokens asks for itself."""

    def __init__(self, encoder: TextEncoder) -> None:
        self.encoder = encoder
        self._rate = Rate()

    def encode(self, texts: Sequence[str], *, role: Role = "item") -> Matrix:
        """Return the encoder's vectors; raises `BudgetError` at the cap."""
        with computing("an encoder", float(sum(map(len, texts))), self._rate):
            return encode_spread(self.encoder, texts, role=role)

    def inspect(self, texts: Sequence[str]) -> None:
        """Let the encoder look at all texts, where it wants to: it may warn."""
        if isinstance(self.encoder, Inspects):
            self.encoder.inspect(texts)

    def fingerprint(self) -> str:
        """Return the encoder's fingerprint."""
        return self.encoder.fingerprint()


class Pipeline:
    """A built plan: `fit`, then `recommend`. Opens a ledger span a stage: ``encode`` (once), ``fit`` (each refresh)."""

    def __init__(
        self,
        plan: Plan,
        recommender: Recommender,
        reranker: Reranker | None,
        encoders: tuple[Remembering, ...],
        models: tuple[LanguageModel, ...] = (),
    ) -> None:
        self.plan, self.recommender, self.reranker = plan, recommender, reranker
        self._encoders, self._models = encoders, models

    @property
    def encoders(self) -> tuple[TextEncoder, ...]:
        """The plan's encoders, each after those it is made of."""
        return tuple(encoder.component for encoder in self._encoders)

    def fit(self, dataset: Dataset, ledger: Ledger | None = None, ready: Ready | None = None) -> Self:
        """Encode the catalogue, then learn from the events.

        What is ``ready``, made of these data by these settings, is not learned again: it is charged as reused.
        """
        ledger = ledger if ledger is not None else Ledger()
        give_back_memory()
        with ledger.span("encode", plan=self.plan.name, phase="once", units=dataset.n_items):
            self.encode(dataset)
        give_back_memory()
        with ledger.span("fit", plan=self.plan.name, phase="refresh"):
            if ready is None:
                self.recommender.fit(dataset)
            else:
                ready.learned.give(self.recommender)
                # Nothing is spent on it; what nobody knows of its fit stays unknown of the whole.
                charge(**{name: None if amount is None else 0.0 for name, amount in ready.cost.to_dict().items()})
                charge_reused(ready.cost)
            if self.reranker is not None:
                self.reranker.fit(dataset)
        return self

    def encode(self, dataset: Dataset) -> Self:
        """Encode the catalogue's texts with every encoder of the plan."""
        charge(flops=0.0)  # what the encoders do not have to do, because it is cached or there are none, is known
        for encoder in self._encoders:
            encoder.remember(dataset.catalog.texts())
        return self

    def score(self, queries: Sequence[Query]) -> Matrix:
        """Return float32 ``(n_queries, n_items)``; items a reranker moved stand above all others, in its order."""
        scores = self.recommender.score(queries)
        if self.reranker is None:
            return scores
        scores = scores.copy()
        top = self.recommender.recommend(queries, self.reranker.depth)
        for row, ranking in enumerate(self.reranker.rerank(queries, top)):
            highest = scores[row].max(initial=0.0)
            # Steps that float32 can tell apart even above very large scores.
            step = max(1.0, 2.0 * float(np.spacing(highest)))
            scores[row, ranking.items] = highest + step * np.arange(len(ranking), 0, -1)
        return scores

    def recommend(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        """Return at most ``k`` items a query, best first."""
        if self.reranker is None:
            return self.recommender.recommend(queries, k)
        retrieved = self.recommender.recommend(queries, max(k, self.reranker.depth))
        reranked = self.reranker.rerank(queries, retrieved)
        return [
            replace(
                r,
                items=r.items[:k],
                scores=r.scores[:k],
                reasons=None if r.reasons is None else r.reasons[:k],
            )
            for r in reranked
        ]

    def explain(self, query: Query, items: IntArray) -> list[tuple[Reason, ...]]:
        """Return reasons for each of ``items``; none where the recommender cannot say."""
        if isinstance(self.recommender, Explains):
            return self.recommender.explain(query, items)
        return [() for _ in items]

    @property
    def model_bytes(self) -> int:
        """Bytes of all arrays and texts learned, and of the weights of language models that run on every request.

        Arrays that are mapped from a file are not among them: they are `disk_bytes`.
        """
        models = [*self._models, *_asked(self.reranker)]
        return sum(map(size_of, self._state())) + sum(getattr(model, "weights_bytes", 0) for model in models)

    @property
    def models(self) -> tuple[LanguageModel, ...]:
        """The language models of the plan, each once."""
        return self._models

    @property
    def disk_bytes(self) -> int:
        """Bytes of the arrays that stay in a file, of which a request reads a part."""
        return sum(value.nbytes for value in self._state() if isinstance(value, np.memmap))

    def save(self, folder: Path) -> None:
        """Write what was learned as one file of arrays and JSON, whole or not at all."""
        arrays: dict[str, np.ndarray[Any, Any]] = {}
        tree = {"form": _FORM, "plan": self._shape()}
        tree["recommender"] = _freeze(self.recommender, "recommender", arrays)
        if self.reranker is not None:
            tree["reranker"] = _freeze(self.reranker, "reranker", arrays)
        tree["encoders"] = [_freeze(e.component, f"encoder.{i}", arrays) for i, e in enumerate(self._encoders)]
        state = np.frombuffer(json.dumps(tree).encode(), dtype=np.uint8)
        folder.mkdir(parents=True, exist_ok=True)
        written = folder / f".{os.getpid()}-{_MODEL_FILE}"
        try:
            np.savez(written, state=state, **arrays)  # type: ignore[arg-type]
            os.replace(written, folder / _MODEL_FILE)
        finally:
            written.unlink(missing_ok=True)

    def load(self, folder: Path) -> Self:
        """Read what `save` wrote, for the same plan.

        Raises `NotFittedError` when nothing was saved, and `DataError` when it is damaged, of another plan or of a
        version that kept something else under the same names.
        """
        again = "fit it again: frugalrec run"
        try:
            with np.load(folder / _MODEL_FILE, allow_pickle=False) as arrays:
                tree = json.loads(arrays["state"].tobytes())
                if tree.get("form") != _FORM:
                    raise DataError(f"{folder}: the model was saved by another version of frugalrec", hint=again)
                if tree["plan"] != self._shape():
                    raise DataError(f"{folder}: the saved model is not of the plan '{self.plan.name}'", hint=again)
                _thaw(self.recommender, tree["recommender"], arrays)
                if self.reranker is not None:
                    _thaw(self.reranker, tree["reranker"], arrays)
                for encoder, frozen in zip(self._encoders, tree["encoders"], strict=True):
                    _thaw(encoder.component, frozen, arrays)
        except FileNotFoundError as error:
            raise NotFittedError(f"{folder}: no saved model ({_MODEL_FILE} is missing)", hint=again) from error
        except DataError:
            raise
        except (ValueError, LookupError, TypeError, RuntimeError, OSError, EOFError, BadZipFile) as error:
            raise DataError(f"{folder}: the saved model is damaged: {error}", hint=again) from error
        return self

    def _state(self) -> Iterator[Any]:
        for part in (self.recommender, self.reranker):
            if part is not None:
                yield from Learned.of(part).arrays()
        for encoder in self._encoders:
            yield from (value for _, value in learned_by(encoder.component))

    def _shape(self) -> Any:
        """Return the components and settings as they come back from JSON; what a plan is called does not matter."""
        parts = (self.plan.recommender, self.plan.reranker)
        return json.loads(json.dumps([None if part is None else part.to_dict() for part in parts]))


def build(plan: Plan, store: ArrayStore | None = None) -> Pipeline:
    """Construct the components of ``plan``: what `Plan.build` does."""
    shared = _Shared()
    recommender = _built("recommender", plan.recommender, f"plan '{plan.name}'", store, shared)
    reranker = None
    if plan.reranker is not None:
        reranker = _built("reranker", plan.reranker, f"plan '{plan.name}'", store, shared)
    return Pipeline(plan, recommender, reranker, tuple(shared.encoders.values()), tuple(shared.models.values()))


def _built(kind: str, spec: Spec, where: str, store: ArrayStore | None, shared: _Shared) -> Any:
    where = f"{where}: {kind} '{spec.component}'"
    fields = registry.settings_of(registry.load(kind, spec.component))

    def child(key: str, value: Any) -> Any:
        declared = fields.get(key.replace("_", "-"))
        child_kind = registry.kind_of(str(declared.type)) if declared is not None else None
        if child_kind is None:
            return value
        return map_specs(value, lambda s: _built(child_kind, s, where, store, shared))

    settings = {key: child(key, value) for key, value in spec.settings.items()}
    component = registry.build(kind, spec.component, settings, where=where)
    # The same model in two places of a plan is one: its texts are encoded once, its weights are held once.
    key = json.dumps(spec.to_dict(), sort_keys=True)
    if kind == "encoder":
        metered = component
        if getattr(component, "is_language_model", False) and not hasattr(component, "price"):
            metered = Metered(component)
        kept = metered if store is None else Cached(metered, store)
        return shared.encoders.setdefault(key, Remembering(kept, component))
    if kind == "llm":
        model = shared.models.setdefault(key, component)
        return model if store is None else CachedLanguageModel(model, store)
    return component


@dataclass
class _Shared:
    """The models of one plan, by what the plan says of them."""

    encoders: dict[str, Remembering] = field(default_factory=dict)
    models: dict[str, LanguageModel] = field(default_factory=dict)


def _asked(reranker: Any) -> Iterator[Any]:
    """Yield a reranker and those in it, as far as they run on requests."""
    if reranker is not None and not getattr(reranker, "frees_requests", False):
        yield reranker
        for name, part in parts_of(reranker):
            if name.startswith("reranker"):
                yield from _asked(part)


def _freeze(component: Any, path: str, arrays: dict[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    state: dict[str, Any] = {}
    for name, value in learned_by(component):
        state[name] = _frozen(value, f"{path}/{name}", arrays)
    children = {key: _freeze(part, f"{path}/{key}", arrays) for key, part in parts_of(component)}
    return {"state": state, "children": children}


def _frozen(value: Any, path: str, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    if isinstance(value, np.ndarray):
        arrays[path] = value
        return {"mapped" if isinstance(value, np.memmap) else "array": path}
    if sparse.issparse(value):
        rows = value.tocsr()
        for part in ("data", "indices", "indptr"):
            arrays[f"{path}.{part}"] = getattr(rows, part)
        return {"csr": path, "shape": list(rows.shape)}
    if value is None or isinstance(value, bool | int | float | str | list | tuple):
        return {"value": value}
    raise TypeError(f"{path}: learned state of type {type(value).__name__} cannot be kept")


def _thaw(component: Any, tree: Mapping[str, Any], arrays: NpzFile) -> None:
    for name, frozen in tree["state"].items():
        setattr(component, name, _thawed(frozen, arrays))
    for key, part in parts_of(component):
        _thaw(part, tree["children"][key], arrays)


def _thawed(frozen: Mapping[str, Any], arrays: NpzFile) -> Any:
    if "mapped" in frozen:
        return _mapped(arrays.zip, f"{frozen['mapped']}.npy")
    if "array" in frozen:
        return arrays[frozen["array"]]
    if "csr" in frozen:
        data, indices, indptr = (arrays[f"{frozen['csr']}.{part}"] for part in ("data", "indices", "indptr"))
        return sparse.csr_array((data, indices, indptr), shape=tuple(frozen["shape"]))
    value = frozen["value"]
    return tuple(value) if isinstance(value, list) else value


def _mapped(archive: Any, name: str) -> np.memmap[Any, Any]:
    """Return an array of an open file of arrays, mapped from it and read-only; its checksum is compared first.

    It stays what it is when another model takes the file's name.
    """
    told = archive.getinfo(name)
    if told.compress_type != ZIP_STORED:
        raise ValueError(f"{name} is compressed, and cannot be mapped")
    with archive.open(told) as member:
        if np.lib.format.read_magic(member) != (1, 0):
            raise ValueError(f"{name} has a header of another version")
        shape, by_columns, dtype = np.lib.format.read_array_header_1_0(member)
        header = member.tell()
        while member.read(1 << 20):  # to the end, where the checksum is compared
            pass
    archive.fp.seek(told.header_offset + 26)
    names = sum(struct.unpack("<HH", archive.fp.read(4)))  # the lengths of the name and of what follows it
    start = told.header_offset + 30 + names + header
    return np.memmap(archive.fp, dtype, "r", start, shape, "F" if by_columns else "C")
