"""Predicted ratings and true ones → numbers."""

from __future__ import annotations

import numpy as np

from frugalrec.data.interactions import FloatArray
from frugalrec.errors import DataError


def rmse(predictions: FloatArray, truths: FloatArray) -> float:
    """Return the root mean squared error of ``predictions`` ``(n,)``, in rating points; NaN when there are none.

    Raises `DataError` when the lengths differ or a number is not finite.

    >>> rmse(np.array([4.0, 2.0]), np.array([3.0, 3.0]))
    1.0
    """
    errors = _errors(predictions, truths)
    return float(np.sqrt(np.mean(errors**2))) if len(errors) else float("nan")


def mae(predictions: FloatArray, truths: FloatArray) -> float:
    """Return the mean absolute error of ``predictions`` ``(n,)``, in rating points; NaN when there are none.

    Raises `DataError` when the lengths differ or a number is not finite.

    >>> mae(np.array([4.0, 1.0]), np.array([3.0, 3.0]))
    1.5
    """
    errors = _errors(predictions, truths)
    return float(np.mean(np.abs(errors))) if len(errors) else float("nan")


def _errors(predictions: FloatArray, truths: FloatArray) -> FloatArray:
    predictions = np.asarray(predictions, dtype=np.float64)
    truths = np.asarray(truths, dtype=np.float64)
    if predictions.shape != truths.shape or predictions.ndim != 1:
        raise DataError(f"predictions and truths must be as long, not {predictions.shape} and {truths.shape}")
    errors = predictions - truths
    if not np.isfinite(errors).all():
        raise DataError(f"rating {int(np.flatnonzero(~np.isfinite(errors))[0])} is missing or predicted as not finite")
    return errors


__all__ = ["mae", "rmse"]
