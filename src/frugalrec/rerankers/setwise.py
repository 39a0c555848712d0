"""The best candidates found by a heap sort whose comparisons a language model makes, a few candidates at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frugalrec.data.dataset import Query
from frugalrec.data.interactions import FloatArray, IntArray
from frugalrec.data.shape import DataShape
from frugalrec.errors import ConfigError
from frugalrec.rerankers._letters import LETTERS, Lettered
from frugalrec.work import Stages


@dataclass
class Setwise(Lettered):
    """Finds the ``top`` best candidates by a heap sort in which a model picks the best of ``children`` + 1 at a time;
    choose it where a model is good at picking from a short list, and the dearest way to ask is affordable.

    Zhuang et al. 2024, "A Setwise Approach for Effective and Highly Efficient Zero-shot Ranking with Large Language
    Models", section 3 (setwise heapsort, compared by letter logits). The heap starts in the retrieved order; once the
    ``top`` best stand, the others keep theirs, so the score of an item is its place, and that of all others the next.

    ``shuffles`` and ``calibrate`` keep order from deciding, as in `Listwise`: within each comparison. With 0 shuffles
    the parent, which is the better so far, has the first letter.

    Cost: about ``depth / children + top · log(depth) / log(children)`` calls (30 by default), each with the whole
    history: with a model that forgets prompts, as many times the tokens. `LlamaCpp` with ``reuse`` computes what
    consecutive prompts begin with once. Blending, titles, long prompts and failures are as in `Likelihood`.

    >>> from frugalrec.data.dataset import Ranking
    >>> from frugalrec.testing.data import checkerboard
    >>> from frugalrec.testing.llms import ChoosingModel
    >>> data = checkerboard(8)  # titles are "even square" and "odd square"
    >>> retrieved = Ranking(np.array([2, 5, 7], dtype=np.int32), np.array([3.0, 2.0, 1.0]))
    >>> reranker = Setwise(ChoosingModel(), top=2, blend=1.0).fit(data)
    >>> reranker.rerank([data.query(1)], [retrieved])[0].items.tolist()
    [5, 7, 2]
    """

    children: int = 3
    top: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.children < len(LETTERS):
            raise ConfigError(f"children must be from 1 to {len(LETTERS) - 1}, not {self.children}")
        if self.top < 1:
            raise ConfigError(f"top must be at least 1, not {self.top}")

    def expected(self, shape: DataShape) -> Stages:
        """Return what `fit` and a request take, tokens guessed from the lengths of texts: about four characters each.

        How many comparisons a heap needs depends on their outcome, and what ``reuse`` spares is not known here. FLOPs
        are unknown before the model is loaded; seconds need its rate in the machine profile.
        """
        shown = self._shown()
        asked = self._prompt_tokens(shape) + self._tokens_shown(self._title_tokens(shape), shown)
        calls = (self.depth - 1) / self.children + sum(
            self._levels(self.depth - taken) for taken in range(1, min(self.top, self.depth))
        )
        calls *= max(1, self.shuffles)
        blank = self._blank_tokens(shown) if self.calibrate and self.blend > 0 else 0.0
        return self._stages(blank, calls * asked, spread=2.0)

    def _shown(self) -> int:
        return min(self.depth, self.children + 1)

    def _levels(self, n: int) -> int:
        """Return how many families one passes from the root of a heap of ``n`` to a leaf."""
        node = levels = 0
        while (node := node * self.children + 1) < n:
            levels += 1
        return levels

    def _read(self, query: Query, items: IntArray) -> FloatArray:
        heap = list(range(len(items)))
        found: list[int] = []
        for root in range((len(heap) - 2) // self.children, -1, -1):
            self._sift(query, items, heap, root)
        while heap and len(found) < self.top:
            found.append(heap[0])
            last = heap.pop()
            if heap:
                heap[0] = last
                self._sift(query, items, heap, 0)
        scores = np.zeros(len(items))
        scores[found] = np.arange(len(found), 0, -1)
        return scores

    def _sift(self, query: Query, items: IntArray, heap: list[int], node: int) -> None:
        """Move what stands at ``node`` down until it is better than its children."""
        while (first := node * self.children + 1) < len(heap):
            family = [node, *range(first, min(first + self.children, len(heap)))]
            told = self._told(query, items[[heap[place] for place in family]])
            best = family[int(np.argmax(told))]
            if best == node:
                return
            heap[node], heap[best] = heap[best], heap[node]
            node = best


__all__ = ["Setwise"]
