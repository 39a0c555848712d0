"""The seam: `Executor`, and the one scheduler behind every kind of it."""

from __future__ import annotations

import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from frugalrec import array_files, progress
from frugalrec.cost import Cost, charge, charge_reused
from frugalrec.errors import ConfigError, FrugalrecError
from frugalrec.executors._shared import SharedFolder
from frugalrec.executors._work import Arrays, Function, Outcome, Result

STRAGGLES = 3.0
"""A shard that takes so many times the median is begun again on an idle worker."""

_KNOWN = 3  # shards that must be finished before a median says something
_PATIENCE = 0.5  # seconds between looks at what straggles


@dataclass(frozen=True)
class Shard:
    """A part of a job. ``key`` stands for all that its result depends on; without one nothing is kept."""

    payload: Any
    key: str = ""


@dataclass
class _Task:
    function: Function
    payload: Any
    key: str
    needs: tuple[int, ...] = ()
    add_in_place: Callable[[Arrays, Arrays], bool] | None = None
    done: bool = False
    lost: int = 0
    copies: dict[int, float] = field(default_factory=dict)
    result: Result | None = None


class Executor(ABC):
    """Runs functions on shards with ``workers`` workers; keeps finished ones in ``checkpoints`` (a folder or URL).

    A shard whose worker dies, or that fails for want of a file or of memory, is tried ``attempts`` times in all. Any
    other error of the function ends the job. What workers charge (FLOPs, tokens) and their CPU time count as if spent
    here; a shard found among the checkpoints counts as spared, at its first price. Close it after use.
    """

    restart_seconds = 2.0
    """About what starting a worker takes: nothing is begun again before that."""

    elsewhere = True
    """Whether work is done in other processes, of which this one must be told what they spent."""

    shares_memory = False
    """Whether workers are other processes of this machine, which need not send large arrays."""

    def __init__(self, workers: int, checkpoints: str = "", attempts: int = 3, straggles: float = STRAGGLES) -> None:
        if workers < 1:
            raise ConfigError(f"workers must be at least 1, not {workers}")
        self.workers, self.attempts, self.straggles = workers, attempts, straggles
        self.checkpoints = array_files.absolute(checkpoints)
        if array_files.is_url(self.checkpoints):
            if self.elsewhere:
                array_files.refuse_memory(self.checkpoints, "checkpoints of several workers")
            array_files.file_system(self.checkpoints)  # says at once that it is none
        self._functions: dict[str, Function] = {}
        self._shared: SharedFolder | None = None

    @abstractmethod
    def submit(self, worker: int, function: Function, payload: Any, folder: str, place: str) -> None:
        """Begin on an idle worker, which is started where it does not run; `perform` says what the folders are for."""

    @abstractmethod
    def wait(self, seconds: float) -> list[tuple[int, Outcome | None]]:
        """Return the workers that have become idle, each with what came of its shard; None: the worker died."""

    @abstractmethod
    def stop(self, worker: int) -> None:
        """Stop a worker in the midst of its work."""

    @abstractmethod
    def close(self) -> None:
        """Stop all workers and free what they hold."""
        if self._shared is not None:
            self._shared.close()
            self._shared = None

    def remembered(self, key: str, make: Callable[[], Function]) -> Function:
        """Return the same function for the same ``key``: what a worker has loaded for it is loaded once."""
        if key not in self._functions:
            self._functions[key] = make()
        return self._functions[key]

    def map(self, function: Function, shards: Sequence[Shard], *, stage: str = "shards") -> Iterator[Result]:
        """Yield the result of each shard, in their order.

        >>> import numpy as np
        >>> from frugalrec.executors.local import Local
        >>> squares = Local().map(lambda x: {"y": np.array([x * x])}, [Shard(2), Shard(3)])
        >>> [int(square.load()["y"][0]) for square in squares]
        [4, 9]
        """
        tasks = [_Task(function, shard.payload, shard.key) for shard in shards]
        yield from (result for _, result in self._run(tasks, list(range(len(tasks))), stage))

    def completed(
        self, function: Function, shards: Sequence[Shard], *, stage: str = "shards"
    ) -> Iterator[tuple[int, Result]]:
        """Yield the place and the result of each shard as soon as it is finished; what is slow is not begun twice.

        >>> import numpy as np
        >>> from frugalrec.executors.local import Local
        >>> for place, square in Local().completed(lambda x: {"y": np.array([x * x])}, [Shard(2), Shard(3)]):
        ...     print(place, int(square.load()["y"][0]))
        0 4
        1 9
        """
        tasks = [_Task(function, shard.payload, shard.key) for shard in shards]
        yield from self._run(tasks, list(range(len(tasks))), stage, ordered=False)

    def reduce(
        self,
        function: Function,
        add: Callable[[Arrays, Arrays], Arrays],
        shards: Sequence[Shard],
        *,
        stage: str,
        add_in_place: Callable[[Arrays, Arrays], bool] | None = None,
    ) -> Arrays:
        """Return what the shards come to, added up as a binary tree over their order.

        Workers add, by ``add``. What they have left in memory of this machine is added here, in the memory of the left
        one, since touching new memory takes longer than the adding: by ``add_in_place``, which returns whether it
        could (False: nothing was changed, and workers add).
        """
        tasks = [_Task(function, shard.payload, shard.key) for shard in shards]
        level, adding = list(range(len(tasks))), _Adding(add)
        while len(level) > 1:
            above = []
            for left, right in zip(level[::2], level[1::2], strict=False):
                keys = (tasks[left].key, tasks[right].key)
                key = _key_of_both(*keys) if all(keys) else ""
                tasks.append(_Task(adding, None, key, (left, right), add_in_place))
                above.append(len(tasks) - 1)
            level = above + level[2 * len(above) :]
        ((_, result),) = self._run(tasks, level, stage)
        arrays = result.load(own=True)
        result.release()  # what is mapped stays readable
        return arrays

    def _run(
        self, tasks: list[_Task], wanted: list[int], stage: str, *, ordered: bool = True
    ) -> Iterator[tuple[int, Result]]:
        """Yield what is ``wanted`` with its place: in that order, or as soon as it is done and none of it twice."""
        waiting = self._begin(tasks, wanted)
        idle = set(range(self.workers))
        busy: dict[int, int] = {}
        taken: dict[bool, list[float]] = {True: [], False: []}
        left = list(wanted)
        try:
            while left:
                progress.report(stage, sum(task.done for task in tasks), len(tasks))
                place = left[0] if ordered else next((index for index in left if tasks[index].done), left[0])
                task = tasks[place]
                if task.done:
                    assert task.result is not None
                    left.remove(place)
                    yield place, task.result
                    task.result = None
                    continue
                for worker in sorted(idle):
                    following = self._next(tasks, waiting, taken if ordered else {})
                    if following is None:
                        break
                    idle.discard(worker)
                    busy[worker] = following
                    self._submit(worker, tasks, following)
                for worker, outcome in self.wait(_PATIENCE):
                    index = busy.pop(worker, None)
                    idle.add(worker)
                    if outcome is None and self._shared is not None:
                        self._shared.discard(worker)
                    if index is None or tasks[index].done:
                        if outcome is not None and outcome.result is not None:
                            outcome.result.release()
                        continue
                    began = tasks[index].copies.pop(worker)
                    if not self._settled(tasks, index, outcome):
                        if not tasks[index].copies:
                            waiting.append(index)
                        continue
                    taken[bool(tasks[index].needs)].append(time.monotonic() - began)
                    waiting.extend(self._ready(tasks, index))
                self._add_here(tasks, waiting)
            progress.report(stage, len(tasks), len(tasks))
        finally:
            for worker in busy:
                self.stop(worker)
                if self._shared is not None:
                    self._shared.discard(worker)

    def _begin(self, tasks: list[_Task], wanted: list[int]) -> list[int]:
        """Take what is kept already, and return what can be begun."""
        waiting, asked = [], list(reversed(wanted))
        while asked:
            index = asked.pop()
            task = tasks[index]
            note = array_files.note_of(self._folder(task)) if self._folder(task) else None
            if note is not None:
                task.done, task.result = True, Result(folder=self._folder(task))
                charge_reused(Cost.from_dict(note.get("cost", {})))
                self._tidy(tasks, task)
            elif task.needs:
                asked.extend(reversed(task.needs))
            else:
                waiting.append(index)
        for index, task in enumerate(tasks):
            if not task.done and task.needs and all(tasks[n].done for n in task.needs):
                waiting.append(index)
        return waiting

    def _add_here(self, tasks: list[_Task], waiting: list[int]) -> None:
        """Make the sums that need no new memory; no worker's death can spoil them, since none takes part."""
        for index in waiting:  # which grows by the sums that each makes possible
            task = tasks[index]
            if task.add_in_place is None or self._folder(task):
                continue
            left, right = (tasks[n].result for n in task.needs)
            if left is None or right is None or not (left.passed and right.passed):
                continue
            if task.add_in_place(left.load(own=True), right.load()):
                tasks[task.needs[0]].result = None
                task.done, task.result = True, left
                waiting.extend(self._ready(tasks, index))
        waiting[:] = [index for index in waiting if not tasks[index].done]

    def _tidy(self, tasks: list[_Task], whole: _Task) -> None:
        """Delete what went into a sum that is kept: a job that ended between the two left it behind."""
        below = list(whole.needs)
        while below:
            part = tasks[below.pop()]
            below.extend(part.needs)
            if self._folder(part):
                array_files.remove(self._folder(part))

    def _next(self, tasks: list[_Task], waiting: list[int], taken: Mapping[bool, list[float]]) -> int | None:
        """Return what to do next: sums first, which free memory; or what straggles beside ``taken``, once more."""
        if waiting:
            waiting.sort(key=lambda index: (not tasks[index].needs, index))
            return waiting.pop(0)
        for index, task in enumerate(tasks):
            known = taken.get(bool(task.needs), [])
            if len(task.copies) == 1 and not task.done and len(known) >= _KNOWN:
                (began,) = task.copies.values()
                if time.monotonic() - began > max(self.straggles * statistics.median(known), self.restart_seconds):
                    return index
        return None

    def _submit(self, worker: int, tasks: list[_Task], index: int) -> None:
        task = tasks[index]
        payload = tuple(tasks[n].result for n in task.needs) if task.needs else task.payload
        task.copies[worker] = time.monotonic()
        if self.shares_memory and self._shared is None:
            self._shared = SharedFolder()
        place = self._shared.place(worker) if self._shared else ""
        self.submit(worker, task.function, payload, self._folder(task), place)

    def _settled(self, tasks: list[_Task], index: int, outcome: Outcome | None) -> bool:
        """Note what came of a task; False: it must be done again. Raises what ends the job."""
        task = tasks[index]
        if outcome is None or isinstance(outcome.error, OSError | MemoryError):
            task.lost += 1
            if task.lost < self.attempts:
                return False
            if outcome is not None and outcome.error is not None:
                raise outcome.error
            raise FrugalrecError(
                f"a worker died {task.lost} times over one shard ({index + 1} of {len(tasks)})",
                hint="it may need more memory than there is: use fewer workers, or more shards",
            )
        if outcome.error is not None:
            raise outcome.error
        task.done, task.result = True, outcome.result
        if self.elsewhere:
            spent = {"cpu_seconds": outcome.cost.cpu_seconds, "peak_bytes": outcome.cost.peak_bytes}
            charge(**{**outcome.charged, **{k: v for k, v in spent.items() if v is not None}})
            charge_reused(outcome.reused)
        return True

    def _ready(self, tasks: list[_Task], index: int) -> list[int]:
        """Free what went into ``index``, and return the sums that can be begun now."""
        for part in tasks[index].needs:
            used = tasks[part].result
            if used is not None:
                used.release()
            tasks[part].result = None
            if self._folder(tasks[part]) and self._folder(tasks[index]):
                array_files.remove(self._folder(tasks[part]))
        return [
            n for n, task in enumerate(tasks) if index in task.needs and all(tasks[part].done for part in task.needs)
        ]

    def _folder(self, task: _Task) -> str:
        return array_files.joined(self.checkpoints, task.key) if self.checkpoints and task.key else ""


@dataclass(frozen=True)
class _Adding:
    add: Callable[[Arrays, Arrays], Arrays]

    def __call__(self, payload: tuple[Result, Result]) -> Arrays:
        left, right = payload
        return self.add(left.load(), right.load())


def _key_of_both(left: str, right: str) -> str:
    return sha256(f"{left}+{right}".encode()).hexdigest()[:32]


__all__ = ["STRAGGLES", "Arrays", "Executor", "Function", "Outcome", "Result", "Shard"]
