"""What rerankers that ask a generative language model share: titles, prompts that fit, failure, blending and cost."""

from __future__ import annotations

import logging
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from frugalrec import progress
from frugalrec.data.dataset import Dataset, Query, Ranking
from frugalrec.data.interactions import FloatArray, IntArray
from frugalrec.data.shape import DataShape
from frugalrec.errors import ConfigError, DataError, NotFittedError
from frugalrec.interfaces import Bounded, LanguageModel
from frugalrec.rerankers._order import reordered, standard
from frugalrec.work import Expected, Stages, Work, weights_name

TITLES_A_CALL = 256
CHARACTERS_A_TOKEN = 4.0
PLACE = re.compile(r"\{(\w+)\}")


@dataclass
class Reading(ABC):
    """Asks ``model`` about the first ``depth`` candidates in a prompt with the titles of the user's last items.

    Subclasses say what is asked (`_read`), which places their ``prompt`` must have (`_places`) and what it costs.
    """

    model: LanguageModel
    depth: int = 20
    history_length: int = 10
    blend: float = 0.1
    prompt: str = "{history}"
    title_words: int = 24
    titles_: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("depth", "history_length", "title_words"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 <= self.blend <= 1:
            raise ConfigError(f"blend must be from 0 (retrieval alone) to 1 (model alone), not {self.blend}")
        for place in self._places():
            if self.prompt.count(place) != 1:
                raise ConfigError(f"prompt must say once where to put '{place}', not {self.prompt!r}")

    def fit(self, dataset: Dataset) -> Self:
        """Keep the items' titles; whatever the model raises comes up as it is."""
        self.model.count_tokens("")  # a model that cannot be loaded is better known now than at the first request
        titles = (dataset.catalog.title(code) for code in range(dataset.n_items))
        self.titles_ = tuple(" ".join(title.split()[: self.title_words]) for title in titles)
        return self

    def rerank(self, queries: Sequence[Query], rankings: Sequence[Ranking]) -> list[Ranking]:
        """Return each ranking with its first ``depth`` items reordered; raises `NotFittedError` before ``fit``."""
        if not hasattr(self, "titles_"):
            raise NotFittedError(
                f"the reranker '{type(self).__name__.lower()}' was used before fit", hint="call fit(dataset) first"
            )
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
        return reordered(
            ranking, self.blend * standard(read) + (1 - self.blend) * standard(ranking.scores[: self.depth])
        )

    def _places(self) -> tuple[str, ...]:
        return ("{history}",)

    @abstractmethod
    def _read(self, query: Query, items: IntArray) -> FloatArray:
        """Return the model's score of each of ``items``, float64 ``(n,)``, higher is better."""

    def _prompt(self, query: Query, template: str, more: Mapping[str, str], continuations: Sequence[str]) -> str:
        """Return ``template`` filled with ``more`` and as much of the history as the model's context has room for.

        The oldest titles go first. Raises `DataError` where even the newest alone does not fit.
        """
        titles = [self.titles_[code] for code in query.history[-self.history_length :]]
        context = self.model.context if isinstance(self.model, Bounded) else None
        room = 0
        if context is not None:
            room = context - 1 - max(map(self.model.count_tokens, continuations))  # 1 for what opens a text
        for start in range(len(titles)):
            prompt = filled(template, {"history": listed(titles[start:]), **more})
            if context is None or self.model.count_tokens(prompt) <= room:
                return prompt
        raise DataError(
            f"a prompt with the newest title alone does not fit into a context of {context} tokens",
            hint="lower 'depth' or 'title-words', or raise the model's 'context'",
        )

    def _asked(self, prompt: str, continuations: Sequence[str]) -> FloatArray:
        found = self.model.loglikelihoods(prompt, continuations)
        if found.shape != (len(continuations),) or not np.isfinite(found).all():
            raise ArithmeticError(f"expected {len(continuations)} finite log-probabilities, got {found!r}")
        return found

    def _stages(self, read: float, asked: float, spread: float = 1.5) -> Stages:
        """Return what reading ``read`` tokens in `fit` and ``asked`` tokens a request takes.

        FLOPs are unknown before the model is loaded; seconds need its rate in the machine profile.
        """
        work = [Work("prompt", tokens, model=weights_name(self.model)) for tokens in (read, asked)]
        fit, score = (Expected((each,), None, each.amount, 0.0, None, None, spread) for each in work)
        return Stages(fit, score)

    def _title_tokens(self, shape: DataShape) -> float:
        texts = shape.texts or ("",)
        return min(float(self.title_words) * 1.5, 1.0 + sum(map(len, texts)) / len(texts) / CHARACTERS_A_TOKEN)

    def _prompt_tokens(self, shape: DataShape) -> float:
        """Return the expected tokens of the prompt and its history."""
        history = min(float(self.history_length), shape.mean_history)
        return tokens_of(PLACE.sub("", self.prompt)) + history * (self._title_tokens(shape) + 2.0)


@dataclass
class EachByItself(Reading):
    """Scores every candidate by itself, which gives each item a score without history as well: its prior.

    Subclasses say what follows a prompt (`_following`), how many texts that is an item, and what their
    log-probabilities make (`_score`).
    """

    blank_prompt: str = ""
    prior_weight: float = 1.0
    prior_items: int = 2_000
    prior_: FloatArray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prior_items < 0:
            raise ConfigError(f"prior_items must be at least 0, not {self.prior_items}")
        if not 0 <= self.prior_weight <= 1:
            raise ConfigError(f"prior_weight must be from 0 to 1, not {self.prior_weight}")

    def fit(self, dataset: Dataset) -> Self:
        """Keep the items' titles and read the most popular ones; whatever the model raises comes up as it is."""
        super().fit(dataset)
        self.prior_ = np.full(dataset.n_items, np.nan)
        if self._weighs_prior() and self.blend > 0:
            by_popularity = np.argsort(-dataset.interactions.popularity, kind="stable")
            # In the order of their codes, so that a cache below the model recognises the calls of an earlier fit.
            likely = np.sort(by_popularity[: self.prior_items]).astype(np.int32)
            for start in range(0, len(likely), TITLES_A_CALL):
                progress.report("read titles", start, len(likely))
                part = likely[start : start + TITLES_A_CALL]
                self.prior_[part] = self._without_history(part)
            progress.report("read titles", len(likely), len(likely))
        return self

    def expected(self, shape: DataShape) -> Stages:
        """Return what `fit` and a request take, tokens guessed from the lengths of texts: about four characters each.

        FLOPs are unknown before the model is loaded; seconds need its rate in the machine profile.
        """
        item = self._item_tokens(self._title_tokens(shape))
        prior = min(float(self.prior_items), shape.items) if self._weighs_prior() and self.blend > 0 else 0.0
        read = prior * item + math.ceil(prior / TITLES_A_CALL) * tokens_of(self.blank_prompt)
        return self._stages(read, self._prompt_tokens(shape) + self.depth * item)

    def _read(self, query: Query, items: IntArray) -> FloatArray:
        following = self._following(items)
        scores = self._score(self._asked(self._prompt(query, self._opening(), {}, following), following), items)
        if self._weighs_prior():
            unread = items[np.isnan(self.prior_[items])]
            if len(unread):
                self.prior_[unread] = self._without_history(unread)
            scores = scores - self.prior_weight * self.prior_[items]
        return scores

    def _without_history(self, items: IntArray) -> FloatArray:
        return self._score(self._asked(self._blank(), self._following(items)), items)

    def _weighs_prior(self) -> bool:
        return self.prior_weight > 0

    def _opening(self) -> str:
        """Return the part of the prompt that all candidates share."""
        return self.prompt

    def _blank(self) -> str:
        """Return the same without a history."""
        return self.blank_prompt

    @abstractmethod
    def _following(self, items: IntArray) -> list[str]:
        """Return the texts whose log-probabilities after the prompt are asked for."""

    @abstractmethod
    def _score(self, found: FloatArray, items: IntArray) -> FloatArray:
        """Return the score of each of ``items``, float64 ``(n,)``, from the log-probabilities of those texts."""

    def _item_tokens(self, title: float) -> float:
        return title


def filled(template: str, parts: Mapping[str, str]) -> str:
    """Return ``template`` with its places filled, all at once: braces in what is put there are text."""
    return PLACE.sub(lambda found: parts.get(found[1], found[0]), template)


def listed(titles: Sequence[str]) -> str:
    """Return titles as lines of a prompt."""
    return "\n".join(f"- {title}" for title in titles)


def tokens_of(text: str) -> float:
    """Return about how many tokens ``text`` has."""
    return len(text) / CHARACTERS_A_TOKEN
