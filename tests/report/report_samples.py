"""Decisions as the planner makes them, of trials with made-up values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from frugalrec.budgets import Budget
from frugalrec.cost import Cost, Entry
from frugalrec.evaluation import Trial
from frugalrec.floors import Floor
from frugalrec.forecast import Traffic, bill
from frugalrec.plan import Plan
from frugalrec.planner import Decision, decide
from frugalrec.prices import PriceSheet
from frugalrec.report.context import Context, Example, Recommended
from frugalrec.significance import Estimate, bootstrap_interval

ONNX = {"component": "onnx"}
PRICES = PriceSheet("USD", "2 vCPU, 8 GiB", 0.1008, 2, 8, "a list of prices", "2025-06-01")
TRAFFIC = Traffic()

# name, plan, mean quality, seconds once, to fit and a request, MiB
PLANS: list[tuple[str, dict[str, Any], float, float, float, float, float]] = [
    ("chance", {"recommender": {"component": "chance"}}, 0.0031, 0.0, 0.0003, 0.00005, 0.01),
    ("popularity", {"recommender": {"component": "popularity"}}, 0.0312, 0.0, 0.0011, 0.00006, 0.02),
    ("item-knn", {"recommender": {"component": "item-knn", "neighbours": 100}}, 0.0713, 0.0, 0.21, 0.0004, 3.1),
    ("user-knn", {"recommender": {"component": "user-knn"}}, 0.0702, 0.0, 0.02, 0.0021, 1.4),
    ("als", {"recommender": {"component": "als", "factors": 64}}, 0.0727, 0.0, 1.6, 0.0007, 0.9),
    ("ease", {"recommender": {"component": "ease", "ridge": 300.0}}, 0.0742, 0.0, 0.92, 0.0006, 10.8),
    (
        "ease-text",
        {"without_lm": "ease", "recommender": {"component": "ease", "ridge": 300.0, "encoder": ONNX}},
        0.0781,
        3.1,
        1.4,
        0.0007,
        13.4,
    ),
    ("content", {"recommender": {"component": "content", "encoder": ONNX}}, 0.0231, 3.1, 0.05, 0.0004, 2.5),
    (
        "hybrid",
        {
            "without_lm": "item-knn",
            "recommender": {
                "component": "hybrid",
                "members": [{"component": "item-knn"}, {"component": "content", "encoder": ONNX}],
            },
        },
        0.0768,
        3.1,
        0.3,
        0.0012,
        5.6,
    ),
    (
        "sequential-linear",
        {"recommender": {"component": "sequential-linear", "half_lives": [1.5, 15.0], "ridge": 100.0}},
        0.1161,
        0.0,
        6.3,
        0.0008,
        21.7,
    ),
    (
        "sequential-linear-text",
        {
            "without_lm": "sequential-linear",
            "about": "next-item ridge with the items' text as a similarity term",
            "recommender": {
                "component": "sequential-linear",
                "half_lives": [1.5, 15.0],
                "ridge": 100.0,
                "text_weight": 4.0,
                "encoder": ONNX,
            },
        },
        0.1246,
        3.1,
        6.9,
        0.0010,
        24.2,
    ),
    (
        "llm-rerank",
        {
            "without_lm": "sequential-linear",
            "recommender": {"component": "sequential-linear", "ridge": 100.0},
            "reranker": {"component": "likelihood", "model": {"component": "llama-cpp"}},
        },
        0.1152,
        0.0,
        6.5,
        0.83,
        22.0,
    ),
]


def costs(once: float, fit: float, request: float, **unknown: None) -> dict[str, Cost]:
    def cost(seconds: float) -> Cost:
        known: dict[str, Any] = {
            "seconds": seconds,
            "cpu_seconds": seconds * 1.1,
            "gpu_seconds": 0.0,
            "flops": seconds * 4e9,
            "tokens_in": 0.0,
            "tokens_out": 0.0,
            "tokens_cached": 0.0,
            "peak_bytes": seconds * 1e7,
        }
        return Cost(**{**known, **unknown})

    return {"once": cost(once), "refresh": cost(fit), "request": cost(request)}


def trial(
    name: str,
    plan: Mapping[str, Any],
    values: np.ndarray[Any, Any],
    cost: Mapping[str, Cost],
    *,
    p95: float | None = None,
    model_bytes: int = 2**20,
    **changes: Any,
) -> Trial:
    """Return a trial whose every other number follows from ``values``."""
    seconds = cost["request"].seconds
    primary = bootstrap_interval(values, draws=300)
    warm = bootstrap_interval(values[: len(values) * 9 // 10], draws=300)
    given: dict[str, Any] = {
        "plan": Plan.from_dict({"name": name, **plan}),
        "metric": "ndcg@10",
        "quality": {
            "ndcg@10": primary,
            "hr@10": bootstrap_interval(np.where(np.isnan(values), np.nan, values > 0), draws=300),
            "auc": bootstrap_interval(0.5 + values / 2, draws=300),
        },
        "slices": {
            "warm": warm,
            "tail": bootstrap_interval(values[::3] / 2, draws=300),
            "cold": Estimate(None, None, None, 0),
        },
        "lists": {
            "coverage": Estimate(0.42, None, None, 1),
            "diversity": Estimate(None, None, None, 0),
            "gini": Estimate(0.81, None, None, 1),
            "novelty": Estimate(3.14, 3.1, 3.2, primary.n),
            "popularity-bias": Estimate(0.93, 0.92, 0.94, primary.n),
        },
        "cost": cost,
        "latency_seconds": {} if seconds is None else {"p50": seconds, "p95": p95 or seconds * 1.4},
        "model_bytes": model_bytes,
        "values": values,
        "validation": primary.mean,
        "tuning": [{"settings": {"ridge": 10.0 * 3**i}, "value": (primary.mean or 0.0) - i / 1000} for i in range(4)]
        if "ridge" in str(plan)
        else [],
    }
    return Trial(**{**given, **changes})


def values_around(mean: float, difficulty: np.ndarray[Any, Any], seed: int) -> np.ndarray[Any, Any]:
    """Return NDCG-like values: mostly 0, the same users hard for all plans."""
    rng = np.random.default_rng(seed)
    gains = 1 / np.log2(rng.integers(2, 12, size=len(difficulty)))
    hit = difficulty + rng.normal(0, 0.06, len(difficulty)) < np.quantile(difficulty, min(1.0, mean / 0.43))
    return np.where(hit, gains, 0.0)


def dozen(n: int = 943) -> list[Trial]:
    """Return twelve trials with realistic numbers; ``llm-rerank`` on a quarter of the users."""
    difficulty = np.random.default_rng(5).random(n)
    trials = []
    for name, plan, mean, once, fit, request, mib in PLANS:
        values = values_around(mean, difficulty, seed=2 if name == "llm-rerank" else 1)
        if name == "llm-rerank":
            values[np.arange(n) % 4 > 0] = np.nan
        made = trial(name, plan, values, costs(once, fit, request), model_bytes=int(mib * 2**20), validation=mean)
        trials.append(made)
    return trials


def decided(trials: Sequence[Trial], floor: float | str = "within 2% of best", **budget: float) -> Decision:
    return decide(trials, {t.name: bill(t, TRAFFIC, PRICES) for t in trials}, Floor.parse(floor), Budget(**budget))


def entries_of(trials: Sequence[Trial]) -> list[Entry]:
    entries = []
    for t in trials:
        nothing = Cost.zero()
        entries.append(Entry("tune", f"{t.name} (tuning)", "once", 1, t.cost["refresh"] * 7, nothing, 0, 1.0))
        entries.append(Entry("encode", t.name, "once", 1682, t.cost["once"] * 0, t.cost["once"], 0, 2.0))
        entries.append(Entry("fit", t.name, "refresh", 1, t.cost["refresh"], nothing, 0, 3.0))
        entries.append(Entry("recommend", t.name, "request", 100, t.cost["request"] * 100, nothing, 0, 4.0))
    return entries


def context(**changes: Any) -> Context:
    because = "because of Toy Story (1995) (32% of the score) and Aladdin (1992) (21%)"
    titles = ["Lion King, The (1994)", "Fargo (1996)", "Three Colours: Red (1994)", "花樣年華 (2000)", "Heat (1995)"]
    given: dict[str, Any] = {
        "dataset": "movielens-100k",
        "n_users": 943,
        "n_items": 1682,
        "n_events": 100_000,
        "split": "leave-last-out",
        "split_settings": {
            "min_events": 3,
            "repeats": False,
            "events": 100_000,
            "train_events": 98_114,
            "test": {"relevant": 943, "dropped_seen": 0},
        },
        "traffic": TRAFFIC,
        "budget": Budget(),
        "prices": PRICES,
        "created": "2025-06-01 12:00 UTC",
        "command": "frugalrec demo",
        "config": '[data]\nsource = "movielens-100k"\n\n[quality]\nmetric = "ndcg@10"\nfloor = "within 2% of best"\n',
        "machine": {"cpu": "x86_64", "cores": 2, "memory": "23.4 GiB", "python": "3.11.2", "threads": 2},
        "load_report": ("100,000 rows read, none dropped", "events of one user at the same time keep the file's order"),
        "seconds": 141.2,
        "examples": tuple(
            Example(user, tuple(titles), tuple(Recommended(t, 2.5 - i / 3, because) for i, t in enumerate(titles)))
            for user in ("user 405", "user 13", "user 655")
        ),
    }
    return Context(**{**given, **changes})
