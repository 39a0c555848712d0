"""Candidates reordered by how likely a language model finds their titles after the user's history."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self

import numpy as np

from frugalrec import progress
from frugalrec.data.dataset import Dataset, Query, Ranking
from frugalrec.data.interactions import FloatArray, IntArray
from frugalrec.data.shape import DataShape
from frugalrec.errors import ConfigError, NotFittedError
from frugalrec.interfaces import LanguageModel
from frugalrec.work import Expected, Stages, Work

HISTORY = "{history}"
TITLES_A_CALL = 256
CHARACTERS_A_TOKEN = 4.0


@dataclass
class Likelihood:
    """Rescores the top of a ranking with a language model's log-probabilities of the titles; choose it to learn what a
    model that reads titles at request time adds to retrieval, and at what price.

    The model reads ``prompt`` with the titles of the last ``history_length`` items, and scores the title of each of the
    first ``depth`` candidates ``c`` as what comes next. ``normalisation`` says how:

    - ``pmi``: ``log P(c | prompt) − log P(c | blank_prompt)``, pointwise mutual information with the history (Holtzman
      et al. 2021, "Surface form competition", eq. 2): what the history adds to a title, whatever its length and fame;
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
    ``title_words`` words are read. What the model says is only ever a number. When the model fails, the ranking comes
    back in its old order, marked ``degraded``, and the reason is logged.

    >>> from frugalrec.testing.data import checkerboard
    >>> from frugalrec.testing.llms import UnigramModel
    >>> data = checkerboard(8)  # titles are "even square" and "odd square"
    >>> retrieved = Ranking(np.array([2, 5, 7], dtype=np.int32), np.array([3.0, 2.0, 1.0]))
    >>> reranker = Likelihood(UnigramModel(), blend=1.0).fit(data)
    >>> reranker.rerank([data.query(1)], [retrieved])[0].items.tolist()
    [5, 7, 2]
    """

    model: LanguageModel
    depth: int = 20
    history_length: int = 10
    blend: float = 0.1
    normalisation: Literal["none", "tokens", "pmi"] = "pmi"
    prompt: str = "Things that one person chose, in this order:\n{history}\n-"
    blank_prompt: str = "Things that one person chose, in this order:\n-"
    title_words: int = 24
    prior_items: int = 2_000
    titles_: tuple[str, ...] = field(init=False, repr=False, compare=False)
    prior_: FloatArray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("depth", "history_length", "title_words"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.prior_items < 0:
            raise ConfigError(f"prior_items must be at least 0, not {self.prior_items}")
        if not 0 <= self.blend <= 1:
            raise ConfigError(f"blend must be from 0 (retrieval alone) to 1 (model alone), not {self.blend}")
        if HISTORY not in self.prompt:
            raise ConfigError(f"prompt must say where the history goes: '{HISTORY}' is not in {self.prompt!r}")

    def fit(self, dataset: Dataset) -> Self:
        """Keep the items' titles and read the most popular ones; whatever the model raises comes up as it is."""
        self.model.count_tokens("")  # a model that cannot be loaded is better known now than at the first request
        titles = (dataset.catalog.title(code) for code in range(dataset.n_items))
        self.titles_ = tuple(" ".join(title.split()[: self.title_words]) for title in titles)
        self.prior_ = np.full(dataset.n_items, np.nan)
        if self.normalisation == "pmi" and self.blend > 0:
            by_popularity = np.argsort(-dataset.interactions.popularity, kind="stable")
            # In the order of their codes, so that a cache below the model recognises the calls of an earlier fit.
            likely = np.sort(by_popularity[: self.prior_items]).astype(np.int32)
            for start in range(0, len(likely), TITLES_A_CALL):
                progress.report("read titles", start, len(likely))
                part = likely[start : start + TITLES_A_CALL]
                self.prior_[part] = self._log_probabilities(self.blank_prompt, part)
            progress.report("read titles", len(likely), len(likely))
        return self

    def expected(self, shape: DataShape) -> Stages:
        """Return what `fit` and a request take, tokens guessed from the lengths of texts: about four characters each.

        FLOPs are unknown before the model is loaded; seconds need its rate in the machine profile.
        """
        name = str(getattr(self.model, "model", ""))
        texts = shape.texts or ("",)
        title = min(float(self.title_words) * 1.5, 1.0 + sum(map(len, texts)) / len(texts) / CHARACTERS_A_TOKEN)
        blank = len(self.blank_prompt) / CHARACTERS_A_TOKEN
        prior = min(float(self.prior_items), shape.items) if self.normalisation == "pmi" and self.blend > 0 else 0.0
        read = prior * title + math.ceil(prior / TITLES_A_CALL) * blank
        asked = blank + min(float(self.history_length), shape.mean_history) * (title + 2.0) + self.depth * title
        reading = [Work("prompt", tokens, model=name) for tokens in (read, asked)]
        return Stages(*(Expected((work,), None, work.amount, 0.0, None, None, 1.5) for work in reading))

    def rerank(self, queries: Sequence[Query], rankings: Sequence[Ranking]) -> list[Ranking]:
        """Return each ranking with its first ``depth`` items reordered; raises `NotFittedError` before ``fit``."""
        if not hasattr(self, "titles_"):
            raise NotFittedError("the reranker 'likelihood' was used before fit", hint="call fit(dataset) first")
        return [self._reranked(query, ranking) for query, ranking in zip(queries, rankings, strict=True)]

    def _reranked(self, query: Query, ranking: Ranking) -> Ranking:
        head = ranking.items[: self.depth]
        if len(head) < 2 or not len(query.history) or self.blend == 0:
            # There is no order to improve, or nothing to improve it by.
            return ranking
        try:
            read = self._read(query, head)
        except Exception:
            # Whatever a model raises, a request that has candidates gets them.
            logging.getLogger(__name__).warning("the language model failed; the retrieved order stands", exc_info=True)
            return replace(ranking, degraded=True)
        retrieved = np.asarray(ranking.scores, dtype=np.float64)
        blended = self.blend * _standard(read) + (1 - self.blend) * _standard(retrieved[: self.depth])
        order = np.argsort(-blended, kind="stable")
        unit = float(retrieved[: self.depth].std()) or 1.0
        lifted = retrieved[0] + unit * (1.0 + blended[order] - blended.min())
        return replace(
            ranking,
            items=np.concatenate([head[order], ranking.items[self.depth :]]),
            scores=np.concatenate([lifted, retrieved[self.depth :]]),
            reasons=None
            if ranking.reasons is None
            else tuple(ranking.reasons[i] for i in order) + ranking.reasons[self.depth :],
        )

    def _read(self, query: Query, items: IntArray) -> FloatArray:
        """Return the model's score of each of ``items``, float64 ``(n,)``, higher is better."""
        history = "\n".join(f"- {self.titles_[code]}" for code in query.history[-self.history_length :])
        scores = self._log_probabilities(self.prompt.replace(HISTORY, history), items)
        if self.normalisation == "pmi":
            unread = items[np.isnan(self.prior_[items])]
            if len(unread):
                self.prior_[unread] = self._log_probabilities(self.blank_prompt, unread)
            scores = scores - self.prior_[items]
        elif self.normalisation == "tokens":
            lengths = [self.model.count_tokens(self._continuation(code)) for code in items]
            scores = scores / np.maximum(lengths, 1)
        return scores

    def _log_probabilities(self, prompt: str, items: IntArray) -> FloatArray:
        scores = self.model.loglikelihoods(prompt, [self._continuation(code) for code in items])
        if scores.shape != (len(items),) or not np.isfinite(scores).all():
            raise ArithmeticError(f"expected {len(items)} finite log-probabilities, got {scores!r}")
        return scores

    def _continuation(self, code: int) -> str:
        return f" {self.titles_[code]}"


def _standard(values: FloatArray) -> FloatArray:
    """Return z-scores; values that are all the same say nothing and become 0."""
    spread = values.std()
    centred: FloatArray = values - values.mean()
    return centred / spread if spread > 0 else np.zeros_like(centred)


__all__ = ["Likelihood"]
