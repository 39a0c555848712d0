"""Plan × shape of the data × machine profile → what each stage will take, before it is begun, as ranges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from frugalrec import registry
from frugalrec.config import Config
from frugalrec.cost import Cost
from frugalrec.data.shape import DataShape
from frugalrec.errors import AssetError, FrugalrecError, PriceError
from frugalrec.evaluation import BLOCK_BYTES, COPIES, HEAD_SHARE
from frugalrec.forecast import DAYS_A_MONTH, Traffic
from frugalrec.interfaces import Expects, ExpectsText, TextEncoder
from frugalrec.machine_profile import Profile
from frugalrec.plan import Plan, Spec
from frugalrec.prices import PriceSheet
from frugalrec.refitting import is_exact
from frugalrec.spending import UNKNOWN
from frugalrec.tuning_space import search_space
from frugalrec.work import Expected, Stages, Work, answering, ranking, touching

STAGES = ("encode", "tune", "fit", "evaluate", "request")
"""The stages of trying a plan, in their order; ``request`` is one answer."""

JUDGED_ONCE = 70.0
"""What judging takes however few queries there are (intervals, means, lists): as much as so many queries, measured."""

MEMORY_SPREAD = 1.15
"""Formulas of peak memory are tested against measurements to this factor."""


@dataclass(frozen=True)
class Range:
    """A figure with the least and the most it may be."""

    low: float
    expected: float
    high: float

    @classmethod
    def around(cls, value: float, spread: float) -> Range:
        """Return ``value`` give or take a factor."""
        return cls(value / spread, value, value * spread)

    def __iter__(self) -> Iterator[float]:
        return iter((self.low, self.expected, self.high))

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.expected + other.expected, self.high + other.high)

    def __mul__(self, factor: float) -> Range:
        return Range(self.low * factor, self.expected * factor, self.high * factor)

    def within(self, actual: float) -> bool:
        """Whether what came is in the range."""
        return self.low <= actual <= self.high

    def to_dict(self) -> dict[str, float]:
        """Return the three figures by name."""
        return {"low": self.low, "expected": self.expected, "high": self.high}


NOTHING = Range(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class StageEstimate:
    """What one stage will take; None is unknown, and ``unknown`` says why."""

    stage: str
    seconds: Range | None = None
    flops: float | None = None
    tokens: Range | None = None
    peak_bytes: Range | None = None
    money: Range | None = None
    unknown: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        shown = {n: getattr(self, n) for n in ("seconds", "tokens", "peak_bytes", "money")}
        ranges = {name: None if value is None else value.to_dict() for name, value in shown.items()}
        return {"stage": self.stage, **ranges, "flops": self.flops, "unknown": self.unknown}


@dataclass(frozen=True)
class PlanEstimate:
    """What trying a plan will take, and what it would cost a month.

    ``fitted_by_search``: tuning fits it with the settings that it chooses, and the stage ``fit`` is spared then.
    """

    plan: Plan
    stages: Mapping[str, StageEstimate]
    month: Range | None
    model_bytes: float | None
    fitted_by_search: bool = False

    @property
    def name(self) -> str:
        """The plan's name."""
        return self.plan.name

    @property
    def seconds(self) -> Range | None:
        """Seconds of all `spent` stages; None where one is unknown."""
        return _sum([s.seconds for s in self.spent.values()])

    @property
    def spent(self) -> dict[str, StageEstimate]:
        """The stages that add up: without requests, which are part of the evaluation, and a fit that is spared."""
        apart = {"request", "fit"} if self.fitted_by_search else {"request"}
        return {name: stage for name, stage in self.stages.items() if name not in apart}

    @property
    def ready_seconds(self) -> Range | None:
        """Seconds before the first request can be answered: encoding and fitting."""
        return _sum([self.stages["encode"].seconds, self.stages["fit"].seconds])

    @property
    def money(self) -> Range | None:
        """Price of all `spent` stages."""
        return _sum([s.money for s in self.spent.values()])

    @property
    def peak_bytes(self) -> Range | None:
        """The most memory that a stage takes above what the process holds."""
        peaks = [self.stages[name].peak_bytes for name in ("encode", "fit")]
        known = [peak for peak in peaks if peak is not None]
        if len(known) < len(peaks):
            return None
        return max(known, key=lambda peak: peak.expected)

    @property
    def unknown(self) -> list[str]:
        """Why what is unknown is, each reason once."""
        return list(dict.fromkeys(s.unknown for s in self.stages.values() if s.unknown))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return {
            "plan": self.name,
            "stages": [s.to_dict() for s in self.stages.values()],
            "seconds": None if self.seconds is None else self.seconds.to_dict(),
            "peak_bytes": None if self.peak_bytes is None else self.peak_bytes.to_dict(),
            "money": None if self.money is None else self.money.to_dict(),
            "money_per_month": None if self.month is None else self.month.to_dict(),
            "model_bytes": self.model_bytes,
            "fitted_by_search": self.fitted_by_search,
            "unknown": self.unknown,
        }


