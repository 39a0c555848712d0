"""Candidates reordered by a language model's odds of "yes" to whether the user would choose each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frugalrec.data.interactions import FloatArray, IntArray
from frugalrec.errors import ConfigError
from frugalrec.rerankers._reading import EachByItself, tokens_of

HISTORY, CANDIDATE = "{history}", "{candidate}"


@dataclass
class Pointwise(EachByItself):
    """Asks a language model of each candidate by itself whether the user would choose it, and ranks by the log-odds.

    Choose it for models that were taught to answer questions; a small one hardly tells candidates apart (measured in
    benchmarks/README.md). The score of ``c`` is ``log P(yes) − log P(no)`` after ``prompt`` with the titles of the
    last ``history_length`` items and ``c`` (Nogueira et al. 2020, "Document Ranking with a Pretrained
    Sequence-to-Sequence Model", whose logits of "true" and "false" these are), less ``prior_weight`` times the same
    after ``blank_prompt``, which has no history: what an item gets from whoever asks (0: nothing is read in `fit`).

    Cost: one model call a request. By the chain rule the log-odds are the difference of two joint log-probabilities,
    ``log P(c, yes) − log P(c, no)``, so the history is read once for all candidates, and each candidate twice: 2 ·
    ``depth`` short continuations instead of ``depth`` whole prompts. The order of candidates has no influence.
    Memory, priors, blending, titles, long prompts and failures are as in `Likelihood`.

    >>> from frugalrec.data.dataset import Ranking
    >>> from frugalrec.testing.data import checkerboard
    >>> from frugalrec.testing.llms import UnigramModel
    >>> data = checkerboard(8)  # titles are "even square" and "odd square"
    >>> retrieved = Ranking(np.array([2, 5, 7], dtype=np.int32), np.array([3.0, 2.0, 1.0]))
    >>> reranker = Pointwise(UnigramModel(), yes=" odd", no=" even", blend=1.0).fit(data)
    >>> reranker.rerank([data.query(1)], [retrieved])[0].items.tolist()
    [5, 7, 2]
    """

    prompt: str = "Things that one person chose:\n{history}\nWould the same person choose {candidate}?\nAnswer:"
    prior_weight: float = 0.0
    blank_prompt: str = "Would a person choose {candidate}?\nAnswer:"
    yes: str = " Yes"
    no: str = " No"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prompt.index(HISTORY) > self.prompt.index(CANDIDATE) or self.blank_prompt.count(CANDIDATE) != 1:
            raise ConfigError(
                f"'{CANDIDATE}' must come after '{HISTORY}' in prompt, and once in blank_prompt",
                hint="the history is read once for all candidates",
            )
        if self._asked_of(self.prompt) != self._asked_of(self.blank_prompt):
            raise ConfigError(
                f"what comes after '{CANDIDATE}' must be the same in prompt and blank_prompt",
                hint=f"end both with {self.prompt.partition(CANDIDATE)[2]!r}",
            )
        if not self.yes or not self.no:
            raise ConfigError("yes and no must be texts to answer with, not empty")

    def _places(self) -> tuple[str, ...]:
        return (HISTORY, CANDIDATE)

    def _asked_of(self, prompt: str) -> tuple[str, str]:
        """Return what comes before and after a candidate's title in the texts that follow the shared opening."""
        before, _, after = prompt.partition(CANDIDATE)
        # A space belongs to the word that follows it.
        return before[len(before.rstrip(" ")) :], after

    def _opening(self) -> str:
        return self.prompt.partition(CANDIDATE)[0].rstrip(" ")

    def _blank(self) -> str:
        return self.blank_prompt.partition(CANDIDATE)[0].rstrip(" ")

    def _following(self, items: IntArray) -> list[str]:
        space, after = self._asked_of(self.prompt)
        return [f"{space}{self.titles_[code]}{after}{answer}" for code in items for answer in (self.yes, self.no)]

    def _score(self, found: FloatArray, items: IntArray) -> FloatArray:
        return np.asarray(found[0::2] - found[1::2], dtype=np.float64)

    def _item_tokens(self, title: float) -> float:
        return 2.0 * (title + tokens_of(self._asked_of(self.prompt)[1]) + 1.0)


__all__ = ["Pointwise"]
