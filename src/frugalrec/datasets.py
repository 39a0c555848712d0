"""Configured data → Dataset: files of the user's own, or a data set that frugalrec can fetch by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from frugalrec import assets
from frugalrec.config import DataSection
from frugalrec.data.dataset import Dataset
from frugalrec.data.loading import LoadReport, SourceConfig, load
from frugalrec.errors import UnknownNameError

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
    source = SourceConfig(
        interactions=None,
        items=None,
        format=section.format,
        user=section.user,
        item=section.item,
        timestamp=section.timestamp,
        rating=section.rating,
        item_id=section.item_id,
        text=section.text,
        delimiter=section.delimiter,
        on_bad_rows=section.on_bad_rows,
        duplicates=section.duplicates,
        ties=section.ties,
        seed=seed,
        min_rating=section.min_rating,
    )
    if section.dataset is None:
        assert section.interactions is not None
        interactions = base / Path(section.interactions).expanduser()
        items = None if section.items is None else base / Path(section.items).expanduser()
        dataset, report = load(replace(source, interactions=interactions, items=items))
        return replace(dataset, name=interactions.stem), report
    if section.dataset not in NAMED:
        raise UnknownNameError.of("data set", section.dataset, NAMED)
    fetched = assets.fetch(section.dataset, offline=offline, notify=notify, progress=progress)
    log, catalogue = NAMED[section.dataset][fetched.format]
    dataset, report = load(replace(source, interactions=fetched.files[log], items=fetched.files[catalogue]))
    return replace(dataset, name=section.dataset), report
