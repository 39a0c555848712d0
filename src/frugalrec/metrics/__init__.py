"""Ranks of the relevant items → numbers. One metric a file.

Every metric takes `Judged` and returns float64 ``(n,)``, NaN for a query without relevant items. Items with equal
scores share their average rank; a relevant item is in the top k when that rank is at most k, and no query has more than
k of them. So a constant scorer over n candidates has no hit as long as n ≥ 2k, and an AUC of 0.5. A group of ties
across the cut is in or out as a whole. That evens out over many queries, but with n < 2k a constant scorer is always
in, and figures at such a k mean little.
"""

from __future__ import annotations

from frugalrec import registry
from frugalrec.errors import ConfigError
from frugalrec.interfaces import Metric
from frugalrec.metrics._ranks import ranks_in_lists, ranks_of


def parse(text: str) -> Metric:
    """Return the metric called ``text``, as in ``ndcg@10``.

    Raises `UnknownNameError` naming the nearest metric, and `ConfigError` when the cut-off is missing, wrong, or given
    to a metric that has none.

    >>> parse("ndcg@10")
    NDCG(k=10)
    """
    name, at, cutoff = text.strip().partition("@")
    component = registry.load("metric", name)
    settings = {}
    if "k" in registry.settings_of(component):
        if not (cutoff.isascii() and cutoff.isdecimal() and int(cutoff) >= 1):
            raise ConfigError(
                f"metric '{name}' needs a cut-off, a whole number of at least 1, not '{text}'",
                hint=f"write '{name}@10'",
            )
        settings["k"] = int(cutoff)
    elif at:
        raise ConfigError(f"metric '{name}' has no cut-off, '{text}' gives one", hint=f"write '{name}'")
    metric: Metric = component(**settings)
    return metric


__all__ = ["parse", "ranks_in_lists", "ranks_of"]
