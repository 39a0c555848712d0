"""What every rating model must do, as plain functions that raise `AssertionError`.

A check takes a function that makes a fresh model, and a data set with ratings:

>>> from frugalrec.rating_models.biases import Biases
>>> from frugalrec.testing.data import toy_ratings
>>> for check in CHECKS:
...     check(Biases, toy_ratings())
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from frugalrec.cost import Ledger
from frugalrec.data.dataset import Dataset
from frugalrec.data.interactions import IntArray
from frugalrec.errors import DataError, FrugalrecError, NotFittedError
from frugalrec.interfaces import RatingModel

Make = Callable[[], RatingModel]
Check = Callable[[Make, Dataset], None]


def refuses_to_predict_before_fit(make: Make, dataset: Dataset) -> None:
    """`predict` raises `NotFittedError` with a hint."""
    error = _refusal(lambda: make().predict(*pairs(dataset)))
    assert isinstance(error, NotFittedError), "predicted before fit"
    assert error.hint, "the error does not say what to do"


def needs_ratings(make: Make, dataset: Dataset) -> None:
    """A log without ratings is refused with a `DataError` that says what to do."""
    unrated = dataset.with_interactions(replace(dataset.interactions, value=None))
    error = _refusal(lambda: make().fit(unrated))
    assert isinstance(error, DataError), "learned ratings from a log without any"
    assert error.hint, "the error does not say what to do"


def predicts_every_pair_within_the_range(make: Make, dataset: Dataset) -> None:
    """Predictions are float64 ``(n,)``, within the range of the ratings, strangers and unknown items included."""
    model = make().fit(dataset)
    users, items = pairs(dataset)
    predicted = model.predict(users, items)
    values = dataset.interactions.value
    assert values is not None
    assert predicted.shape == users.shape
    assert predicted.dtype == np.float64
    assert (predicted >= values.min()).all()
    assert (predicted <= values.max()).all()
    assert model.predict(users[:0], items[:0]).shape == (0,)


def strangers_are_all_alike(make: Make, dataset: Dataset) -> None:
    """Whoever is unknown gets the same answer, whatever the code they come with."""
    model = make().fit(dataset)
    items = np.zeros(3, dtype=np.int32)
    predicted = model.predict(np.array([-1, dataset.n_users, dataset.n_users + 7], dtype=np.int32), items)
    assert np.ptp(predicted) == 0.0


def batches_do_not_matter(make: Make, dataset: Dataset) -> None:
    """A pair gets the same answer alone, among others and in any order; two fits agree."""
    model = make().fit(dataset)
    users, items = pairs(dataset)
    together = model.predict(users, items)
    np.testing.assert_allclose(model.predict(users[::-1], items[::-1])[::-1], together, atol=1e-9)
    alone = [float(model.predict(users[i : i + 1], items[i : i + 1])[0]) for i in range(len(users))]
    np.testing.assert_allclose(alone, together, atol=1e-9)
    np.testing.assert_allclose(make().fit(dataset).predict(users, items), together, atol=1e-9)


def pairs_must_match(make: Make, dataset: Dataset) -> None:
    """Users and items of different number are refused."""
    users, items = pairs(dataset)
    model = make().fit(dataset)
    assert isinstance(_refusal(lambda: model.predict(users, items[:-1])), DataError), "took pairs that are none"


def flops_are_charged(make: Make, dataset: Dataset) -> None:
    """Fitting and predicting tell their FLOPs, and more pairs cost more."""
    ledger = Ledger()
    model = make()
    with ledger.span("fit"):
        model.fit(dataset)
    users, items = pairs(dataset)
    for n in (1, len(users)):
        with ledger.span("predict"):
            model.predict(users[:n], items[:n])
    fit, one, many = (entry.cost.flops for entry in ledger.entries)
    assert fit is not None
    assert fit > 0
    assert one is not None
    assert many is not None
    assert many > one > 0


def what_was_learned_is_enough(make: Make, dataset: Dataset) -> None:
    """A fresh model given the attributes that end in ``_`` answers like the fitted one; all can be stored."""
    fitted, fresh = make().fit(dataset), make()
    for name, value in vars(fitted).items():
        if name.endswith("_"):
            plain = isinstance(value, bool | int | float | str | np.ndarray)
            assert plain or getattr(value, "format", "") == "csr", f"{name} is a {type(value).__name__}"
            setattr(fresh, name, value)
    np.testing.assert_array_equal(fresh.predict(*pairs(dataset)), fitted.predict(*pairs(dataset)))


CHECKS: tuple[Check, ...] = (
    refuses_to_predict_before_fit,
    needs_ratings,
    predicts_every_pair_within_the_range,
    strangers_are_all_alike,
    batches_do_not_matter,
    pairs_must_match,
    flops_are_charged,
    what_was_learned_is_enough,
)
"""Every check, in the order to read a failure in."""


def pairs(dataset: Dataset) -> tuple[IntArray, IntArray]:
    """Return the pairs that the checks ask: some that are rated, some that are not, and codes nobody has."""
    users = np.array([0, 1, 0, 2, dataset.n_users - 1, -1, dataset.n_users, 3], dtype=np.int32)
    items = np.array([0, 1, 2, dataset.n_items - 1, 0, 1, -1, dataset.n_items + 5], dtype=np.int32)
    return users, items


def _refusal(call: Callable[[], object]) -> FrugalrecError | None:
    try:
        call()
    except FrugalrecError as error:
        return error
    return None


__all__ = [
    "CHECKS",
    "batches_do_not_matter",
    "flops_are_charged",
    "needs_ratings",
    "pairs",
    "pairs_must_match",
    "predicts_every_pair_within_the_range",
    "refuses_to_predict_before_fit",
    "strangers_are_all_alike",
    "what_was_learned_is_enough",
]
