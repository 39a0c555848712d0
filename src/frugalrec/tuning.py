"""Settings chosen on the validation fold: for each component the values that its own fields declare worth trying."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from frugalrec import metrics, progress, registry
from frugalrec.cost import Ledger
from frugalrec.data.dataset import Fold, Split
from frugalrec.data.interactions import FloatArray
from frugalrec.data.samples import miniature
from frugalrec.errors import DataError
from frugalrec.evaluation import quick_values
from frugalrec.interfaces import ArrayStore
from frugalrec.machine import available_memory_bytes
from frugalrec.plan import Plan
from frugalrec.refitting import Fitted, Refitted
from frugalrec.tuning_space import default_of, members_space, of_member, placed, search_space

SMALL_ITEMS, SMALL_EVENTS = 1_500, 200_000
"""The size of a miniature of the data, on which settings that change the sums are compared at a small price."""

LEAST_SHARE = 0.25
"""The part of the search's time that settings which need no other fit have, however long the first fit takes."""

KEPT_SHARE = 0.25
"""The share of the memory that is free which the best model so far may fill, beside the next one."""

TRAININGS = 8
"""Into how many trainings a search divides its seconds, where a component can end its training at a time limit."""


@dataclass(frozen=True)
class Tuned:
    """A plan with its chosen settings, their validation value, and every combination tried.

    ``values``: what each validation query gave with them. ``stopped_at``: the setting at which time ran out, if it did,
    for a later search to go on with. ``fit_seconds`` is the CPU time of a fit with the chosen settings, all of it,
    ``query_seconds`` that of scoring and judging one query in a batch. ``fits`` were made on all of the data, counted
    by their work, the first as one; ``setting_seconds`` is what each took, with the settings that need no other.
    ``fitted`` is the recommender as fitted with the chosen settings, where the search was to keep it.
    """

    plan: Plan
    value: float
    tried: Sequence[Mapping[str, Any]]
    complete: bool
    values: FloatArray = field(default_factory=lambda: np.empty(0))
    fit_seconds: float = 0.0
    query_seconds: float = 0.0
    stopped_at: str = ""
    fits: float = 1.0
    setting_seconds: float = 0.0
    fitted: Fitted | None = None


@dataclass(frozen=True)
class Search:
    """How long to search and on how much: CPU ``seconds`` a plan (0 = no tuning), ``max_queries`` validation queries.

    CPU time, not the clock, so that what else the machine does changes the search little.
    ``passes``: how often each setting is reconsidered after others have moved. ``first``: the setting to begin with, of
    those that need a fit; the others follow in their order, round and round. ``fits``: how many fits there may be, that
    of the settings to begin with being one and another as much as it has more work. ``keep``: whether what was fitted
    with the chosen settings is kept, where memory has room for it; ``costed``: and says what a fit from nothing takes.
    ``again``: whether the time of one more fit is left of these seconds.
    """

    seconds: float = 60.0
    max_queries: int = 2000
    passes: int = 2
    seed: int = 0
    first: str = ""
    fits: float = float("inf")
    keep: bool = False
    costed: bool = False
    again: bool = False


