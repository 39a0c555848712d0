"""The items of a catalogue that meet constraints, the best for one user first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from frugalrec.data.dataset import Dataset, Query
from frugalrec.data.interactions import FloatArray, IntArray
from frugalrec.interfaces import Recommender
from frugalrec.tasks._forms import form
from frugalrec.tasks.attributes import Attributes, Mask
from frugalrec.tasks.constraints import Constraints


class Shortlist:
    """Filters a catalogue by `Constraints` and ranks what is left for ``user``.

    The order is ``recommender``'s, for the user's history or that of the items to resemble; without a recommender, or
    for a stranger, by shared words and popularity. ``reads_text``: the recommender reads the text of a query.

    Time: linear in the catalogue, beside the recommender's.
    """

    def __init__(
        self,
        dataset: Dataset,
        attributes: Attributes,
        recommender: Recommender | None = None,
        *,
        user: int | None = None,
        reads_text: bool = False,
    ) -> None:
        self.dataset, self.attributes = dataset, attributes
        self.recommender, self.user, self.reads_text = recommender, user, reads_text
        self._history = np.empty(0, dtype=np.int32) if user is None else dataset.query(user).history

    def matching(self, constraints: Constraints) -> Mask:
        """Return which items meet ``constraints`` for this user, bool ``(n_items,)``."""
        mask = constraints.mask(self.attributes)
        if constraints.seen is not None:
            seen = np.zeros(len(self.attributes), dtype=bool)
            seen[self._history] = True
            mask &= seen if constraints.seen else ~seen
        return mask

    def best(self, constraints: Constraints, candidates: IntArray, k: int) -> IntArray:
        """Return the best ``k`` of ``candidates``, best first; what the user has seen comes after what is new."""
        candidates = np.setdiff1d(candidates, np.array(constraints.like, dtype=np.int32))
        if not len(candidates):
            return candidates
        new = ~np.isin(candidates, self._history)
        scores = self._scores(constraints)[candidates]
        keys: list[np.ndarray] = [candidates, -scores, -self._overlap(constraints.text)[candidates], ~new]
        if constraints.newest_first is not None:
            years = self.attributes.years[candidates]
            years = np.where(np.isnan(years), np.inf, -years if constraints.newest_first else years)
            keys.append(years)
        return candidates[np.lexsort(keys)][:k]

    def _scores(self, constraints: Constraints) -> FloatArray:
        """Return the recommender's score of each item, float64 ``(n_items,)``; popularity where it knows nobody."""
        liked = np.array(constraints.like, dtype=np.int32)
        text = constraints.text if self.reads_text else ""
        if self.recommender is None or not (self.user is not None or len(liked) or text):
            return self.dataset.interactions.popularity.astype(np.float64)
        # Who names items to resemble is asking for those, and not for what their own history says.
        query = Query(history=liked) if len(liked) or self.user is None else self.dataset.query(self.user)
        (scores,) = self.recommender.score([replace(query, text=text)])
        return np.asarray(scores, dtype=np.float64)

    def _overlap(self, text: str) -> FloatArray:
        """Return how many of the words of ``text`` each item's own text has, ``(n_items,)``."""
        wanted = set(form(text))
        if not wanted:
            return np.zeros(self.dataset.n_items)
        return np.array([len(wanted & words) for words in self.attributes.text_words], dtype=np.float64)


__all__ = ["Shortlist"]
