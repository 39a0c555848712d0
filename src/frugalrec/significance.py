"""How sure a mean is: bootstrap intervals, paired comparisons, and the correction for making many of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from frugalrec.data.interactions import FloatArray
from frugalrec.errors import ConfigError, DataError

_BLOCK = 2**18


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over ``n`` queries and its interval. What is unknown is ``None``: all at n = 0, the interval at n = 1.

    >>> Estimate(mean=0.3, low=0.1, high=0.5, n=40).excludes_zero
    True
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval is known and lies on one side of 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    def to_dict(self) -> dict[str, float | int | None]:
        """Return mean, low, high and n by name."""
        return asdict(self)


def bootstrap_interval(values: FloatArray, *, level: float = 0.95, draws: int = 2000, seed: int = 0) -> Estimate:
    """Return the mean of ``values`` ``(n,)`` and its percentile bootstrap interval; O(n × draws) time, O(n) memory.

    Each draw takes n values with replacement; the interval holds the middle ``level`` of the draws' means. NaN (a query
    without an answer) is left out and not counted in ``n``. The same seed gives the same interval. Efron, "Bootstrap
    methods: another look at the jackknife", 1979. Raises `ConfigError` on a level outside (0, 1) or no draws.

    >>> bootstrap_interval(np.array([1.0, 1.0, np.nan]))
    Estimate(mean=1.0, low=1.0, high=1.0, n=2)
    """
    if not 0 < level < 1:
        raise ConfigError(f"level must be between 0 and 1, not {level}")
    _check_draws(draws)
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    n = len(known)
    if n == 0:
        return Estimate(mean=None, low=None, high=None, n=0)
    mean = float(known.mean())
    if n == 1:
        return Estimate(mean=mean, low=None, high=None, n=1)
    means = _means_of_draws(known, draws, np.random.default_rng(seed))
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(mean=mean, low=float(low), high=float(high), n=n)


def _means_of_draws(values: FloatArray, draws: int, rng: np.random.Generator) -> FloatArray:
    n = len(values)
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) <= min(n // 16, 1000):
        # With one relevant item a query, a metric at k takes k + 1 values: how often each is drawn is all that matters.
        drawn = rng.multinomial(n, counts / n, size=draws)
        return np.asarray(drawn @ distinct / n, dtype=np.float64)
    block = max(1, _BLOCK // n)
    blocks = (min(block, draws - start) for start in range(0, draws, block))
    return np.concatenate([values[rng.integers(n, size=(size, n))].mean(axis=1) for size in blocks])


def paired_difference(
    a: FloatArray, b: FloatArray, *, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> Estimate:
    """Return the mean of ``a - b`` over the same queries and its interval, as `bootstrap_interval` does.

    Drawing pairs, not sides, keeps what makes queries easy or hard for both out of the interval. A query that is NaN on
    either side is left out. Raises `DataError` when the lengths differ.

    >>> paired_difference(np.array([0.5, 0.7]), np.array([0.25, 0.45])).excludes_zero
    True
    """
    return bootstrap_interval(_differences(a, b), level=level, draws=draws, seed=seed)


def paired_p_value(a: FloatArray, b: FloatArray, *, draws: int = 2000, seed: int = 0) -> float:
    """Return the two-sided p-value of "a and b are equally good" over the same queries, by flipping signs at random.

    Under that hypothesis each difference could as well have come out the other way round. Where all sign patterns are
    no more than ``draws`` they are all tried, and the value is exact; else it is (1 + flips at least as extreme) /
    (1 + draws), never 0. Fisher, "The Design of Experiments", 1935; Smucker et al., "A comparison of statistical
    significance tests for information retrieval evaluation", 2007. O(n × draws) time, bounded memory.

    >>> paired_p_value(np.array([1.0, 2.0, 3.0]), np.zeros(3))
    0.25
    """
    _check_draws(draws)
    differences = _differences(a, b)
    differences = differences[differences != 0]  # NaN is not 0 …
    differences = differences[~np.isnan(differences)]  # … and tells as little; a 0 has no sign to flip
    n, total = len(differences), differences.sum()
    # Sums that differ by rounding alone are as extreme as each other.
    observed = abs(total) - 1e-9 * np.abs(differences).sum()
    if n < 63 and 2**n <= draws:
        every = np.arange(2**n)[:, None] >> np.arange(n) & 1
        return float(np.mean(np.abs(total - 2.0 * (every @ differences)) >= observed))
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // n)
    extreme = 0
    for start in range(0, draws, block):
        size = min(block, draws - start)
        flips = np.unpackbits(rng.integers(256, size=(size, (n + 7) // 8), dtype=np.uint8), axis=1, count=n)
        extreme += int(np.sum(np.abs(total - 2.0 * (flips.astype(np.float64) @ differences)) >= observed))
    return (1 + extreme) / (1 + draws)


def holm(p_values: Sequence[float] | FloatArray) -> FloatArray:
    """Return p-values corrected for being several, in the order they came: float64 ``(n,)``.

    Rejecting where the corrected value is at most α keeps the chance of any false rejection at α, however the tests
    depend on each other. Holm, "A simple sequentially rejective multiple test procedure", 1979. Raises `DataError` on a
    value outside [0, 1].

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise DataError(f"p-values must be between 0 and 1, not {values.tolist()}")
    order = np.argsort(values, kind="stable")
    stepped = values[order] * np.arange(len(values), 0, -1)
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return corrected


def _differences(a: FloatArray, b: FloatArray) -> np.ndarray[Any, np.dtype[np.float64]]:
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise DataError(f"paired values must be as many on both sides, not {a.shape} and {b.shape}")
    return a - b


def _check_draws(draws: int) -> None:
    if draws < 1:
        raise ConfigError(f"draws must be at least 1, not {draws}")


__all__ = ["Estimate", "bootstrap_interval", "holm", "paired_difference", "paired_p_value"]
