"""What a stage will take, before it is begun: `Work` of some kind, and `Expected` amounts made of it.

Components say what they would do for data of a given shape (``expected``); a machine profile turns that into seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

UNITS: Mapping[str, str] = {
    "gemm-f32": "FLOP",
    "gemm-f64": "FLOP",
    "factor-f32": "FLOP",
    "factor-f64": "FLOP",
    "substitute-f32": "FLOP",
    "substitute-f64": "FLOP",
    "invert-f32": "FLOP",
    "invert-f64": "FLOP",
    "eigen-f64": "FLOP",
    "als": "FLOP",
    "als-events": "FLOP",
    "als-far": "FLOP",
    "stream": "byte",
    "scan": "byte",
    "touch": "byte",
    "touch-worst": "byte",
    "pairs-dense": "term",
    "pairs-sparse": "term",
    "sparse-product": "multiply-add",
    "sparse-product-wide": "multiply-add",
    "visit": "row",
    "sparse-alone": "multiply-add",
    "sparse-cold": "multiply-add",
    "gather": "multiply-add",
    "gather-alone": "multiply-add",
    "fuse": "score",
    "fuse-alone": "score",
    "rows": "row",
    "block": "cell",
    "alike": "entry",
    "turn": "cell",
    "turn-sparse": "entry",
    "space": "cell",
    "events": "event",
    "states": "lag",
    "words": "character",
    "vocabulary": "word",
    "encode": "token",
    "load": "byte",
    "store": "text",
    "fetch": "text",
    "recall": "text",
    "answer": "request",
    "query": "request",
    "query als": "request",
    "query content": "request",
    "query item-knn": "request",
    "query user-knn": "request",
    "state": "request",
    "state text": "request",
    "rank": "score",
    "rank-query": "request",
    "judge": "score",
    "judge-query": "request",
    "compare": "user",
    "compare-query": "request",
    "prompt": "token",
    "write": "token",
}
"""Kinds of work and the unit of each. ``size`` of a `Work` says how large one operation is (rows, tokens a text).

A recommender whose requests take more than looking up a history has a rate of its own for that, by name.
"""


ANSWERED = 50_000
"""The largest catalogue that calibration answers requests from; beyond it, time grows with the items."""


@dataclass(frozen=True)
class Work:
    """``amount`` units of one kind of work, in operations of some ``size``: what a rate of the machine is looked up by.

    ``model`` names the language model of ``prompt`` and ``write``, the encoder of ``encode`` (none: the default), and
    the recommender of ``query`` and ``state``, where a request takes more than looking up a history (none: only that);
    the size of these two is the bytes that a request reads, which push what else it needs out of the caches.
    """

    kind: str
    amount: float
    size: float = 1.0
    model: str = ""


@dataclass(frozen=True)
class Expected:
    """What a stage will take. ``None`` is unknown, as in `frugalrec.cost.Cost`.

    ``work`` says how time will be spent; None where nobody knows. ``flops`` is what the component will charge,
    ``peak_bytes`` the memory above what the process holds at the start, ``held_bytes`` what stays afterwards.
    ``spread`` (at least 1) is the factor by which figures may be off because of what the shape does not tell.
    """

    work: tuple[Work, ...] | None = None
    flops: float | None = None
    tokens_in: float | None = None
    tokens_out: float | None = 0.0
    peak_bytes: float | None = None
    held_bytes: float | None = None
    spread: float = 1.0

    @classmethod
    def nothing(cls) -> Expected:
        """Return a stage that takes nothing."""
        return cls((), 0.0, 0.0, 0.0, 0.0, 0.0)

    def __add__(self, later: Expected) -> Expected:
        """Return both stages one after another; what the first holds is there while the second runs."""
        peak = None
        if self.peak_bytes is not None and later.peak_bytes is not None and self.held_bytes is not None:
            peak = max(self.peak_bytes, self.held_bytes + later.peak_bytes)
        return Expected(
            None if self.work is None or later.work is None else (*self.work, *later.work),
            _plus(self.flops, later.flops),
            _plus(self.tokens_in, later.tokens_in),
            _plus(self.tokens_out, later.tokens_out),
            peak,
            _plus(self.held_bytes, later.held_bytes),
            max(self.spread, later.spread),
        )

    def times(self, n: float) -> Expected:
        """Return this stage ``n`` times over; memory does not grow with repetition."""
        return replace(
            self,
            work=None if self.work is None else tuple(replace(w, amount=w.amount * n) for w in self.work),
            flops=None if self.flops is None else self.flops * n,
            tokens_in=None if self.tokens_in is None else self.tokens_in * n,
            tokens_out=None if self.tokens_out is None else self.tokens_out * n,
        )


@dataclass(frozen=True)
class Stages:
    """What a recommender takes: ``fit`` once a refresh, ``score`` for a query alone, ``batch`` for one among many.

    Neither includes picking the best items.
    """

    fit: Expected = Expected()
    score: Expected = Expected()
    batch: Expected | None = None

    @property
    def in_batch(self) -> Expected:
        """What one query among many takes; that of a query alone where nothing else is said."""
        return self.score if self.batch is None else self.batch


def weights_name(model: Any) -> str:
    """Return what `Work` calls a language model: the full path of one of your own, else the name of its weights."""
    path = getattr(model, "path", "")
    return str(Path(path).expanduser().resolve()) if path else str(getattr(model, "model", ""))


def touching(size: float) -> Work:
    """Return the work of writing to so many bytes for the first time: the more there are, the fewer were just freed."""
    return Work("touch", size, max(1.0, size))


def answering(items: float) -> Expected:
    """Return what picking the best of ``items`` scores for one request takes; rates are measured up to `ANSWERED`."""
    return Expected((Work("answer", max(1.0, items / ANSWERED), items),), 0.0, 0.0, 0.0, 20.0 * items, 0.0)


def ranking(kind: str, items: float, passes: float = 1.0) -> Expected:
    """Return what ranking (``rank``) or judging (``judge``) the scores of one query among many takes.

    Scores are gone through so many times; metrics, lists and intervals are a matter of queries.
    """
    return Expected((Work(kind, passes * items, items), Work(f"{kind}-query", 1.0)), 0.0, 0.0, 0.0, 0.0, 0.0)


def _plus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a + b


__all__ = ["ANSWERED", "UNITS", "Expected", "Stages", "Work", "answering", "ranking", "touching", "weights_name"]
