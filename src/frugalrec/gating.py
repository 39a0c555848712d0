"""How much of a reranker's gain is kept when it is asked for a share of the requests only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from frugalrec.data.interactions import FloatArray
from frugalrec.errors import ConfigError, DataError
from frugalrec.significance import Estimate, paired_difference

SHARES = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
DRAWS = 2000


@dataclass(frozen=True)
class Kept:
    """What asking for a ``share`` of the requests keeps of the whole gain: 1 is all of it, and more where the others
    would have lost. ``low`` and ``high`` bound it with 95% confidence. A gate that knows nothing keeps ``share``, and
    of the rest what is kept by whatever is done there instead.
    """

    share: float
    kept: float
    low: float
    high: float


@dataclass(frozen=True)
class GainCurve:
    """The gain of asking for everybody, and what shares of the requests keep of it: nothing where no gain is shown."""

    gain: Estimate
    points: tuple[Kept, ...] = ()

    def __str__(self) -> str:
        said = f"reranking everybody gains {self.gain.mean:+.4f} [{self.gain.low:+.4f}, {self.gain.high:+.4f}]"
        if not self.points:
            return f"{said}: no gain is shown, so there is none to keep"
        lines = [f"  {p.share:.0%} of the requests keep {p.kept:.0%} [{p.low:.0%}, {p.high:.0%}]" for p in self.points]
        return "\n".join([said, *lines])


def gain_curve(
    before: FloatArray,
    after: FloatArray,
    predicted: FloatArray,
    shares: Sequence[float] = SHARES,
    *,
    otherwise: FloatArray | None = None,
    seed: int = 0,
) -> GainCurve:
    """Return the curve of retained gain against the share of requests that a reranker is asked for.

    ``before`` and ``after``: quality of each request without and with reranking; ``predicted``: what a gate expects of
    it (`Gated.predicted`), by which the most promising are asked first. ``otherwise``: quality where it is not asked,
    of the order that a cheaper reranker makes there; without it that of ``before``. None of these requests may have
    taught reranker, gate or that other order. Intervals: bootstrap over requests, 2,000 draws, of the ratio of the two
    gains; draws without a whole gain are left out. A curve is drawn only where the 95% interval of the whole gain lies
    above 0: of a gain that may be none, any share can be "kept". Raises `ConfigError` for a share outside [0, 1],
    `DataError` for fewer than two requests.

    >>> before = np.zeros(100)
    >>> after = np.repeat([0.5, 0.0], [20, 80])
    >>> curve = gain_curve(before, after, predicted=np.arange(100)[::-1], shares=(0.1, 0.2))
    >>> [point.kept for point in curve.points]
    [0.5, 1.0]
    >>> print(gain_curve(before, before, np.arange(100)))
    reranking everybody gains +0.0000 [+0.0000, +0.0000]: no gain is shown, so there is none to keep
    """
    for share in shares:
        if not 0 <= share <= 1:
            raise ConfigError(f"shares must be from 0 to 1, not {share}")
    gain = paired_difference(after, before)
    if gain.low is None:
        raise DataError(f"a gain needs at least two requests to be shown, not {gain.n}")
    if gain.low <= 0:
        return GainCurve(gain)
    gains = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    others = np.zeros_like(gains) if otherwise is None else np.asarray(otherwise, dtype=np.float64) - before
    n = len(gains)
    order = np.argsort(-np.asarray(predicted), kind="stable")
    asked = np.zeros((len(shares), n))
    for row, share in enumerate(shares):
        asked[row, order[: round(share * n)]] = 1.0
    rng = np.random.default_rng(seed)
    ratios = []
    for _ in range(DRAWS):
        drawn = rng.integers(n, size=n)
        whole = gains[drawn].sum()
        if whole > 0:
            ratios.append((asked[:, drawn] @ (gains - others)[drawn] + others[drawn].sum()) / whole)
    low, high = np.quantile(np.array(ratios), [0.025, 0.975], axis=0)
    kept = (asked @ (gains - others) + others.sum()) / gains.sum()
    return GainCurve(gain, tuple(Kept(s, *map(float, p)) for s, *p in zip(shares, kept, low, high, strict=True)))


__all__ = ["SHARES", "GainCurve", "Kept", "gain_curve"]