@dataclass
class Estimator:
    """Estimates plans for data of one shape. Without a ``profile`` times are unknown, memory and tokens are not.

    ``queries`` is how many test and validation queries will be judged.
    """

    config: Config
    shape: DataShape
    prices: PriceSheet
    profile: Profile | None = None
    queries: tuple[float, float] = (0.0, 0.0)
    _encoded: dict[str, Expected] = field(default_factory=dict, init=False, repr=False)
    _unread: str = field(default="", init=False, repr=False)
    _bought: frozenset[str] = field(default=frozenset(), init=False, repr=False)
    _unpriced: frozenset[str] = field(default=frozenset(), init=False, repr=False)

    def estimate(self, plan: Plan, start: Mapping[str, Any] | None = None) -> PlanEstimate:
        """Return what trying ``plan`` will take; ``start``: settings that the search begins with."""
        pipeline = plan.build()
        recommender: Any = pipeline.recommender
        readers: tuple[Any, ...] = (*pipeline.models, *pipeline.encoders)
        bought = [m for m in readers if hasattr(m, "url") and hasattr(m, "model")]
        self._bought = frozenset(str(m.model) for m in bought)
        self._unpriced = frozenset(str(m.model) for m in bought if getattr(m, "price", "") == UNKNOWN)
        open_settings = search_space(plan.recommender)
        for name, value in (start or {}).items():
            if name in open_settings:
                setattr(recommender, name, value)
        label, key = plan.recommender.component, correction_key(plan)
        stages, why = self._expected(recommender, label)
        found = stages or Stages()
        if stages is not None and found.fit.work is None:
            why = f"{label} cannot tell its cost for these data"
        encode = self._encoding(pipeline.encoders)
        more, score, batch = Stages(Expected.nothing()), found.score, found.in_batch
        request = score + answering(self.shape.items)
        if plan.reranker is not None:
            reranking, unknown = self._expected(pipeline.reranker, plan.reranker.component)
            why, more = why or unknown, reranking or Stages()
            if not why and more.fit.work is None:
                why = f"{plan.reranker.component} cannot tell what its fit takes"
            request, batch = request + more.score, batch + more.in_batch
        # Scores are gone through for all answers, for the warm ones and for those of the tail.
        judged = batch + ranking("judge", self.shape.items, 2.0 + self.shape.tail(HEAD_SHARE))
        fits = [found.fit, *([] if stages is None else self._alternatives(plan, recommender))]
        fits = [fit + more.fit for fit in fits]
        if self.config.tuning.seconds > 0 and open_settings:
            # What was encoded for the search is fetched from the store for what comes out of it.
            for encoder in pipeline.encoders:
                encode += self._kept("fetch", self._encoded[repr(encoder)])
        fit = self._stage("fit", fits[0], key, why, fits[1:])
        test, validation = self.queries
        limit = float(self.config.evaluation.lm_queries) if plan.language_model == "per request" else 0.0
        test = min(test, limit) if limit else test
        alone = float(min(self.config.evaluation.timed_queries, test or self.config.evaluation.timed_queries))
        touched = COPIES * min(float(BLOCK_BYTES), 4.0 * self.shape.items * test)
        asked = judged.times(test) + request.times(alone + 1)
        asked += Expected((Work("judge-query", JUDGED_ONCE),), 0.0, 0.0, 0.0, 0.0, 0.0)
        asked += Expected((touching(touched),), 0.0, 0.0, 0.0, 0.0, 0.0)
        if request.work is None:
            teller = label if found.score.work is None or plan.reranker is None else plan.reranker.component
            why = why or f"{teller} cannot tell what a request takes"
        evaluate = self._stage("evaluate", asked, key, "" if asked.work is not None else why)
        ranked = batch + ranking("rank", self.shape.items)
        tried = self._stage("", ranked.times(min(validation, self.config.tuning.max_queries)), key, why)
        once = self._stage("request", request, key, "" if request.work is not None else why)
        no_formula = self._unread or "an encoder has no cost formula"
        estimates = {
            "encode": self._stage("encode", encode, "encoder", "" if encode.work is not None else no_formula),
            "tune": self._tuning(plan, fit, tried),
            "fit": fit,
            "evaluate": evaluate,
            "request": once,
        }
        parts = [recommender, *getattr(recommender, "members", ())]
        found_by_search = self._is_tuned(plan) and plan.reranker is None and is_exact(parts, self.shape.items)
        return PlanEstimate(plan, estimates, self._month(fit, once), found.fit.held_bytes, found_by_search)

    def _expected(self, component: Any, label: str) -> tuple[Stages | None, str]:
        """Return what a component says it takes, or why that is not known."""
        try:
            stages = expected_stages(component, self.shape)
        except AssetError as error:
            return None, error.message  # weights that are not here cannot be counted
        return stages, "" if stages is not None else f"{label} has no cost formula"

    def _alternatives(self, plan: Plan, recommender: Any) -> list[Expected]:
        """Return what fitting takes with each value that tuning may choose instead of the present ones."""
        if self.config.tuning.seconds <= 0:
            return []
        found = []
        for name, (stage, values) in search_space(plan.recommender).items():
            if stage == "score":
                continue
            before = getattr(recommender, name)
            for value in values:
                setattr(recommender, name, value)
                stages = expected_stages(recommender, self.shape)
                if stages is not None and stages.fit.work is not None:
                    found.append(stages.fit)
            setattr(recommender, name, before)
        return found

    def _encoding(self, encoders: Sequence[TextEncoder]) -> Expected:
        total = Expected.nothing()
        for encoder in encoders:
            key = repr(encoder)
            if key not in self._encoded:
                self._encoded[key] = self._encoded_by(encoder)
            total += self._encoded[key]
        return total

    def _encoded_by(self, encoder: TextEncoder) -> Expected:
        try:
            if not isinstance(encoder, ExpectsText):
                return Expected()
            found = encoder.expected(self.shape)
            return found + self._kept("store", found)
        except FrugalrecError as error:
            self._unread = error.message
            return Expected()  # what is not there cannot be counted

    def _kept(self, kind: str, encoded: Expected) -> Expected:
        """Return what storing or fetching vectors takes that took ``encoded`` to make."""
        texts = self.shape.distinct_texts
        a_vector = (encoded.held_bytes or 0.0) / max(texts, 1.0)
        return Expected((Work(kind, texts, max(1.0, a_vector)),), 0.0, 0.0, 0.0, 0.0, 0.0)

    def _stage(
        self, stage: str, what: Expected, component: str, why: str, others: Sequence[Expected] = ()
    ) -> StageEstimate:
        """Turn amounts into time and money; ``others`` are what it may be instead, and widen the range."""
        seconds = self._seconds(what, component, stage)
        known = [s for other in others if (s := self._seconds(other, component, stage)) is not None]
        peaks = [o.peak_bytes for o in others if o.peak_bytes is not None]
        if seconds is not None and known:
            seconds = Range(
                min(seconds.low, *(s.low for s in known)), seconds.expected, max(seconds.high, *(s.high for s in known))
            )
        if seconds is not None and what.peak_bytes and self.profile is not None:
            # New memory may cost what it does at worst; formulas were compared with times where it did not.
            worst = self.profile.seconds([Work("touch-worst", what.peak_bytes)])
            seconds = Range(seconds.low, seconds.expected, seconds.high + (worst or 0.0))
        peak = None
        if what.peak_bytes is not None:
            peak = Range.around(what.peak_bytes, MEMORY_SPREAD * what.spread)
            peak = Range(peak.low, peak.expected, max([peak.high, *(MEMORY_SPREAD * p for p in peaks)]))
        tokens = None if what.tokens_in is None else Range.around(what.tokens_in, what.spread)
        reason = why
        if not reason and seconds is None:
            reason = self._missing(what)
        money = self._money(seconds)
        bought = [w for w in what.work or () if w.model in self._bought]
        if bought:
            try:
                money = self._fees(what, bought, component, stage)
            except PriceError as error:
                money, reason = None, error.message
        return StageEstimate(stage, seconds, what.flops, tokens, peak, money, reason)

    def _fees(self, what: Expected, bought: Sequence[Work], component: str, stage: str) -> Range | None:
        """Return the price of tokens that an endpoint is paid for, with what is computed here beside them."""
        if unpriced := sorted({w.model for w in bought} & self._unpriced):
            raise PriceError(f"the plan says that nobody knows the price of {', '.join(unpriced)} (price = 'unknown')")
        rest = replace(what, work=tuple(w for w in what.work or () if w not in bought))
        here = self._money(self._seconds(rest, component, stage))
        if here is None:
            return None
        for w in bought:
            kind = "tokens_out" if w.kind == "write" else "tokens_in"
            price = self.prices.price_tokens(w.model, **{"tokens_in": 0.0, kind: w.amount})
            here += Range.around(price, what.spread)
        return here

    def _missing(self, what: Expected) -> str:
        kinds = {(w.kind, w.model) for w in what.work or () if w.amount}
        if remote := sorted(model for _, model in kinds if model in self._bought):
            return f"how fast the endpoint of {', '.join(remote)} answers nobody can tell beforehand"
        if self.profile is None:
            return "this machine has no profile: frugalrec doctor --calibrate"
        missing = sorted(k for kind in kinds if not self.profile.rates.get(k := " ".join(kind).strip()))
        if not missing:
            return "a component cannot tell what it takes"
        return f"the machine profile has no rate of {', '.join(missing)}"

    def _seconds(self, what: Expected, component: str, stage: str) -> Range | None:
        if self.profile is None:
            return None
        seconds = self.profile.seconds(what.work)
        if seconds is None:
            return None
        seconds *= self.correction(component, stage)
        return Range.around(seconds, self.profile.spread * what.spread)

    def correction(self, component: str, stage: str) -> float:
        """Return the factor that ``costs calibrate`` found for a stage."""
        return 1.0 if self.profile is None else self.profile.corrections.get(f"{component}.{stage}", 1.0)

    def _money(self, seconds: Range | None) -> Range | None:
        if seconds is None:
            return None
        prices = (self.prices.price(Cost(cpu_seconds=s, gpu_seconds=0.0, fees=0.0)) for s in seconds)
        low, expected, high = (price or 0.0 for price in prices)
        return Range(low, expected, high)

    def _tuning(self, plan: Plan, fit: StageEstimate, tried: StageEstimate) -> StageEstimate:
        """A search ends when all is tried or when its seconds are over; a candidate that is begun is finished."""
        space, limit = _space_of(plan), self.config.tuning.seconds
        if not self._is_tuned(plan):
            return StageEstimate(
                "tune", Range(0, 0, 0), 0.0, Range(0, 0, 0), Range(0, 0, 0), self._money(Range(0, 0, 0))
            )
        if fit.seconds is None or tried.seconds is None:
            bounds = Range(0.0, limit, 2 * limit) if self.profile is not None else None
            return StageEstimate("tune", bounds, None, None, None, self._money(bounds), fit.unknown or tried.unknown)
        cheap = sum(len(values) - 1 for stage, values in space.values() if stage == "score")
        dear = sum(len(values) - 1 for stage, values in space.values() if stage != "score")

        def whole(a_fit: float, a_try: float, passes: int) -> float:
            first = a_fit + a_try * (1 + passes * cheap)
            return first + passes * dear * (a_fit + a_try * (1 + cheap))

        low = min(limit, whole(fit.seconds.low, tried.seconds.low, 1))
        high = min(limit + fit.seconds.high, whole(fit.seconds.high, tried.seconds.high, 2))
        expected = min(limit, whole(fit.seconds.expected, tried.seconds.expected, 1) * 1.3)
        seconds = Range(low, max(low, min(expected, high)), max(low, high))
        return StageEstimate("tune", seconds, None, NOTHING, fit.peak_bytes, self._money(seconds))

    def _is_tuned(self, plan: Plan) -> bool:
        return bool(_space_of(plan)) and self.config.tuning.seconds > 0 and self.queries[1] > 0

    def _month(self, fit: StageEstimate, request: StageEstimate) -> Range | None:
        if fit.money is None or request.money is None:
            return None
        traffic = Traffic(**self.config.traffic.model_dump())
        requests = request.money * (traffic.requests_per_day * DAYS_A_MONTH)
        return requests + fit.money * (traffic.refreshes_per_day * DAYS_A_MONTH)


