"""Candidates reordered by how likely a language model finds their titles after the user's history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from frugalrec.data.interactions import FloatArray, IntArray
from frugalrec.rerankers._reading import EachByItself


@dataclass
class Likelihood(EachByItself):
    """Rescores the top of a ranking with a language model's log-probabilities of the titles; choose it to learn what a
    model that reads titles at request time adds to retrieval, and at what price.

    The model reads ``prompt`` with the titles of the last ``history_length`` items, and scores the title of each of the
    first ``depth`` candidates ``c`` as what comes next. ``normalisation`` says how:

    - ``pmi``: ``log P(c | prompt) − prior_weight · log P(c | blank_prompt)``; with weight 1, pointwise mutual
      information with the history (Holtzman et al. 2021, "Surface form competition", eq. 2): what the history adds to a
      title, whatever its length and fame. Less weight leaves some of the fame, which ranks better where retrieval,
      which knows fame, is not blended in (benchmarks/README.md);
    - ``tokens``: ``log P(c | prompt)`` over the title's number of tokens;
    - ``none``: ``log P(c | prompt)``.

    The new order is by ``blend · z(model) + (1 − blend) · z(retrieval)``, z-scores within the candidates; equal scores
    keep their order. New scores stay in the units of the old (a unit of z is one standard deviation of the candidates'
    old scores) and start one such unit above the best old score, so that every rescored item ranks above all others.

    Cost: one model call of the prompt and ``depth`` titles a request, paid with the request. The history-free term is
    the item's alone and kept in ``prior_``: `fit` pays for the ``prior_items`` most popular items, and the first
    request that meets one of the others pays for that one. So a large catalogue is not read for the sake of items that
    nobody retrieves. Memory is the titles and one float an item.

    Titles are data: line breaks in them become spaces, so no title can add a line to the prompt, and only the first
    ``title_words`` words are read. A prompt longer than the model's context loses the oldest titles of the history.
    What the model says is only ever a number. When the model fails, or the newest title alone is too long, the ranking
    comes back in its old order, marked ``degraded``, and the reason is logged.

    >>> from frugalrec.data.dataset import Ranking
    >>> from frugalrec.testing.data import checkerboard
    >>> from frugalrec.testing.llms import UnigramModel
    >>> data = checkerboard(8)  # titles are "even square" and "odd square"
    >>> retrieved = Ranking(np.array([2, 5, 7], dtype=np.int32), np.array([3.0, 2.0, 1.0]))
    >>> reranker = Likelihood(UnigramModel(), blend=1.0).fit(data)
    >>> reranker.rerank([data.query(1)], [retrieved])[0].items.tolist()
    [5, 7, 2]
    """

    prompt: str = "Things that one person chose, in this order:\n{history}\n-"
    blank_prompt: str = "Things that one person chose, in this order:\n-"
    normalisation: Literal["none", "tokens", "pmi"] = "pmi"

    def _weighs_prior(self) -> bool:
        return self.normalisation == "pmi" and self.prior_weight > 0

    def _following(self, items: IntArray) -> list[str]:
        return [f" {self.titles_[code]}" for code in items]

    def _score(self, found: FloatArray, items: IntArray) -> FloatArray:
        if self.normalisation != "tokens":
            return found
        lengths = [self.model.count_tokens(text) for text in self._following(items)]
        return found / np.maximum(lengths, 1)


__all__ = ["Likelihood"]
