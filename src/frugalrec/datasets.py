"""Configured data → Dataset: files of the user's own, or a data set that frugalrec can fetch by name."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from frugalrec import array_files, assets
from frugalrec.config import DataSection
from frugalrec.data.dataset import Dataset
from frugalrec.data.loading import LoadReport, SourceConfig, load
from frugalrec.errors import DataError, UnknownNameError

NAMED: dict[str, dict[str, tuple[str, str]]] = {
    "movielens-100k": {"movielens": ("u.data", "u.item"), "recbole": ("ml-100k.inter", "ml-100k.item")},
    "movielens-1m": {"movielens": ("ratings.dat", "movies.dat"), "recbole": ("ml-1m.inter", "ml-1m.item")},
}
"""Data sets by name: for each format they come in, the file of events and the file of items."""

_HERE = "file://"
"""A URL that begins so is that of a path."""


def load_data(
    section: DataSection,
    base: Path,
    *,
    offline: bool = False,
    notify: assets.Notify | None = None,
    progress: assets.Progress | None = None,
    seed: int = 0,
) -> tuple[Dataset, LoadReport]:
    """Read what ``[data]`` names; relative paths are relative to ``base``, the folder of the configuration.

    What is named by a URL is copied to this machine for as long as it is read.
    """
    name = section.dataset
    shared = section.model_dump(exclude={"dataset", "interactions", "items"})
    if name is None:
        assert section.interactions is not None
        known = section.interactions.lower()
        if known in NAMED and not _path(section.interactions, base).exists():
            raise DataError(
                f"{_path(section.interactions, base)}: expected a file, found none",
                hint=f'that is the name of a data set, not a path: write dataset = "{known}" instead of interactions',
            )
        with ExitStack() as copies:
            files: dict[str, Path] = {}
            called: dict[str, str] = {}
            for role in ("interactions", "items"):
                if (place := getattr(section, role)) is None:
                    continue
                files[role] = _path(place, base)
                if _elsewhere(place):
                    files[role] = copies.enter_context(array_files.copied(place))
                    called[str(files[role])] = place
            dataset, report = load(SourceConfig(files["interactions"], files.get("items"), seed=seed, **shared))
        report = replace(report, files=tuple(called.get(file, file) for file in report.files))
        return replace(dataset, name=files["interactions"].name.split(".")[0]), report
    if name not in NAMED:
        raise UnknownNameError.of("data set", name, NAMED)
    fetched = assets.fetch(name, offline=offline, notify=notify, progress=progress)
    interactions, items = (fetched.files[file] for file in NAMED[name][fetched.format])
    dataset, report = load(SourceConfig(interactions=interactions, items=items, seed=seed, **shared))
    return replace(dataset, name=name), report


def located(place: str, base: Path) -> str:
    """Return a URL as it is, and a path seen from the folder ``base`` in full."""
    return place if _elsewhere(place) else str(_path(place, base).resolve())


def _elsewhere(place: str) -> bool:
    return array_files.is_url(place) and not place.startswith(_HERE)


def _path(place: str, base: Path) -> Path:
    return base / Path(place.removeprefix(_HERE)).expanduser()
