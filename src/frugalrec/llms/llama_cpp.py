"""Local language models in GGUF form, run by llama.cpp on the CPU."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import file_digest
from pathlib import Path
from typing import Any

import numpy as np

from frugalrec import assets
from frugalrec.cost import charge, threads
from frugalrec.data.interactions import FloatArray
from frugalrec.errors import AssetError, ConfigError, DataError
from frugalrec.interfaces import Matrix
from frugalrec.llms._json import parsed
from frugalrec.llms._llama import MAX_SEQUENCES, Session, grammar_of, load_library
from frugalrec.spending import Rate, computing

EXTRA = ("llm", "llama_cpp")

LOGITS_BYTES = 128 << 20
"""Logits kept at a time, unless one continuation alone has more."""


@dataclass
class LlamaCpp:
    """A quantised language model on the CPU; choose it to score or write short texts with nothing leaving the machine.

    ``model`` names an asset; ``path`` is a GGUF file of your own and goes before it. ``context`` is how many tokens one
    call may hold, ``threads`` how many it computes with (0: as `frugalrec.cost.threads` says). The model is fetched and
    loaded on first use. Text is plain text: control tokens spelled in it have no power.

    Time: 2 FLOPs a parameter and token computed (N without token embeddings), and 2 a parameter of the output head for
    each row of logits; this is what is charged as ``flops``. `loglikelihoods` computes a prefix once for all its
    continuations, and never computes a continuation's last token, which predicts nothing that was asked. Memory: the
    file, and the keys and values of ``context`` tokens.

    The same call gives the same numbers. The same text in other company may not: kernels round by batch shape, so
    log-probabilities can shift a little with what else is in the call.

    With ``reuse``, `loglikelihoods` does not compute again what its prefix has in common with that of the call before,
    and charges it as ``tokens_cached``: for rerankers that ask about the same history many times. Then numbers can
    shift a little with the call before as well.

    >>> paris, banana = LlamaCpp().loglikelihoods("The capital of France is", [" Paris", " banana"])  # doctest: +SKIP
    >>> bool(paris > banana)  # doctest: +SKIP
    True
    """

    model: str = "smollm2-135m-instruct-q4"
    path: str = ""
    context: int = 2048
    threads: int = 0
    reuse: bool = False
    _held: list[int] = field(default_factory=list, init=False, repr=False, compare=False)
    _loading: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)
    _computing: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)
    _rate: Rate = field(default_factory=Rate, init=False, repr=False, compare=False)
    _opened: Session | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.context < 2:
            raise ConfigError(f"context must be at least 2 tokens, not {self.context}")
        if self.threads < 0:
            raise ConfigError(f"threads must be at least 0, not {self.threads}")

    def loglikelihoods(self, prefix: str, continuations: Sequence[str]) -> FloatArray:
        """Return float64 ``(n,)``: log P(continuation | prefix), summed over its tokens; 0 for an empty continuation.

        Prefix and continuations are tokenised apart. A prefix that leaves no room for the longest continuation loses
        tokens at its left, the opening token excepted. Raises `DataError` for a continuation longer than the context.
        """
        session = self._session
        tails = [session.tokens(c) for c in continuations]
        sums = np.zeros(len(tails), dtype=np.float64)
        asked = [i for i, tail in enumerate(tails) if tail]
        if not asked:
            return sums
        head = self._fitted(prefix, max(map(len, tails)) - 1)
        with self._computing, self._metered(len(head) - self._common(head) + sum(map(len, tails))):
            kept = self._recalled(head)
            fresh = head[kept:]
            opening = session.decode(fresh, range(kept, len(head)), [0] * len(fresh), last_only=True)
            self._held = head
            sums[asked] = opening[0, [tails[i][0] for i in asked]] - _log_normalisers(opening)
            computed, rows = len(fresh), 1
            for group in self._groups([i for i in asked if len(tails[i]) > 1], tails, len(head)):
                sequences = range(1, len(group) + 1)
                owners = [s for s, i in zip(sequences, group, strict=True) for _ in tails[i][1:]]
                positions = [len(head) + p for i in group for p in range(len(tails[i]) - 1)]
                following = [token for i in group for token in tails[i][1:]]
                session.share(0, sequences)
                logits = session.decode([token for i in group for token in tails[i][:-1]], positions, owners)
                found = logits[np.arange(len(following)), following] - _log_normalisers(logits)
                sums[group] += np.bincount(owners, weights=found)[1:]
                session.forget(sequences)
                computed, rows = computed + len(following), rows + len(following)
        charge(tokens_in=computed, tokens_cached=kept + len(head) * (len(asked) - 1), flops=self._flops(computed, rows))
        return sums

    def _common(self, head: Sequence[int]) -> int:
        """Return how many tokens ``head`` begins with that are held from the call before; its last is never one."""
        if not self.reuse:
            return 0
        pairs = zip(head[:-1], self._held, strict=False)
        return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(head) - 1, len(self._held)))

    def _recalled(self, head: Sequence[int]) -> int:
        """Forget all but the beginning of ``head``, where that is held, and return its length."""
        kept, self._held = self._common(head), []
        if kept and self._session.cut(kept):
            return kept
        self._session.clear()
        return 0

    def generate(self, prompts: Sequence[str], *, max_tokens: int = 128, stop: Sequence[str] = ()) -> list[str]:
        """Return the greedy completion of each prompt, up to ``max_tokens`` tokens or the first ``stop`` string.

        Prompts are completed one at a time, so what one gets does not depend on the others. A prompt that leaves no
        room for ``max_tokens`` loses tokens at its left, the opening token excepted.
        """
        if max_tokens >= self.context:
            raise ConfigError(f"max_tokens must be below the context of {self.context} tokens, not {max_tokens}")
        return [self._completed(prompt, max_tokens, [s for s in stop if s]) for prompt in prompts]

    def generate_json(self, prompts: Sequence[str], schema: Mapping[str, Any], *, max_tokens: int = 256) -> list[Any]:
        """Return the greedy completion of each prompt that is an instance of ``schema``.

        A grammar made of the schema rules out every token that would leave it. Raises `ConfigError` for a schema that
        llama.cpp cannot turn into one, `DataError` when ``max_tokens`` end before the value does.
        """
        if max_tokens >= self.context:
            raise ConfigError(f"max_tokens must be below the context of {self.context} tokens, not {max_tokens}")
        grammar = grammar_of(schema)
        return [
            parsed(self._completed(prompt, max_tokens, (), self._session.held_to(grammar)), schema)
            for prompt in prompts
        ]

    def _completed(
        self, prompt: str, max_tokens: int, stop: Sequence[str], chooser: Callable[[Matrix], int] | None = None
    ) -> str:
        session = self._session
        head = self._fitted(prompt, max_tokens)
        written: list[int] = []
        text = ""
        with self._metered(len(head) + max_tokens), self._computing:
            self._held = []
            session.clear()
            fresh, computed, rows = head, 0, 0
            while len(written) < max_tokens:
                positions = range(computed, computed + len(fresh))
                logits = session.decode(fresh, positions, [0] * len(fresh), last_only=True)
                computed, rows = computed + len(fresh), rows + 1
                token = int(logits[0].argmax()) if chooser is None else chooser(logits[0])
                if session.ends(token):
                    break
                written.append(token)
                text = session.text(written)
                ends = [text.find(s) for s in stop if s in text]
                if ends:
                    text = text[: min(ends)]
                    break
                fresh = [token]
        if rows:
            charge(tokens_in=len(head), tokens_out=len(written), flops=self._flops(computed, rows))
        return text

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of ``text``, without the token that opens a text."""
        return len(self._session.tokens(text))

    def fingerprint(self) -> str:
        """Return a hash of the model file, the version of llama.cpp's bindings and the context."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        with self._file.open("rb") as file:
            digest = file_digest(file, "sha256")
        digest.update(f"{load_library().__version__} {self.context}{' reuse' if self.reuse else ''}".encode())
        return f"llama-cpp-{digest.hexdigest()[:16]}"

    @cached_property
    def _file(self) -> Path:
        if not self.path:
            (file,) = assets.fetch(self.model).files.values()
            return Path(file)
        file = Path(self.path).expanduser()
        if not file.is_file():
            raise AssetError(f"expected a GGUF file, {file} does not exist", hint="correct 'path'")
        return file

    @property
    def weights_bytes(self) -> int:
        """Size of the weights, which whoever runs the model must hold in memory."""
        return self._file.stat().st_size

    @property
    def _session(self) -> Session:
        with self._loading:
            if self._opened is None:
                self._opened = Session(self._file, context=self.context, threads=self.threads or threads())
            return self._opened

    def _metered(self, tokens: int) -> AbstractContextManager[None]:
        return computing(self.path or self.model, float(tokens), self._rate)

    def _flops(self, tokens: int, rows: int) -> float:
        return 2.0 * (self._session.n_body_parameters * tokens + self._session.n_head_parameters * rows)

    def _fitted(self, text: str, reserved: int) -> list[int]:
        """Return the tokens of ``text``, cut at the left so that ``reserved`` more fit into the context."""
        room = self.context - reserved
        if room < 1:
            raise DataError(
                f"a continuation of {reserved + 1} tokens does not fit into a context of {self.context}",
                hint="raise 'context' or shorten the text",
            )
        tokens = self._session.tokens(text, start=True)
        if len(tokens) <= room:
            return tokens
        if tokens[0] == self._session.start:
            return [tokens[0], *tokens[len(tokens) - room + 1 :]]
        return tokens[-room:]

    def _groups(self, chosen: Sequence[int], tails: Sequence[Sequence[int]], n_head: int) -> Iterator[list[int]]:
        """Yield the ``chosen`` continuations, as many at a time as context, sequences and memory for logits allow."""
        room = min(self.context - n_head, LOGITS_BYTES // (4 * self._session.n_vocabulary))
        group: list[int] = []
        used = 0
        for i in chosen:
            length = len(tails[i]) - 1
            if group and (used + length > room or len(group) == MAX_SEQUENCES - 1):
                yield group
                group, used = [], 0
            group.append(i)
            used += length
        if group:
            yield group


def _log_normalisers(logits: Matrix) -> FloatArray:
    """Return float64 ``(n,)``: the logarithm of the sum of exponentials of each row."""
    out = np.empty(len(logits), dtype=np.float64)
    # A few rows at a time: a row is as long as the vocabulary, and twice as wide in float64.
    for start in range(0, len(logits), 16):
        block = logits[start : start + 16].astype(np.float64)
        highest = block.max(axis=1, keepdims=True)
        block -= highest
        np.exp(block, out=block)
        out[start : start + 16] = highest[:, 0] + np.log(block.sum(axis=1))
    return out


__all__ = ["LlamaCpp"]
