"""What commands share that ask a finished run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from frugalrec import registry
from frugalrec.data.dataset import Dataset
from frugalrec.datasets import load_data
from frugalrec.encoders._cached import Cached
from frugalrec.errors import ConfigError, MissingExtraError, UnknownNameError
from frugalrec.interfaces import ConstrainedModel, LanguageModel, Matrix, TextEncoder
from frugalrec.llms._cached import CachedLanguageModel
from frugalrec.pipeline import Pipeline
from frugalrec.run_folder import PlanFile, load_model
from frugalrec.stores.array_cache import ArrayCache


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
    """Return the language model called ``name`` with its default settings; what it writes is kept between runs."""
    if extra := registry.missing_extra("llm", name):
        raise MissingExtraError.of(name, extra)
    return CachedLanguageModel(registry.build("llm", name, {}), ArrayCache())
