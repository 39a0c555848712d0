"""What commands share that ask a finished run."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any

from frugalrec import registry
from frugalrec.data.dataset import Dataset
from frugalrec.datasets import load_data
from frugalrec.encoders._cached import Cached
from frugalrec.errors import ConfigError, MissingExtraError, UnknownNameError
from frugalrec.interfaces import ConstrainedModel, LanguageModel, Matrix, TextEncoder
from frugalrec.llms._cached import CachedLanguageModel
from frugalrec.pipeline import Pipeline
from frugalrec.plan import Spec
from frugalrec.prices import PriceSheet
from frugalrec.run_folder import PlanFile, load_model
from frugalrec.spending import SpendCap, metering
from frugalrec.stores.array_cache import ArrayCache

LLM_EXAMPLE = '--llm \'{ component = "http", url = "http://localhost:8000/v1", model = "small" }\''


@dataclass(frozen=True)
class Opened:
    """A finished run: its data, its fitted model, and the code of the user who asks (None for a stranger)."""

    chosen: PlanFile
    dataset: Dataset
    pipeline: Pipeline
    user: int | None

    @property
    def reads_text(self) -> bool:
        """Whether the model reads what a request says in words."""
        return any(name.startswith("encoder:") for name in self.chosen.plan.components())


def opened(run: Path, user: str | None = None) -> Opened:
    """Open the folder of a run; raises `ConfigError` when it is none, `UnknownNameError` for a user without events."""
    if not (run / "plan.toml").exists():
        raise ConfigError(f"{run}: no finished run is there", hint="name its folder with --run DIR")
    chosen = PlanFile.read(run / "plan.toml")
    dataset, _ = load_data(chosen.data, run, offline=True)
    chosen.check_data(dataset.fingerprint())
    pipeline = load_model(run, chosen.plan, ArrayCache())
    code = None
    if user is not None:
        try:
            code = dataset.interactions.users.code(user)
        except UnknownNameError as error:
            raise UnknownNameError(
                f"{error.message}: no events of this user in the data",
                hint=f"{error.hint or ''} leave --user out to ask as a stranger".strip(),
            ) from error
    return Opened(chosen, dataset, pipeline, code)


def item_vectors(found: Opened) -> Matrix:
    """Return unit vectors of the items' texts: of the plan's own encoder, or of their words where it has none."""
    names = [name.partition(":")[2] for name in found.chosen.plan.components() if name.startswith("encoder:")]
    encoder: TextEncoder = registry.build("encoder", names[0] if names else "bag-of-words", {})
    return Cached(encoder, ArrayCache()).encode(found.dataset.catalog.texts(), role="item")


def constrained_model(name: str) -> ConstrainedModel:
    """Return the language model called ``name`` as one that can be held to a form."""
    model = language_model(name)
    assert isinstance(model, ConstrainedModel)
    return model


def language_model(name: str) -> LanguageModel:
    """Return a language model: by its name, or as a plan writes it; what it writes is kept between runs.

    ``{ component = "http", url = "…", model = "…" }`` is the latter.
    """
    settings: Mapping[str, Any] = {}
    if name.lstrip().startswith("{"):
        try:
            spec = Spec.from_dict(tomllib.loads(f"llm = {name}")["llm"], "--llm")
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"--llm: not a table in TOML: {error}", hint=f"write {LLM_EXAMPLE}") from error
        name, settings = spec.component, spec.settings
    if extra := registry.missing_extra("llm", name):
        raise MissingExtraError.of(name, extra)
    for setting in (f for f in registry.settings_of(registry.load("llm", name)).values() if f.name not in settings):
        if setting.default is MISSING and setting.default_factory is MISSING:
            raise ConfigError(f"the llm '{name}' needs '{setting.name}'", hint=f"write {LLM_EXAMPLE}")
    return CachedLanguageModel(registry.build("llm", name, settings, where="--llm"), ArrayCache())


@contextmanager
def metered(found: Opened, dollars: float | None) -> Iterator[None]:
    """Price what language models cost by the run's sheet inside the block, and make no call beyond ``dollars``."""
    sheet = PriceSheet.load(Path(found.chosen.price_sheet) if found.chosen.price_sheet else None)
    with metering(sheet, SpendCap(dollars, currency=sheet.currency)):
        yield