def tune(
    plan: Plan,
    split: Split,
    metric: str,
    search: Search,
    ledger: Ledger,
    store: ArrayStore | None = None,
    start: Mapping[str, Any] | None = None,
    written: Plan | None = None,
    known: Sequence[Fitted] = (),
) -> Tuned:
    """Choose the recommender's settings by coordinate search on the validation fold.

    One setting at a time takes each of its declared values while the others stay; cheap settings (stage ``score``) are
    searched again inside every candidate of the dearer ones, since the two trade off. Where a setting has one value a
    member, each value is searched by itself. Values that the data cannot support (`DataError`) are noted and passed
    over. A component that has the setting ``cpu-seconds`` is trained for an eighth of the search's time with each
    candidate, so that settings are compared at equal compute; the plan that comes out keeps its own limit. The search
    stops when ``search.seconds`` are spent and keeps the best so far; a candidate that would not be done by then, going
    by the recommender's ``work``, is not begun. Where the first fit leaves less than a quarter of the time, cheap
    settings have a quarter still. Settings that the plan itself fixes are not touched. The search starts from ``start``
    where that says something about a setting, and from the component's defaults elsewhere.

    On a large catalogue, settings that change a closed-form model's sums are chosen first, on a `miniature` of the data
    and within half the time: the other settings are then searched on the whole with these (Li et al. 2018, "Hyperband",
    call such a copy a lower fidelity). What ``start`` says of them is taken as it is; more work on the whole than
    ``search.fits`` is not tried. Beyond `DENSE_ITEMS` models whose ``solver`` is left open are solved block by block
    in the search, at a fraction of the price; the plan's are not. Members of a fusion that are ``known``, fitted to
    this very data, are not fitted again; what fitting others takes is not counted as time of the search.

    Members that are best alone are not best together: where a fusion's weights are searched, so are those settings of
    its members that only scoring depends on, unless the plan as it was ``written``, before plans it refers to were put
    in with what was found for them, fixes them. They are called ``members.PLACE.SETTING``. The search begins with
    members as they were found alone or as they are by default, whichever are better together, and moves their settings
    where the gain is above its standard error.
    """
    space = search_space(plan.recommender)
    space |= members_space(space, (written or plan).recommender)
    if not space or search.seconds <= 0 or not len(split.validation):
        return Tuned(plan, float("nan"), (), complete=True)
    with ledger.span("tune", plan=f"{plan.name} (tuning)", phase="once"):
        deadline = time.process_time() + search.seconds
        start, first = dict(start or {}), Tuned(plan, float("nan"), (), complete=True)
        of_sums = [name for name, (stage, _) in space.items() if stage == "accumulate"]
        if hasattr(registry.load("recommender", plan.recommender.component), "work") and _is_large(split):
            if search.fits > 1 and any(name not in start for name in of_sums):
                first = _on_miniature(plan, split, metric, search, store, space, start)
                start = {**first.plan.recommender.settings, **start}
            space = {name: option for name, option in space.items() if name not in of_sums}
            sums = {name: start[name] for name in of_sums if name in start}
            plan = replace(plan, recommender=plan.recommender.with_settings(**sums))
        found = _Climb(plan, split, metric, search, store, space, start, deadline, known).run()
        return replace(found, tried=[*first.tried, *found.tried], complete=first.complete and found.complete)


def _is_large(split: Split) -> bool:
    return int(np.count_nonzero(split.train.interactions.popularity)) > 2 * SMALL_ITEMS


def _on_miniature(
    plan: Plan,
    split: Split,
    metric: str,
    search: Search,
    store: ArrayStore | None,
    space: Mapping[str, tuple[str, tuple[Any, ...]]],
    start: Mapping[str, Any],
) -> Tuned:
    small = miniature(split, n_items=SMALL_ITEMS, n_events=SMALL_EVENTS, n_queries=search.max_queries, seed=search.seed)
    deadline, search = time.process_time() + search.seconds / 2, replace(search, keep=False, costed=False)
    if limited := search.fits < float("inf"):
        # What only solving depends on is left to the whole: there is time for few fits, and sums gain more.
        solving = {name: start[name] for name, (stage, _) in space.items() if stage == "solve" and name in start}
        plan = replace(plan, recommender=plan.recommender.with_settings(**solving))
        space = {name: option for name, option in space.items() if option[0] != "solve"}
        search = replace(search, passes=1, again=False)
    found = _Climb(plan, small, metric, search, store, space, start, deadline, miniature=limited).run()
    return replace(found, tried=[{**note, "miniature": True} for note in found.tried])


