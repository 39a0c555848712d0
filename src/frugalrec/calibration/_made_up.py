"""Made-up logs to measure on: popularity as Zipf's, histories of one length."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import sparse

from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions


def log_of(n_items: int, n_events: int, *, length: int = 40) -> Interactions:
    """Return a log of ``n_events``, ``length`` a user, items drawn by a power of their rank."""
    rng = np.random.default_rng(0)
    share = 1.0 / np.arange(1, n_items + 1) ** 0.8
    items = rng.choice(n_items, size=n_events, p=share / share.sum()).astype(np.int32)
    users = (np.arange(n_events) // length).astype(np.int32)
    return Interactions.from_events(users, items, _ids("u", int(users[-1]) + 1), _ids("i", n_items))


def dataset_of(n_items: int, n_events: int, *, length: int = 40) -> Dataset:
    """Return `log_of` as data without texts."""
    return data_of(log_of(n_items, n_events, length=length))


def data_of(log: Interactions) -> Dataset:
    """Return ``log`` as data without texts."""
    return Dataset(log, Catalog(log.items), "made up")


@cache
def large_log() -> Interactions:
    """Return a log that no cache holds."""
    return log_of(30_000, 6_000_000, length=150)


def scattered(n: int, kept: int, columns: int = 0) -> sparse.csr_array:
    """Return float32 weights of ``n`` rows and ``columns`` (none: as many), ``kept`` a row, anywhere."""
    columns = columns or n
    met = np.random.default_rng(0).integers(0, columns, n * kept, dtype=np.int32)
    offsets = np.arange(n + 1, dtype=np.int32) * kept
    return sparse.csr_array((np.ones(n * kept, dtype=np.float32), met, offsets), shape=(n, columns))


def _ids(prefix: str, n: int) -> IdMap:
    return IdMap([f"{prefix}{i}" for i in range(n)])
