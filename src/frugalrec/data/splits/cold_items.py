"""Items are held out with all their events, as if they had just been added to the catalogue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frugalrec.data.dataset import Dataset, Split
from frugalrec.data.splits._common import Fractions, check_fractions, check_not_empty, fold_of, users_of
from frugalrec.errors import ConfigError, DataError


@dataclass(frozen=True)
class ColdItems:
    """Holds out items, to see what item text alone can do; O(n log n) time, O(n) memory in the number of events.

    Of the items with at least ``min_events`` events, the shares ``fractions`` are drawn by lot for train, validation
    and test. Train has no event of a held-out item; the catalogue keeps the item and its text. Each user who met a
    held-out item is asked for it, given all their events with train items, later ones included: too few would be left
    otherwise. Queries have no ``now`` therefore. Users without an event in train are dropped and counted.

    >>> from frugalrec.data.catalog import Catalog
    >>> from frugalrec.data.ids import IdMap
    >>> from frugalrec.data.interactions import Interactions
    >>> items = IdMap("abcdefghij")
    >>> log = Interactions.from_events(np.zeros(10, np.int32), np.arange(10, dtype=np.int32), IdMap(["ann"]), items)
    >>> split = ColdItems().split(Dataset(log, Catalog(items)))
    >>> split.train.interactions.popularity[split.test.relevant[0]].tolist(), len(split.train.catalog)
    ([0], 10)
    """

    fractions: Fractions = (0.8, 0.1, 0.1)
    min_events: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_fractions(self.fractions)
        if self.min_events < 1:
            raise ConfigError(f"min_events must be at least 1, not {self.min_events}")

    def split(self, dataset: Dataset) -> Split:
        """Return the split; raises `DataError` when there are too few items, or a part would be empty."""
        log = dataset.interactions
        eligible = np.flatnonzero(log.popularity >= self.min_events)
        _, validation_share, test_share = self.fractions
        n_validation, n_test = (max(1, round(share * len(eligible))) for share in (validation_share, test_share))
        if n_validation + n_test > len(eligible):
            raise DataError(
                f"the cold-items split needs at least {n_validation + n_test} items with {self.min_events} or more "
                f"events, there are {len(eligible)}",
                hint="lower min_events",
            )
        shuffled = np.random.default_rng(self.seed).permutation(eligible)
        part = np.zeros(log.n_items, dtype=np.int8)
        part[shuffled[:n_validation]] = 1
        part[shuffled[n_validation : n_validation + n_test]] = 2
        part_of_event = part[log.item]
        train = part_of_event == 0
        trained = users_of(log, train)
        validation, validation_counts = fold_of(log, train, part_of_event == 1, trained=trained, timed=False)
        test, test_counts = fold_of(log, train, part_of_event == 2, trained=trained, timed=False)
        check_not_empty(
            "cold-items",
            int(train.sum()),
            validation,
            test,
            hint="give it more users who met several items, or larger validation and test fractions",
        )
        return Split(
            kind="cold-items",
            train=dataset.with_interactions(log.take(train)),
            validation=validation,
            test=test,
            settings={
                "fractions": list(self.fractions),
                "min_events": self.min_events,
                "seed": self.seed,
                "validation_items": n_validation,
                "test_items": n_test,
                "events": len(log),
                "train_events": int(train.sum()),
                "validation": validation_counts,
                "test": test_counts,
            },
        )


__all__ = ["ColdItems"]
