"""The past is learned from, the future is held out: one clock for everybody."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frugalrec.data.dataset import Dataset, Split
from frugalrec.data.splits._common import ColdUsers, Fractions, check_fractions, check_not_empty, fold_of, users_of
from frugalrec.errors import ConfigError, DataError


@dataclass(frozen=True)
class GlobalTime:
    """Cuts the log at two moments, as a deployed system meets it; O(n log n) time, O(n) memory in the number of events.

    ``fractions`` of the events, by time, give the cuts t1 and t2. Train is everything before t1. Validation asks, given
    a user's events before t1, for the items new to them in [t1, t2); test asks, given all before t2, for those from t2
    on. Events at exactly a cut belong to the later side, all of them. Users without events before the cut are dropped
    and counted, or kept with an empty history (``cold_users="keep"``). A user without events in train has no user code.

    >>> from frugalrec.data.catalog import Catalog
    >>> from frugalrec.data.ids import IdMap
    >>> from frugalrec.data.interactions import Interactions
    >>> items = IdMap("abcdefghij")
    >>> user, item, time = np.zeros(10, np.int32), np.arange(10, dtype=np.int32), np.arange(10.0)
    >>> log = Interactions.from_events(user, item, IdMap(["ann"]), items, timestamp=time)
    >>> split = GlobalTime().split(Dataset(log, Catalog(items)))
    >>> len(split.train.interactions), split.validation.relevant[0].tolist(), split.test.relevant[0].tolist()
    (8, [8], [9])
    """

    fractions: Fractions = (0.8, 0.1, 0.1)
    cold_users: ColdUsers = "drop"

    def __post_init__(self) -> None:
        check_fractions(self.fractions)
        if self.cold_users not in ("drop", "keep"):
            raise ConfigError(f"cold_users must be 'drop' or 'keep', not {self.cold_users!r}")

    def split(self, dataset: Dataset) -> Split:
        """Return the split; raises `DataError` without timestamps, or when a part would be empty."""
        log = dataset.interactions
        time = log.timestamp
        if time is None:
            raise DataError(
                "the global-time split needs timestamps, the interactions have none",
                hint="name the timestamp column, or use kind = 'leave-last-out' (order of rows) or 'random'",
            )
        hint = "give it more events, other fractions, or another kind of split; many events may share one timestamp"
        if not len(log):
            raise DataError("the global-time split leaves nothing for train: there are no events", hint=hint)
        ordered = np.sort(time)
        train_share, validation_share, _ = self.fractions
        # Rounded: 0.8 + 0.1 is a hair below 0.9, and ten events must still be cut after the ninth.
        first, second = (
            float(ordered[min(int(np.floor(round(share * len(log), 6))), len(log) - 1)])
            for share in (train_share, train_share + validation_share)
        )
        train = time < first
        before_test = time < second
        trained = users_of(log, train)
        validation, validation_counts = fold_of(
            log, train, before_test & ~train, trained=trained, cold_users=self.cold_users
        )
        test, test_counts = fold_of(log, before_test, ~before_test, trained=trained, cold_users=self.cold_users)
        check_not_empty("global-time", int(train.sum()), validation, test, hint=hint)
        return Split(
            kind="global-time",
            train=dataset.with_interactions(log.take(train)),
            validation=validation,
            test=test,
            settings={
                "fractions": list(self.fractions),
                "cold_users": self.cold_users,
                "validation_from": first,
                "test_from": second,
                "events": len(log),
                "train_events": int(train.sum()),
                "validation": validation_counts,
                "test": test_counts,
            },
        )


__all__ = ["GlobalTime"]
