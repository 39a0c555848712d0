from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions

COLOURS = ("red", "green", "blue")
THINGS = ("apple", "pear", "plum", "fig", "lime", "date", "kiwi", "melon")


@pytest.fixture(scope="session")
def colours() -> Dataset:
    """People who keep to things of one colour: only the titles say which candidates go on with a history."""
    titles = [f"{colour} {thing}" for thing in THINGS for colour in COLOURS]
    items, users = IdMap([f"i{i}" for i in range(len(titles))]), IdMap([f"u{i}" for i in range(60)])
    rng = np.random.default_rng(0)
    events = [(user, 3 * thing + user % 3) for user in range(60) for thing in rng.permutation(len(THINGS))[:6]]
    user, item = (np.array(column, dtype=np.int32) for column in zip(*events, strict=True))
    return Dataset(
        Interactions.from_events(user, item, users, items), Catalog(items, {"title": titles}, ("title",)), "colours"
    )


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, colours: Dataset) -> Path:
    """A BERT without knowledge that has the words of `colours`."""
    pytest.importorskip("transformers", reason="needs the extra 'torch'")
    from frugalrec.testing.models import tiny_bert

    return tiny_bert(tmp_path_factory.mktemp("tiny"), colours.catalog.texts())