class _Climb:
    """One coordinate search. Keeps the fitted pipeline and its statistics, so that only what changed is redone."""

    def __init__(
        self,
        plan: Plan,
        split: Split,
        metric: str,
        search: Search,
        store: ArrayStore | None,
        space: Mapping[str, tuple[str, tuple[Any, ...]]],
        start: Mapping[str, Any],
        deadline: float,
        known: Sequence[Fitted] = (),
        *,
        miniature: bool = False,
    ) -> None:
        self._plan, self._search, self._space, self._miniature = plan, search, space, miniature
        self._metric = metrics.parse(metric)
        self._fold: Fold = split.validation.sample(search.max_queries, search.seed)
        self._deadline = deadline
        limit = search.seconds / TRAININGS
        data = plan, split.train, space, self._fold, store, known
        self._model = Refitted(*data, training_seconds=limit, costed=search.costed)
        self._own = self._model.own
        self._complete = True
        self._values: dict[tuple[Any, ...], float] = {}
        self._per_query: dict[tuple[Any, ...], FloatArray] = {}
        self._query_seconds = 0.0
        self._best: Fitted | None = None
        self._best_seconds: float | None = None
        self._tried: list[dict[str, Any]] = []
        self._seconds_per_work = 0.0
        self._first_work = self._fits = 0.0
        defaults = registry.settings_of(registry.load("recommender", plan.recommender.component))
        self._settings = {name: start.get(name, default_of(defaults[name.replace("_", "-")])) for name in self._own}
        for name in space.keys() - set(self._own):
            self._settings[name] = of_member(name, start, plan.recommender)
        self._settings = {name: self._settings[name] for name in space}
        self._each = [name for name in self._own if "each" in defaults[name.replace("_", "-")].metadata]
        for name in self._each:
            members = len(plan.recommender.settings[defaults[name].metadata["each"]])
            self._settings[name] += self._settings[name][-1:] * (members - len(self._settings[name]))

    def run(self) -> Tuned:
        began = time.process_time()
        dear = [name for name, (stage, _) in self._space.items() if stage != "score"]
        if self._search.fits < float("inf"):
            # There is time for few fits, and sums gain more than what only solving depends on.
            dear.sort(key=lambda name: self._space[name][0] != "accumulate")
        start = self._start()
        self._value(start)
        # The first fit must be done anyway. Where it leaves nothing of the time, what costs no other is searched still.
        self._deadline -= self._model.keeping_seconds if self._search.keep else 0.0
        whole, least = self._deadline, time.process_time() + LEAST_SHARE * self._search.seconds
        self._deadline = max(whole, least)
        whole -= self._model.seconds if self._search.again and dear else 0.0
        best, value = self._with_cheap(start, self._search.passes)
        self._note_best(best)
        self._deadline = whole
        if self._search.first in dear:
            place = dear.index(self._search.first)
            dear = dear[place:] + dear[:place]
        stopped_at = ""
        for _ in range(self._search.passes if dear else 0):
            moved = False
            for name in dear:
                for candidate in self._space[name][1]:
                    if candidate == best[name]:
                        continue
                    if self._no_room({**best, name: candidate}):
                        stopped_at = stopped_at or name
                        continue
                    settings, reached = self._with_cheap({**best, name: candidate}, passes=1)
                    if reached > value and (not self._miniature or self._shown(settings, best)):
                        best, value, moved = settings, reached, True
                        self._note_best(best)
            if not moved:
                break
        plan = replace(self._plan, recommender=self._model.spec(best))
        per_query = self._per_query.get(tuple(best.values()), np.empty(0))
        timed = self._model.seconds if self._best_seconds is None else self._best_seconds, self._query_seconds
        fits = max(1.0, self._fits)
        each = (time.process_time() - began) / fits
        return Tuned(plan, value, self._tried, self._complete, per_query, *timed, stopped_at, fits, each, self._best)

    def _note_best(self, settings: dict[str, Any]) -> None:
        """Keep what the last fit took, if it was one with the dear ones of ``settings``, and what it made if asked."""
        self._best, self._best_seconds = None, None
        if self._model.is_fitted(settings):
            self._best_seconds = self._model.seconds
            self._best = self._model.kept(settings) if self._search.keep and self._has_memory() else None

    def _has_memory(self) -> bool:
        """Whether there is room for the best model so far beside the next one."""
        free = available_memory_bytes()
        return free is None or self._model.held_bytes <= KEPT_SHARE * free

    def _start(self) -> dict[str, Any]:
        """Return where to begin: with members as they were found alone, or as they are by default, if that is better.

        Either is judged with weights of its own.
        """
        of_members = [name for name in self._space if name not in self._own]
        default = {name: of_member(name, {}, self._plan.recommender, by_default=True) for name in of_members}
        if all(self._settings[name] == value for name, value in default.items()):
            return self._settings
        alone, value = self._with_cheap(self._settings, self._search.passes, members=False)
        other, reached = self._with_cheap({**self._settings, **default}, self._search.passes, members=False)
        return other if reached > value else alone

    def _out_of_time(self, needed_seconds: float = 0.0) -> bool:
        late = time.process_time() + needed_seconds > self._deadline
        self._complete = self._complete and not late
        return late

    def _no_room(self, settings: Mapping[str, Any]) -> bool:
        """Whether time or the number of fits leave no room for another, going by the ``work`` of both."""
        work = self._model.work(settings)
        fits = work / self._first_work if self._first_work else 1.0
        # Fits on a miniature are cheap; one as dear on the whole as all that there may be is none to choose.
        over = (fits if self._miniature else self._fits + fits) > self._search.fits + 1e-9
        self._complete = self._complete and not over
        return over or self._out_of_time(self._seconds_per_work * work)

    def _with_cheap(
        self, settings: dict[str, Any], passes: int, *, members: bool = True
    ) -> tuple[dict[str, Any], float]:
        """Search the settings that only scoring depends on, those of members too or not, the others as given."""
        best, value = dict(settings), self._value(settings)
        for _ in range(passes):
            moved = False
            for name, (stage, candidates) in self._space.items():
                if stage != "score" or not (members or name in self._own):
                    continue
                for place, candidate in self._moves(name, candidates):
                    tried = {**best, name: candidate if place is None else placed(best[name], place, candidate)}
                    if tried[name] == best[name]:
                        continue
                    if self._out_of_time():
                        break
                    if (reached := self._value(tried)) > value and (name in self._own or self._shown(tried, best)):
                        best, value, moved = tried, reached, True
            if not moved:
                break
        return best, value

    def _shown(self, tried: Mapping[str, Any], best: Mapping[str, Any]) -> bool:
        """Whether ``tried`` is better by a standard error of the paired difference (Breiman et al. 1984).

        Members bring many settings, and few users would choose by chance; a miniature with few fits is not the whole.
        """
        gains = self._per_query[tuple(tried.values())] - self._per_query[tuple(best.values())]
        gains = gains[np.isfinite(gains)]
        return bool(gains.mean() > gains.std() / np.sqrt(len(gains)))

    def _moves(self, name: str, candidates: Sequence[Any]) -> list[tuple[int | None, Any]]:
        """Return the values to try, each with its place in a setting that has one value a member."""
        places = range(len(self._settings[name])) if name in self._each else (None,)
        return [(place, candidate) for place in places for candidate in candidates]

    def _value(self, settings: dict[str, Any]) -> float:
        key = tuple(settings.values())
        if key in self._values:
            return self._values[key]
        note: dict[str, Any] = {"settings": {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()}}
        try:
            self._prepare(settings)
            assert self._model.pipeline is not None
            started = time.process_time()
            per_query = quick_values(self._model.pipeline, self._fold, self._metric)
            each = (time.process_time() - started) / len(self._fold)
            # What is near, and what members say, is found once: with it it is what another query takes.
            self._query_seconds = max(self._query_seconds, each)
            note["value"] = value = float(np.nanmean(per_query))
            self._per_query[key] = per_query
        except DataError as error:
            value = float("-inf")
            note["passed_over"] = error.message
        self._values[key] = value
        self._tried.append(note)
        progress.report(f"tune {self._plan.name}", len(self._tried), 0)
        return value

    def _prepare(self, settings: dict[str, Any]) -> None:
        """Make the model what ``settings`` say, and count it where that was a fit."""
        if (took := self._model.fit(settings)) is None:
            return
        self._deadline += self._model.member_seconds  # they were searched as plans of their own
        work = self._model.work(settings)
        self._first_work = self._first_work or work
        self._fits += work / self._first_work if work else 1.0
        if work:
            self._seconds_per_work = took / work
