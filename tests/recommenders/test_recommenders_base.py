"""Masking, the best k, and histories as matrices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import sparse

from frugalrec.cost import Ledger
from frugalrec.data.dataset import Query
from frugalrec.errors import ConfigError, NotFittedError
from frugalrec.recommenders import _base
from frugalrec.recommenders._base import (
    as_wide,
    history_reasons,
    mask_scores,
    product,
    query_matrix,
    require_fitted,
    top_k,
)
from frugalrec.recommenders.popularity import Popularity
from frugalrec.testing.data import toy_dataset


def codes(*items):
    return np.array(items, dtype=np.int32)


# Few distinct values, so that ties are common, at the boundary too.
levels = st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0])


@given(
    scores=arrays.arrays(np.float32, st.tuples(st.integers(0, 4), st.integers(1, 9)), elements=levels),
    k=st.integers(1, 12),
)
def test_top_k_is_a_sort_by_score_and_then_code(scores, k):
    items, found = top_k(scores, k)
    assert items.dtype == np.int32
    assert found.dtype == np.float32
    for row, row_items, row_found in zip(scores, items, found, strict=True):
        expected = sorted(range(len(row)), key=lambda item: (-row[item], item))[:k]
        expected = [item if np.isfinite(row[item]) else -1 for item in expected]
        assert row_items.tolist() == expected
        assert row_found.tolist() == [row[item] if item >= 0 else -np.inf for item in expected]


@pytest.mark.parametrize("k", [1, 10, 400, 2999])
@pytest.mark.parametrize("levels", [1, 3, 50, 1_000_000])
def test_top_k_of_many_items_with_few_levels_and_gaps(k, levels):
    rng = np.random.default_rng(levels + k)
    scores = rng.integers(0, levels, (7, 3001)).astype(np.float32)
    scores[1, rng.random(3001) < 0.999] = -np.inf
    scores[2] = -np.inf
    scores[3, :2990] = 0.0
    items, found = top_k(scores, k)
    order = np.lexsort((np.broadcast_to(np.arange(3001), scores.shape), -scores))[:, :k]
    expected = np.take_along_axis(scores, order, axis=1)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(items, np.where(np.isfinite(expected), order, -1))


def test_k_below_one_is_refused():
    with pytest.raises(ConfigError, match="at least 1, not 0"):
        top_k(np.zeros((1, 3), dtype=np.float32), 0)


def test_masking_leaves_the_scores_alone_and_hides_what_may_not_be_recommended():
    scores = np.arange(12, dtype=np.float32).reshape(2, 6)
    queries = [
        Query(history=codes(0, 1), exclude=codes(5)),
        Query(history=codes(0, 1), exclude=codes(5), candidates=codes(1, 4, 5), repeats=True),
    ]
    masked = mask_scores(scores, queries)
    assert np.isfinite(masked).tolist() == [
        [False, False, True, True, True, False],
        [False, True, False, False, True, False],
    ]
    assert masked[1, 4] == scores[1, 4]
    assert np.isfinite(scores).all()


@given(
    histories=st.lists(st.lists(st.integers(0, 5), max_size=8), max_size=4), half_life=st.sampled_from([0.0, 1.0, 3.0])
)
def test_a_history_weighs_each_item_at_its_newest_position(histories, half_life):
    matrix = query_matrix([Query(history=codes(*h)) for h in histories], 6, half_life)
    expected = np.zeros((len(histories), 6))
    for row, history in zip(expected, histories, strict=True):
        for position, item in enumerate(history):
            row[item] = 2.0 ** (-(len(history) - 1 - position) / half_life) if half_life else 1.0
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(matrix.toarray(), expected, rtol=1e-6)
    for row, history in enumerate(histories):
        alone = query_matrix([Query(history=codes(*history))], 6, half_life)
        one = slice(matrix.indptr[row], matrix.indptr[row + 1])
        assert (alone.shape, alone.dtype) == ((1, 6), np.float32)
        np.testing.assert_array_equal(alone.indices, matrix.indices[one])
        np.testing.assert_array_equal(alone.data, matrix.data[one])


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), density=st.sampled_from([0.1, 0.9]))
def test_product_is_exact_either_way_and_counts_the_pairs_that_meet(seed, density):
    rng = np.random.default_rng(seed)
    left = sparse.csr_array(rng.integers(0, 3, (30, 7)) * (rng.random((30, 7)) < density), dtype=np.float32)
    right = sparse.csr_array(rng.integers(0, 3, (7, 9)) * (rng.random((7, 9)) < density), dtype=np.float32)
    ledger = Ledger()
    with ledger.span("product"):
        found = product(left, right)
    np.testing.assert_array_equal(found, left.toarray() @ right.toarray())
    pairs = ((left.toarray() != 0).astype(int) @ (right.toarray() != 0).astype(int)).sum()
    assert ledger.entries[0].cost.flops == 2 * pairs


def test_shares_are_parts_of_all_that_moved_the_score():
    contributions = np.array([[3.0, -1.0], [1.0, -1.0], [0.0, 2.0], [2.0, 0.5]])
    first, second = history_reasons("history", codes(7, 8, 9, 4), contributions)
    assert [(r.item, r.share) for r in first] == [(7, 0.5), (4, pytest.approx(1 / 3)), (8, pytest.approx(1 / 6))]
    assert [(r.item, r.share) for r in second] == [(9, pytest.approx(2 / 4.5)), (4, pytest.approx(0.5 / 4.5))]


def test_the_error_before_fit_names_the_class_and_what_to_do():
    with pytest.raises(
        NotFittedError, match=r"Popularity has not been fitted\nhint: call Popularity\.fit\(dataset\) first"
    ):
        require_fitted(Popularity(), "n_items_")


def test_lists_do_not_depend_on_the_size_of_the_blocks(monkeypatch):
    dataset = toy_dataset(n_users=20, n_items=15)
    popularity = Popularity().fit(dataset)
    queries = [dataset.query(user) for user in range(20)]
    whole = popularity.recommend(queries, 4)
    monkeypatch.setattr(_base, "BLOCK_BYTES", 10 * 15 * 3)
    for one, other in zip(whole, popularity.recommend(queries, 4), strict=True):
        np.testing.assert_array_equal(one.items, other.items)


@pytest.mark.parametrize("narrow", [np.int32, np.int64])
@pytest.mark.parametrize("wide", [np.int32, np.int64])
def test_products_do_not_copy_the_larger_table(narrow, wide):
    def table(shape, width):
        made = sparse.random_array(shape, density=0.3, format="csr", dtype=np.float32, rng=np.random.default_rng(0))
        indices = made.indices.astype(width), made.indptr.astype(width)
        return sparse.csr_array((made.data, *indices), shape=shape)

    left, right = table((3, 40), narrow), table((40, 50), wide)
    assert as_wide(left, right).indptr.dtype == as_wide(left, right).indices.dtype == right.indptr.dtype
    np.testing.assert_allclose(product(left, right), left.toarray() @ right.toarray(), rtol=1e-5)
