"""Rows of unit length."""

from __future__ import annotations

import numpy as np

from frugalrec.interfaces import Matrix


def unit_rows(vectors: Matrix) -> Matrix:
    """Return float32 rows scaled to unit norm; a row without a direction (zero, or not finite) becomes zero."""
    rows = np.asarray(vectors, dtype=np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    usable = (norms > 0) & np.isfinite(norms)
    unit: Matrix = np.divide(rows, norms, out=np.zeros_like(rows), where=usable)
    return unit


__all__ = ["unit_rows"]
