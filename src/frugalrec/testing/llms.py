"""Language models without weights: one to test with, and one that fails."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from frugalrec.cost import charge
from frugalrec.data.interactions import FloatArray
from frugalrec.errors import ConfigError


@dataclass
class UnigramModel:
    """A language model whose next word is likelier the more often the context holds it; for tests, free, exact.

    With ``c`` occurrences of word ``w`` among ``n`` words of context, ``P(w) = (c + 1/vocabulary) / (n + 1)``: proper
    probabilities over any ``vocabulary`` words, so the chain rule ``P(ab | x) = P(a | x) P(b | xa)`` holds. Every word
    of a continuation joins the context of the next. A token is a word between white space; case and punctuation are
    ignored. Time and memory are linear in the words given.

    >>> model = UnigramModel()
    >>> near, far = model.loglikelihoods("Alien, Aliens,", [" Alien 3", " Casablanca 3"])
    >>> bool(near > far)
    True
    """

    vocabulary: int = 50_000

    def __post_init__(self) -> None:
        if self.vocabulary < 1:
            raise ConfigError(f"vocabulary must be at least 1, not {self.vocabulary}")

    def loglikelihoods(self, prefix: str, continuations: Sequence[str]) -> FloatArray:
        """Return float64 ``(n,)``: log P(continuation | prefix); 0 for an empty continuation."""
        context = _words(prefix)
        seen = Counter(context)
        read = [_words(c) for c in continuations]
        if any(read):
            charge(
                tokens_in=len(context) + sum(map(len, read)),
                tokens_cached=len(context) * (sum(map(bool, read)) - 1),
                flops=0.0,
            )
        return np.array([self._log_probability(seen, len(context), words) for words in read], dtype=np.float64)

    def _log_probability(self, seen: Counter[str], length: int, words: Sequence[str]) -> float:
        counts = seen.copy()
        total = 0.0
        for n, word in enumerate(words, start=length):
            total += float(np.log((counts[word] + 1 / self.vocabulary) / (n + 1)))
            counts[word] += 1
        return total

    def generate(self, prompts: Sequence[str], *, max_tokens: int = 128, stop: Sequence[str] = ()) -> list[str]:
        """Return the distinct words of each prompt, most frequent first, at most ``max_tokens``, cut at ``stop``."""
        completions = []
        for prompt in prompts:
            words = _words(prompt)
            chosen = [word for word, _ in Counter(words).most_common(max_tokens)]
            charge(tokens_in=len(words), tokens_out=len(chosen), flops=0.0)
            text = " ".join(chosen)
            completions.append(text[: min((text.find(s) for s in stop if s and s in text), default=len(text))])
        return completions

    def count_tokens(self, text: str) -> int:
        """Return the number of words of ``text``."""
        return len(_words(text))

    def fingerprint(self) -> str:
        """Return the model's name and vocabulary."""
        return f"unigram-{self.vocabulary}"


@dataclass
class BreakableModel(UnigramModel):
    """A `UnigramModel` that raises ``error`` instead of answering once that is set; for tests of failure."""

    error: BaseException | None = None

    def loglikelihoods(self, prefix: str, continuations: Sequence[str]) -> FloatArray:
        """Answer, or raise ``error``."""
        if self.error is not None:
            raise self.error
        return super().loglikelihoods(prefix, continuations)

    def generate(self, prompts: Sequence[str], *, max_tokens: int = 128, stop: Sequence[str] = ()) -> list[str]:
        """Answer, or raise ``error``."""
        if self.error is not None:
            raise self.error
        return super().generate(prompts, max_tokens=max_tokens, stop=stop)


@dataclass
class ChoosingModel(UnigramModel):
    """A model that answers with letters: a lettered line of a prompt is as likely as its words are frequent around it.

    The log-probability of " B" is that of the words after "B. " in the prompt given all lines without a
    letter, plus ``early`` for each place before the last: a model that likes early letters has it above 0. Other
    continuations get what `UnigramModel` says.

    >>> prompt = "Alien, Aliens" + chr(10) + "A. Casablanca" + chr(10) + "B. Alien 3" + chr(10) + "Answer:"
    >>> a, b = ChoosingModel().loglikelihoods(prompt, [" A", " B"])
    >>> bool(b > a)
    True
    """

    early: float = 0.0

    def loglikelihoods(self, prefix: str, continuations: Sequence[str]) -> FloatArray:
        """Return float64 ``(n,)``: log P(continuation | prefix), or what stands for it where letters are asked."""
        found = super().loglikelihoods(prefix, continuations)
        lines = prefix.splitlines()
        lettered = {match[1]: match[2] for line in lines if (match := re.fullmatch(r"([A-Z])\. (.*)", line))}
        if not lettered or not {text.strip() for text in continuations} <= set(lettered):
            return found
        above = Counter(_words("\n".join(line for line in lines if not re.match(r"[A-Z]\. ", line))))
        for i, text in enumerate(continuations):
            place = list(lettered).index(text.strip())
            words = _words(lettered[text.strip()])
            liked = self._log_probability(above, above.total(), words) / max(1, len(words))
            found[i] = liked + self.early * (len(lettered) - 1 - place)
        return found


def _words(text: str) -> list[str]:
    # A word of punctuation alone is still a token.
    return [re.sub(r"[^\w]+", "", word.casefold()) or word for word in text.split()]


__all__ = ["BreakableModel", "ChoosingModel", "UnigramModel"]