def _space_of(plan: Plan) -> Mapping[str, tuple[str, tuple[Any, ...]]]:
    """Return the settings that tuning chooses."""
    return search_space(plan.recommender) if plan.recommender.component != "plan" else {}


def expected_stages(component: Any, shape: DataShape) -> Stages | None:
    """Return what a component says it takes; None where it has no formula."""
    return component.expected(shape) if isinstance(component, Expects) else None


def correction_key(plan: Plan) -> str:
    """Return what errors of a plan's estimates are kept under, but for encoding: recommender, and reranker if any."""
    return plan.recommender.component + ("" if plan.reranker is None else f"+{plan.reranker.component}")


def total(estimates: Sequence[PlanEstimate], *, known: bool = False) -> tuple[Range | None, Range | None]:
    """Return seconds and money of trying all plans; texts that two plans share are encoded once.

    With ``known``, stages of which nobody knows are left out: what the rest takes alone.
    """
    seen: set[str] = set()
    seconds: list[Range | None] = []
    money: list[Range | None] = []
    for estimate in estimates:
        encoders = {str(spec.to_dict()) for spec in encoders_of(estimate.plan)}
        for name, stage in estimate.spent.items():
            if name == "encode" and encoders and encoders <= seen:
                continue
            seconds.append(stage.seconds)
            money.append(stage.money)
        seen |= encoders
    if known:
        return _sum([s for s in seconds if s is not None]), _sum([m for m in money if m is not None])
    return _sum(seconds), _sum(money)


def _sum(ranges: Sequence[Range | None]) -> Range | None:
    result = Range(0.0, 0.0, 0.0)
    for found in ranges:
        if found is None:
            return None
        result += found
    return result


def encoders_of(plan: Plan) -> Iterator[Spec]:
    """Yield the text encoders of a plan, at any depth."""

    def walk(spec: Spec, kind: str) -> Iterator[Spec]:
        if kind == "encoder":
            yield spec
        fields = registry.settings_of(registry.load(kind, spec.component))
        for key, child in spec.children():
            declared = fields.get(key.replace("_", "-"))
            child_kind = registry.kind_of(str(declared.type)) if declared is not None else None
            if child_kind is not None:
                yield from walk(child, child_kind)

    yield from walk(plan.recommender, "recommender")
    if plan.reranker is not None:
        yield from walk(plan.reranker, "reranker")


__all__ = [
    "STAGES",
    "Estimator",
    "PlanEstimate",
    "Range",
    "StageEstimate",
    "correction_key",
    "expected_stages",
    "total",
]
