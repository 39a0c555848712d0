"""The small data sets that tests and examples stand on."""

import numpy as np
import pytest

from frugalrec.testing.data import checkerboard, toy_dataset


def test_checkerboard_is_even_and_odd_without_the_diagonal():
    dataset = checkerboard(5)
    expected = [[0, 0, 1, 0, 1], [0, 0, 0, 1, 0], [1, 0, 0, 0, 1], [0, 1, 0, 0, 0], [1, 0, 1, 0, 0]]
    assert dataset.interactions.matrix().toarray().tolist() == expected
    assert dataset.catalog.texts()[:2] == ["even square", "odd square"]


def test_toy_users_walk_along_the_ring():
    dataset = toy_dataset(n_users=200, n_items=40, cold=5)
    steps = [step for _, items in dataset.interactions.sequences() for step in np.diff(items) % 35]
    assert np.mean(np.array(steps) == 1) > 0.6
    assert all(len(set(items.tolist())) == len(items) == 12 for _, items in dataset.interactions.sequences())
    assert dataset.interactions.popularity[35:].tolist() == [0] * 5


@pytest.mark.parametrize("timestamps", [True, False])
@pytest.mark.parametrize("text", [True, False])
def test_toy_columns_are_there_when_asked_for(timestamps, text):
    dataset = toy_dataset(timestamps=timestamps, text=text)
    assert (dataset.interactions.timestamp is not None) == timestamps
    assert any(dataset.catalog.texts()) == text


def test_the_seed_decides():
    assert toy_dataset(seed=1).fingerprint() == toy_dataset(seed=1).fingerprint()
    assert toy_dataset(seed=1).fingerprint() != toy_dataset(seed=2).fingerprint()
