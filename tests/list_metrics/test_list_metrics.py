from __future__ import annotations

import pkgutil

import numpy as np
import pytest

from frugalrec import list_metrics
from frugalrec.interfaces import Lists
from frugalrec.list_metrics import LIST_METRICS


def lists(
    rows: list[list[int]], popularity: list[int], n_users: int = 7, vectors: list[list[float]] | None = None
) -> Lists:
    return Lists(
        items=np.array(rows, dtype=np.int32),
        popularity=np.array(popularity, dtype=np.int64),
        n_users=7,
        vectors=None if vectors is None else np.array(vectors, dtype=np.float32),
        histories=[],
    )


def test_every_file_is_listed() -> None:
    files = {m.name.replace("_", "-") for m in pkgutil.iter_modules(list_metrics.__path__) if m.name[0] != "_"}
    assert files == set(LIST_METRICS)


def test_coverage_is_the_share_of_items_shown() -> None:
    assert LIST_METRICS["coverage"](lists([[0, 1], [1, -1], [1, 0]], [1] * 8)).tolist() == [0.25]


def test_gini_worked_by_hand() -> None:
    gini = LIST_METRICS["gini"]
    assert gini(lists([[0, 1], [2, 3]], [1] * 4)).tolist() == [0.0]
    assert gini(lists([[0], [0]], [1] * 4)).tolist() == [0.75]
    # Shown 0, 1, 1, 2 times: the absolute differences of all 16 ordered pairs sum to 12; 12 / (2 · 16 · 1) = 0.375 …
    shown = np.array([0, 1, 1, 2])
    expected = np.abs(shown[:, None] - shown).sum() / (2 * 16 * shown.mean())
    assert gini(lists([[1, 2], [3, -1], [3, -1]], [1] * 4))[0] == pytest.approx(expected)


def test_novelty_worked_by_hand() -> None:
    # 7 users: an item with 7 events gives 0 bits, with 1 event log2(8 / 2) = 2, with none 3, with 9 (repeats) 0.
    novelty = LIST_METRICS["novelty"](lists([[0, 1], [2, -1], [3, 0]], [7, 1, 0, 9]))
    assert novelty.tolist() == [1.0, 3.0, 0.0]


def test_diversity_worked_by_hand() -> None:
    vectors = [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]
    rows = [[0, 2, -1], [0, 1, -1], [0, 3, -1], [0, 1, 2], [0, 4, 1], [0, 4, -1], [0, -1, -1]]
    values = LIST_METRICS["diversity"](lists(rows, [1] * 5, vectors=vectors))
    np.testing.assert_allclose(values, [0, 1, 2, 2 / 3, 1, np.nan, np.nan], atol=1e-7)


def test_diversity_of_many_lists_does_not_depend_on_how_they_are_blocked() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((50, 2048)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    items = rng.integers(50, size=(700, 10))
    values = LIST_METRICS["diversity"](lists(items.tolist(), [1] * 50, vectors=vectors.tolist()))
    cosines = vectors[items[-1]] @ vectors[items[-1]].T
    assert values[-1] == pytest.approx(1 - cosines[~np.eye(10, dtype=bool)].mean(), abs=1e-5)


def test_popularity_bias_worked_by_hand() -> None:
    # Events 0, 5, 5, 9: the shares that are less popular are 1/8, 1/2, 1/2, 7/8.
    values = LIST_METRICS["popularity-bias"](lists([[0, -1], [1, 2], [0, 3], [3, -1]], [0, 5, 5, 9]))
    assert values.tolist() == [0.125, 0.5, 0.5, 0.875]


def test_popularity_bias_of_the_whole_catalogue_is_one_half() -> None:
    popularity = np.random.default_rng(0).integers(5, size=31)
    values = LIST_METRICS["popularity-bias"](lists([list(range(31))], popularity.tolist()))
    assert values[0] == pytest.approx(0.5)


@pytest.mark.parametrize("name", LIST_METRICS)
def test_what_an_empty_list_cannot_tell_is_unknown(name: str) -> None:
    value = LIST_METRICS[name](lists([[-1, -1]], [1, 2], vectors=[[1.0, 0.0], [0.0, 1.0]]))
    assert value.shape == (1,)
    assert value.dtype == np.float64
    if name == "coverage":
        assert value.tolist() == [0.0]
    else:
        assert np.isnan(value).all()


@pytest.mark.parametrize("name", LIST_METRICS)
def test_shapes(name: str) -> None:
    three = LIST_METRICS[name](lists([[0, 1], [1, 0], [0, -1]], [1, 2]))
    assert three.shape == ((1,) if name in ("coverage", "gini") else (3,))
    if name == "diversity":
        assert np.isnan(three).all()
    none = Lists(np.empty((0, 10), np.int32), np.array([1, 2]), 3, np.eye(2, dtype=np.float32), [])
    assert LIST_METRICS[name](none).shape == ((1,) if name in ("coverage", "gini") else (0,))
