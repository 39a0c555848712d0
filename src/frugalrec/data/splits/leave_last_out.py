"""The last event of every user is the test, the one before it the validation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frugalrec.data.dataset import Dataset, Split
from frugalrec.data.splits._common import check_not_empty, fold_of, users_of
from frugalrec.errors import ConfigError


@dataclass(frozen=True)
class LeaveLastOut:
    """Strict leave-last-out, for next-item recommendation; O(n log n) time, O(n) memory in the number of events.

    Train is each user's sequence without the last two events. Validation asks for the second to last, given train;
    test asks for the last, given all before it, so its history holds the validation event that no weight was fitted on.
    Users with fewer than ``min_events`` events stay in train whole. Events of one user at the same time are in the
    order of `Interactions`.

    An item that the user met before can never be ranked while seen items are left out. So the last events are the last
    with an item new to the user, and ``min_events`` counts those; events between and after them, with items met before,
    are neither learned from nor asked for (``unused_events``). ``repeats`` takes events as they are, and allows every
    query to return items again.

    >>> from frugalrec.data.catalog import Catalog
    >>> from frugalrec.data.ids import IdMap
    >>> from frugalrec.data.interactions import Interactions
    >>> items = IdMap("abcd")
    >>> log = Interactions.from_events(np.zeros(4, np.int32), np.arange(4, dtype=np.int32), IdMap(["ann"]), items)
    >>> split = LeaveLastOut().split(Dataset(log, Catalog(items)))
    >>> split.train.interactions.item.tolist(), split.test.queries[0].history.tolist(), split.test.relevant[0].tolist()
    ([0, 1], [0, 1, 2], [3])
    """

    min_events: int = 3
    repeats: bool = False

    def __post_init__(self) -> None:
        if self.min_events < 3:
            raise ConfigError(
                f"min_events must be at least 3 (train, validation and test take one each), not {self.min_events}"
            )

    def split(self, dataset: Dataset) -> Split:
        """Return the split; raises `DataError` when no user has enough events."""
        log = dataset.interactions
        counts = np.ones(len(log), dtype=bool) if self.repeats else log.first_meetings
        so_far = np.append(0, np.cumsum(counts))
        lengths = np.diff(so_far[log.offsets])
        long = lengths >= self.min_events
        split_users = long[log.user]
        to_come = so_far[log.offsets[log.user + 1]] - so_far[1:]
        train, before_test = (~split_users | (to_come >= held) for held in (2, 1))
        second_last, last = (split_users & counts & (to_come == after) for after in (1, 0))
        trained = users_of(log, train)
        validation, validation_counts = fold_of(log, train, second_last, trained=trained, repeats=self.repeats)
        test, test_counts = fold_of(log, before_test, last, trained=trained, repeats=self.repeats)
        check_not_empty(
            "leave-last-out",
            int(train.sum()),
            validation,
            test,
            hint=f"it needs users with at least {self.min_events} {'events' if self.repeats else 'different items'}",
        )
        return Split(
            kind="leave-last-out",
            train=dataset.with_interactions(log.take(train)),
            validation=validation,
            test=test,
            settings={
                "min_events": self.min_events,
                "repeats": self.repeats,
                "events": len(log),
                "train_events": int(train.sum()),
                "unused_events": int((~train & ~second_last & ~last).sum()),
                "short_users": int(((lengths > 0) & ~long).sum()),
                "validation": validation_counts,
                "test": test_counts,
            },
        )


__all__ = ["LeaveLastOut"]
