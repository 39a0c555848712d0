"""Configured data → Dataset: files of the user's own, or a data set that frugalrec can fetch by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from frugalrec import assets
from frugalrec.config import DataSection
from frugalrec.data.dataset import Dataset
from frugalrec.data.loading import LoadReport, SourceConfig, load
from frugalrec.errors import DataError, UnknownNameError

NAMED: dict[str, dict[str, tuple[str, str]]] = {
    "movielens-100k": {"movielens": ("u.data", "u.item"), "recbole": ("ml-100k.inter", "ml-100k.item")},
    "movielens-1m": {"movielens": ("ratings.dat", "movies.dat"), "recbole": ("ml-1m.inter", "ml-1m.item")},
}
"""Data sets by name: for each format they come in, the file of events and the file of items."""


def load_data(
    section: DataSection,
    base: Path,
    *,
    offline: bool = False,
    notify: assets.Notify | None = None,
    progress: assets.Progress | None = None,
    seed: int = 0,
) -> tuple[Dataset, LoadReport]:
    """Read what ``[data]`` names; relative paths are relative to ``base``, the folder of the configuration."""
    name = section.dataset
    if name is None:
        assert section.interactions is not None
        interactions = base / Path(section.interactions).expanduser()
        if (known := section.interactions.lower()) in NAMED and not interactions.exists():
            raise DataError(
                f"{interactions}: expected a file, found none",
                hint=f'that is the name of a data set, not a path: write dataset = "{known}" instead of interactions',
            )
        items = None if section.items is None else base / Path(section.items).expanduser()
        name = interactions.name.split(".")[0]
    elif name in NAMED:
        fetched = assets.fetch(name, offline=offline, notify=notify, progress=progress)
        log, catalogue = NAMED[name][fetched.format]
        interactions, items = fetched.files[log], fetched.files[catalogue]
    else:
        raise UnknownNameError.of("data set", name, NAMED)
    shared = section.model_dump(exclude={"dataset", "interactions", "items"})
    dataset, report = load(SourceConfig(interactions=interactions, items=items, seed=seed, **shared))
    return replace(dataset, name=name), report
