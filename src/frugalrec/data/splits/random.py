"""Events are held out by lot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frugalrec.data.dataset import Dataset, Split
from frugalrec.data.splits._common import Fractions, check_fractions, check_not_empty, fold_of, users_of


@dataclass(frozen=True)
class RandomHoldout:
    """Holds out each event by lot, for data whose order means nothing; O(n log n) time, O(n) memory in the events.

    Each event goes to train, validation or test with the probabilities ``fractions``; a user whose events were all held
    out gets one of them back into train. Validation is asked given train, test given train and validation. Held-out
    events lie among the history, so queries have no ``now``: figures from this split say nothing about predicting the
    future. Held-out items that occur in the history as well are dropped and counted.

    >>> from frugalrec.data.catalog import Catalog
    >>> from frugalrec.data.ids import IdMap
    >>> from frugalrec.data.interactions import Interactions
    >>> items = IdMap(map(str, range(100)))
    >>> log = Interactions.from_events(np.zeros(100, np.int32), np.arange(100, dtype=np.int32), IdMap(["ann"]), items)
    >>> split = RandomHoldout(seed=1).split(Dataset(log, Catalog(items)))
    >>> len(split.train.interactions) + len(split.validation.relevant[0]) + len(split.test.relevant[0])
    100
    """

    fractions: Fractions = (0.8, 0.1, 0.1)
    seed: int = 0

    def __post_init__(self) -> None:
        check_fractions(self.fractions)

    def split(self, dataset: Dataset) -> Split:
        """Return the split; raises `DataError` when a part would be empty."""
        log = dataset.interactions
        _, validation_share, test_share = self.fractions
        lot = np.random.default_rng(self.seed).random(len(log))
        starts = log.offsets[:-1][np.diff(log.offsets) > 0]
        # A user's largest lot is in train anyway unless all of theirs were held out.
        if len(log):
            largest = np.repeat(np.maximum.reduceat(lot, starts), np.diff(np.append(starts, len(log))))
            lot[lot == largest] = 1.0
        test_mask = lot < test_share
        validation_mask = (lot < test_share + validation_share) & ~test_mask
        train = ~(test_mask | validation_mask)
        trained = users_of(log, train)
        validation, validation_counts = fold_of(log, train, validation_mask, trained=trained, timed=False)
        test, test_counts = fold_of(log, ~test_mask, test_mask, trained=trained, timed=False)
        check_not_empty(
            "random",
            int(train.sum()),
            validation,
            test,
            hint="give it more events or larger validation and test fractions",
        )
        return Split(
            kind="random",
            train=dataset.with_interactions(log.take(train)),
            validation=validation,
            test=test,
            settings={
                "fractions": list(self.fractions),
                "seed": self.seed,
                "events": len(log),
                "train_events": int(train.sum()),
                "validation": validation_counts,
                "test": test_counts,
            },
        )


__all__ = ["RandomHoldout"]
