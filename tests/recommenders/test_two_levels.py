import tempfile

import numpy as np
import pytest

from frugalrec.data.dataset import Query
from frugalrec.recommenders._base import query_matrix
from frugalrec.recommenders._text import TextSpace, unit_rows
from frugalrec.recommenders._two_levels import TwoLevels


def vectors_of(n, dim, seed=0):
    """Return unit vectors, the second of them zero."""
    vectors = unit_rows(np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32))
    vectors[1] = 0.0
    return vectors


def codes(*items):
    return np.array(items, dtype=np.int32)


@pytest.mark.parametrize("dim", [3, 8, 20])
def test_rows_come_back_to_a_byte(dim):
    vectors = vectors_of(40, dim)
    levels = TwoLevels.of(vectors)
    np.testing.assert_allclose(levels.read(np.arange(40)), vectors, atol=1 / 127)
    assert levels.signs.shape == (-(-dim // 8), 40)
    assert levels.stored.nbytes == 40 * dim
    assert levels.mute.tolist() == [1]


@pytest.mark.parametrize("dim", [12, 20])  # in which no two rows have the same signs
@pytest.mark.parametrize("rescored", [1, 7, 40, 1000])
def test_products_by_hand(dim, rescored):
    vectors, profile = vectors_of(40, dim), vectors_of(3, dim, seed=1)[2]
    levels = TwoLevels.of(vectors)
    (scores,) = levels.score([Query()], profile[None], rescored)
    exact, by_signs = levels.read(np.arange(40)) @ profile, np.where(vectors > 0, 1.0, -1.0) @ profile
    by_signs[1] = 0.0
    best = np.argsort(-by_signs)[:rescored]
    np.testing.assert_allclose(scores[best], exact[best], atol=1e-6)
    scale = max(exact[best] @ by_signs[best] / (by_signs[best] @ by_signs[best]), 0.0)
    rest = np.setdiff1d(np.arange(40), best)
    np.testing.assert_allclose(scores[rest], scale * by_signs[rest], atol=1e-6)


def test_rescoring_everything_gives_the_order_of_bytes_in_memory():
    levels, profiles = TwoLevels.of(vectors_of(300, 64)), vectors_of(6, 64, seed=1)
    in_memory = profiles @ unit_rows(np.array(levels.stored, dtype=np.float32)).T
    scores = levels.score([Query()] * 6, profiles, 300)
    np.testing.assert_array_equal(np.argsort(-scores, axis=1), np.argsort(-in_memory, axis=1))


def test_rows_are_read_of_what_may_be_recommended():
    vectors = vectors_of(40, 16)
    levels, profile = TwoLevels.of(vectors), vectors[5][None]
    exact = levels.read(np.arange(40)) @ profile[0]
    for query, told in (
        (Query(candidates=codes(3, 9, 30)), [3, 9, 30]),
        (Query(history=np.setdiff1d(np.arange(40), [2, 7, 8]).astype(np.int32)), [2, 7, 8]),
    ):
        (scores,) = levels.score([query], profile, 3)
        np.testing.assert_allclose(scores[told], exact[told], atol=1e-6)


def test_history_rows_are_summed():
    levels = TwoLevels.of(vectors_of(40, 16))
    histories = query_matrix([Query(history=codes(4, 9)), Query(), Query(history=codes(1))], 40, 1.0)
    sums = levels.sums(histories)
    np.testing.assert_allclose(sums[0], 0.5 * levels.read(codes(4))[0] + levels.read(codes(9))[0], atol=1e-6)
    assert not sums[1:].any()


def test_a_profile_of_nothing_scores_nothing():
    levels = TwoLevels.of(vectors_of(40, 16))
    assert not levels.score([Query()], np.zeros((1, 16), dtype=np.float32), 5).any()


def test_many_rows_are_kept_in_blocks(monkeypatch):
    whole = TwoLevels.of(vectors_of(40, 16))
    monkeypatch.setattr("frugalrec.recommenders._two_levels.BLOCK_ROWS", 7)
    blocks = TwoLevels.of(vectors_of(40, 16))
    np.testing.assert_array_equal(blocks.stored, whole.stored)
    np.testing.assert_array_equal(blocks.signs, whole.signs)


def test_the_file_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    levels = TwoLevels.of(vectors_of(40, 16))
    assert isinstance(levels.stored, np.memmap)
    assert list(tmp_path.iterdir()) == []
    assert levels.read(codes(0)).any()


@pytest.mark.parametrize("whitening", [0.0, 0.5])
def test_a_turned_space_keeps_lengths_and_angles(whitening):
    vectors = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
    space = TextSpace.fit(vectors, whitening)
    plain, turned = space.project(vectors, unit=False), space.turned().project(vectors, unit=False)
    np.testing.assert_allclose(turned @ turned.T, plain @ plain.T, rtol=1e-3, atol=1e-4)
    assert not np.allclose(plain, turned)
