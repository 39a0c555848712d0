"""Candidates shown to a language model in one prompt, reordered by how likely it answers each one's letter."""

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
class Listwise(Lettered):
    """Shows all candidates in one prompt, each under a letter, and ranks by the letters' log-probabilities; choose it
    as the cheapest way to ask a model about a whole list, and mind that small models answer by place, not by title.

    One pass gives every letter's log-probability as the first token of an answer, so nothing is written (Gangi Reddy et
    al. 2024, "FIRST: Faster Improved Listwise Reranking with Single Token Decoding"). A prompt shows up to ``letters``
    candidates. Where ``depth`` is more, a window of so many slides from the end to the top by half its size, and each
    passes its better half upwards (Sun et al. 2023, "Is ChatGPT Good at Search?", section 3.2); scores are places then.

    Two things keep order from deciding. ``shuffles`` takes the mean over so many random orders, drawn with ``seed`` and
    the candidates; 0 is one pass in the retrieved order, which small models repeat (benchmarks/README.md).
    ``calibrate`` subtracts each letter's log-probability in the same prompt with every title "N/A" (Zhao et al. 2021,
    "Calibrate Before Use", section 4), kept in ``letter_prior_``.

    Cost: ``max(1, shuffles)`` calls a window, of the prompt, the history and the window's titles. Blending, titles,
    long prompts and failures are as in `Likelihood`.

    >>> from frugalrec.data.dataset import Ranking
    >>> from frugalrec.testing.data import checkerboard
    >>> from frugalrec.testing.llms import ChoosingModel
    >>> data = checkerboard(8)  # titles are "even square" and "odd square"
    >>> retrieved = Ranking(np.array([2, 5, 7], dtype=np.int32), np.array([3.0, 2.0, 1.0]))
    >>> reranker = Listwise(ChoosingModel(), blend=1.0).fit(data)
    >>> reranker.rerank([data.query(1)], [retrieved])[0].items.tolist()
    [5, 7, 2]
    """

    letters: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.letters <= len(LETTERS):
            raise ConfigError(f"letters must be from 2 to {len(LETTERS)}, not {self.letters}")

    def expected(self, shape: DataShape) -> Stages:
        """Return what `fit` and a request take, tokens guessed from the lengths of texts: about four characters each.

        FLOPs are unknown before the model is loaded; seconds need its rate in the machine profile.
        """
        shown = self._shown()
        asked = self._prompt_tokens(shape) + self._tokens_shown(self._title_tokens(shape), shown)
        calls = len(self._windows(self.depth)) * max(1, self.shuffles)
        blank = self._blank_tokens(shown) if self.calibrate and self.blend > 0 else 0.0
        return self._stages(blank, calls * asked)

    def _shown(self) -> int:
        return min(self.depth, self.letters)

    def _windows(self, n: int) -> list[slice]:
        """Return the windows over ``n`` candidates, from the end to the top."""
        step = max(1, self.letters // 2)
        starts = [*range(n - self.letters, 0, -step), 0]
        return [slice(start, start + self.letters) for start in starts]

    def _read(self, query: Query, items: IntArray) -> FloatArray:
        windows = self._windows(len(items))
        if len(windows) == 1:
            return self._told(query, items)
        order = np.arange(len(items))
        for window in windows:
            part = order[window]
            order[window] = part[np.argsort(-self._told(query, items[part]), kind="stable")]
        places = np.empty(len(items))
        places[order] = -np.arange(len(items))
        return places


__all__ = ["Listwise"]
