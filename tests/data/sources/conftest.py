from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from frugalrec.data.dataset import Dataset


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """Write a file (gzip by its name) and return its path."""

    def write(name: str, content: str, encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode(encoding)
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write


@pytest.fixture
def events() -> Callable[[Dataset], list[tuple[object, ...]]]:
    """Return a dataset's events as (user, item, value, timestamp), in canonical order, by ids."""

    def listed(dataset: Dataset) -> list[tuple[object, ...]]:
        log = dataset.interactions
        return [
            (
                log.users.ids[log.user[n]],
                log.items.ids[log.item[n]],
                None if log.value is None else float(log.value[n]),
                None if log.timestamp is None else float(log.timestamp[n]),
            )
            for n in range(len(log))
        ]

    return listed
