"""Item texts as vectors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frugalrec.cost import Ledger
from frugalrec.data.catalog import Catalog
from frugalrec.data.ids import IdMap
from frugalrec.recommenders._text import TextSpace, encode_items, encode_queries, item_vectors
from frugalrec.testing.encoders import HashEncoder


def encoded_rows(seed, n=30, dim=6, common=2.0):
    """Return unit rows with a large common part and uneven spread, as sentence encoders give."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, dim)) * np.arange(1, dim + 1) + common * dim
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def catalog_of(*titles):
    return Catalog(IdMap([f"i{i}" for i in range(len(titles))]), {"title": titles}, ("title",))


@given(seed=st.integers(0, 1000), whitening=st.sampled_from([0.0, 0.3, 1.0]))
def test_axes_keep_the_asked_part_of_their_spread(seed, whitening):
    encoded = encoded_rows(seed)
    singular = np.linalg.svd(encoded - encoded.mean(axis=0), compute_uv=False)
    projected = TextSpace.fit(encoded, whitening).project(encoded, unit=False)
    np.testing.assert_allclose(
        np.linalg.svd(projected, compute_uv=False), np.sort(singular ** (1 - whitening))[::-1], rtol=1e-3
    )
    np.testing.assert_allclose(projected.mean(axis=0), 0.0, atol=1e-5)


def test_without_whitening_the_angles_are_those_of_the_centred_rows():
    encoded = encoded_rows(0)
    centred = encoded - encoded.mean(axis=0)
    cosines = centred @ centred.T / np.outer(np.linalg.norm(centred, axis=1), np.linalg.norm(centred, axis=1))
    vectors = TextSpace.fit(encoded, 0.0).project(encoded)
    np.testing.assert_allclose(vectors @ vectors.T, cosines, atol=1e-5)


@pytest.mark.parametrize("whitening", [0.0, 0.5])
def test_items_without_text_stay_zero_and_leave_the_others_alone(whitening):
    encoder = HashEncoder()
    full = item_vectors(catalog_of("red apple", "green apple", "blue sky", "red sky"), encoder, whitening)
    gaps = item_vectors(catalog_of("red apple", "", "green apple", "…", "blue sky", "red sky"), encoder, whitening)
    assert gaps.dtype == np.float32
    assert not gaps[[1, 3]].any()
    np.testing.assert_allclose(gaps[[0, 2, 4, 5]] @ gaps[[0, 2, 4, 5]].T, full @ full.T, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(full, axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("whitening", [0.0, 0.5])
@pytest.mark.parametrize("titles", [("",), ("same", "same", "same"), ("only one", "")])
def test_texts_that_do_not_differ_give_zeros_not_noise(titles, whitening):
    assert not item_vectors(catalog_of(*titles), HashEncoder(), whitening).any()


def test_a_catalogue_without_text_columns_has_zero_vectors():
    assert encode_items(Catalog(IdMap(["a", "b"])), HashEncoder(dim=8)).tolist() == np.zeros((2, 8)).tolist()


def test_only_requests_with_text_are_encoded():
    encoded = encode_queries(["", "red apple", " "], HashEncoder(dim=8), 8)
    assert encoded.any(axis=1).tolist() == [False, True, False]
    assert not encode_queries(["", ""], HashEncoder(dim=8), 8).any()


def test_flops():
    encoded = encoded_rows(0, n=30, dim=6)
    ledger = Ledger()
    with ledger.span("plain fit"):
        plain = TextSpace.fit(encoded, 0.0)
    with ledger.span("fit"):
        space = TextSpace.fit(encoded, 0.5)
    with ledger.span("plain project"):
        plain.project(encoded, unit=False)
    with ledger.span("project"):
        space.project(encoded)
    assert [entry.cost.flops for entry in ledger.entries] == [
        30 * 6,
        30 * 6 + 2 * 30 * 36 + 9 * 216 + 36,
        30 * 6,
        30 * 6 + 2 * 30 * 36 + 3 * 30 * 6,
    ]
