"""What rerankers share that show a language model several candidates at once and read the letter it would answer."""

from __future__ import annotations

import string
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from frugalrec.data.dataset import Dataset, Query
from frugalrec.data.interactions import FloatArray, IntArray
from frugalrec.errors import ConfigError
from frugalrec.rerankers._reading import PLACE, Reading, filled, listed, tokens_of

LETTERS = string.ascii_uppercase
HISTORY, CANDIDATES = "{history}", "{candidates}"
CONTENT_FREE = "N/A"


@dataclass
class Lettered(Reading):
    """Shows candidates under letters; subclasses say which, and what to make of the log-probabilities (`_told`).

    ``shuffles`` 0 shows them in the order they came in; more, in so many random orders, of which means are taken.
    ``calibrate`` subtracts the log-probability that a letter has where all titles say nothing.
    """

    prompt: str = (
        "Things that one person chose, in this order:\n{history}\n\n"
        "One of these is what the person chose next:\n{candidates}\n\nAnswer:"
    )
    shuffles: int = 1
    calibrate: bool = True
    seed: int = 0
    letter_prior_: FloatArray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shuffles < 0:
            raise ConfigError(f"shuffles must be at least 0, not {self.shuffles}")

    def fit(self, dataset: Dataset) -> Self:
        """Keep the items' titles and what letters get by themselves; whatever the model raises comes up as it is."""
        super().fit(dataset)
        self.letter_prior_ = np.full((len(LETTERS) + 1, len(LETTERS)), np.nan)
        if self.calibrate and self.blend > 0:
            self._prior(self._shown())
        return self

    def _places(self) -> tuple[str, ...]:
        return (HISTORY, CANDIDATES)

    @abstractmethod
    def _shown(self) -> int:
        """Return how many candidates one prompt shows as a rule."""

    def _told(self, query: Query, items: IntArray) -> FloatArray:
        """Return how likely the model chooses each of ``items`` among them: log-probabilities less those of letters."""
        n = len(items)
        dice = np.random.default_rng([self.seed, *items.tolist()])
        orders = [dice.permutation(n) for _ in range(self.shuffles)] or [np.arange(n)]
        sums = np.zeros(n)
        for order in orders:
            shown = under_letters([self.titles_[code] for code in items[order]])
            answers = _answers(n)
            prompt = self._prompt(query, self.prompt, {"candidates": shown}, answers)
            found = self._asked(prompt, answers)
            sums[order] += found - self._prior(n) if self.calibrate else found
        return sums / len(orders)

    def _prior(self, n: int) -> FloatArray:
        """Return what ``n`` letters get where no title says anything, float64 ``(n,)``; asked for once."""
        if np.isnan(self.letter_prior_[n, 0]):
            parts = {"history": listed([CONTENT_FREE]), "candidates": under_letters([CONTENT_FREE] * n)}
            self.letter_prior_[n, :n] = self._asked(filled(self.prompt, parts), _answers(n))
        return np.asarray(self.letter_prior_[n, :n], dtype=np.float64)

    def _tokens_shown(self, title: float, n: int) -> float:
        """Return the expected tokens of ``n`` lettered titles."""
        return n * (title + 3.0)

    def _blank_tokens(self, n: int) -> float:
        """Return the expected tokens of the prompt in which no title says anything."""
        return tokens_of(PLACE.sub("", self.prompt)) + self._tokens_shown(2.0, n + 1)


def under_letters(titles: Sequence[str]) -> str:
    """Return titles as lettered lines of a prompt."""
    return "\n".join(f"{letter}. {title}" for letter, title in zip(LETTERS, titles, strict=False))


def _answers(n: int) -> list[str]:
    return [f" {letter}" for letter in LETTERS[:n]]
