"""Causal language models of the transformers library, run by torch on the CPU."""

from __future__ import annotations

import copy
import inspect
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import numpy as np

from frugalrec.cost import charge, threads
from frugalrec.data.interactions import FloatArray
from frugalrec.errors import AssetError, ConfigError, DataError
from frugalrec.pretrained import load_network, load_tokenizer
from frugalrec.spending import Rate, computing

EXTRA = ("torch", "transformers")

LOGITS_BYTES = 128 << 20
"""Logits kept at a time, unless one continuation alone has more."""


@dataclass
class Transformers:
    """A GPT- or Llama-like model in full precision; choose it for models that exist as safetensors only, or to check
    what a quantised copy changes. For serving, `LlamaCpp` is several times smaller and faster.

    ``path`` is a folder with ``config.json``, ``model.safetensors`` and ``tokenizer.json``, as ``save_pretrained``
    writes it; only safetensors are read, and no code that comes with a model is run. ``context`` is how many tokens one
    call may hold, ``batch_size`` how many continuations are computed together, ``threads`` how many it computes with
    (0: as `frugalrec.cost.threads` says). Loaded on first use. Text is plain text: special tokens spelled in it are
    words like any others where the tokenizer allows that.

    `loglikelihoods` computes the prefix once, copies its keys and values for each continuation, and never computes a
    continuation's last token; in float32 the result is that of unshared calls to about 1e-5. Charges tokens, and 2
    FLOPs a parameter and token (embeddings left out), 2 a parameter of the output head for each row of logits, and 4 ·
    layers · width for each token that a token looks at. Memory: 4 bytes a parameter, and the keys and values.

    >>> model = Transformers(path="smollm2-135m")
    >>> model.loglikelihoods("The capital of France is", [" Paris", " banana"])  # doctest: +SKIP
    """

    path: str
    context: int = 2048
    batch_size: int = 32
    threads: int = 0
    _loading: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)
    _computing: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)
    _rate: Rate = field(default_factory=Rate, init=False, repr=False, compare=False)
    _opened: _Causal | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, least in (("context", 2), ("batch_size", 1), ("threads", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, not {getattr(self, name)}")

    def loglikelihoods(self, prefix: str, continuations: Sequence[str]) -> FloatArray:
        """Return float64 ``(n,)``: log P(continuation | prefix), summed over its tokens; 0 for an empty continuation.

        Prefix and continuations are tokenised apart. A prefix that leaves no room for the longest continuation loses
        tokens at its left, the opening token excepted. Raises `DataError` for a continuation longer than the context.
        """
        model = self._model
        tails = [model.tokens(text) for text in continuations]
        sums = np.zeros(len(tails), dtype=np.float64)
        asked = [i for i, tail in enumerate(tails) if tail]
        if not asked:
            return sums
        head = self._fitted(prefix, max(len(tails[i]) for i in asked) - 1)
        with self._metered(len(head) + sum(map(len, tails))), self._computing, model.computing(self._threads):
            opening, cache = model.read(head)
            sums[asked] = _log_chances(opening[-1:], [tails[i][0] for i in asked])
            flops, computed = model.flops(0, len(head), 1), len(head)
            for group in self._groups([i for i in asked if len(tails[i]) > 1], tails):
                read = [tails[i][:-1] for i in group]
                logits = model.continued(cache, len(head), read)
                for row, i in enumerate(group):
                    found = logits[row, : len(tails[i]) - 1]
                    sums[i] += _log_chances(found, tails[i][1:], each=True).sum()
                flops += sum(model.flops(len(head), len(ids), len(ids)) for ids in read)
                computed += sum(map(len, read))
        charge(tokens_in=computed, tokens_cached=len(head) * (len(asked) - 1), flops=flops)
        return sums

    def generate(self, prompts: Sequence[str], *, max_tokens: int = 128, stop: Sequence[str] = ()) -> list[str]:
        """Return the greedy completion of each prompt, up to ``max_tokens`` tokens or the first ``stop`` string.

        Prompts are completed one at a time, so what one gets does not depend on the others. A prompt that leaves no
        room for ``max_tokens`` loses tokens at its left, the opening token excepted.
        """
        if max_tokens >= self.context:
            raise ConfigError(f"max_tokens must be below the context of {self.context} tokens, not {max_tokens}")
        return [self._completed(prompt, max_tokens, [s for s in stop if s]) for prompt in prompts]

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of ``text``, without the token that opens a text."""
        return len(self._model.tokens(text))

    def fingerprint(self) -> str:
        """Return a hash of the files and the context."""
        return self._fingerprint

    @property
    def weights_bytes(self) -> int:
        """Size of the weights, which whoever runs the model must hold in memory."""
        return sum(file.stat().st_size for file in self._folder.glob("*.safetensors"))

    @cached_property
    def _fingerprint(self) -> str:
        digest = sha256(str(self.context).encode())
        for file in sorted(self._folder.iterdir()):
            if file.suffix in (".json", ".safetensors"):
                with file.open("rb") as opened:
                    digest.update(file_digest(opened, "sha256").digest())
        return f"transformers-{digest.hexdigest()[:16]}"

    @property
    def _folder(self) -> Path:
        folder = Path(self.path).expanduser()
        for name in ("config.json", "tokenizer.json"):
            if not (folder / name).is_file():
                raise AssetError(f"expected {name} in {folder}: it is not there", hint="correct 'path'")
        return folder

    @property
    def _model(self) -> _Causal:
        with self._loading:
            if self._opened is None:
                self._opened = _Causal(self._folder)
            return self._opened

    @property
    def _threads(self) -> int:
        return self.threads or threads()

    def _metered(self, tokens: int) -> AbstractContextManager[None]:
        return computing(self.path, float(tokens), self._rate)

    def _completed(self, prompt: str, max_tokens: int, stop: Sequence[str]) -> str:
        model = self._model
        head = self._fitted(prompt, max_tokens)
        written: list[int] = []
        text, fresh, before, flops = "", head, 0, 0.0
        cache: Any = None
        with self._metered(len(head) + max_tokens), self._computing, model.computing(self._threads):
            while len(written) < max_tokens:
                logits, cache = model.read(fresh, cache)
                flops += model.flops(before, len(fresh), 1)
                before += len(fresh)
                token = int(logits[-1].argmax())
                if token in model.ends:
                    break
                written.append(token)
                text = model.tokenizer.decode(written)
                ends = [text.find(s) for s in stop if s in text]
                if ends:
                    text = text[: min(ends)]
                    break
                fresh = [token]
        if before:
            charge(tokens_in=len(head), tokens_out=len(written), flops=flops)
        return text

    def _fitted(self, text: str, reserved: int) -> list[int]:
        """Return the tokens of ``text``, cut at the left so that ``reserved`` more fit into the context."""
        room = min(self.context, self._model.positions) - reserved
        if room < 1:
            raise DataError(
                f"a continuation of {reserved + 1} tokens does not fit into a context of {self.context}",
                hint="raise 'context' or shorten the text",
            )
        tokens = self._model.tokens(text)
        return [self._model.opening, *tokens[max(0, len(tokens) - room + 1) :]]

    def _groups(self, chosen: Sequence[int], tails: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Yield the ``chosen`` continuations, those of like length together, as many as memory for logits allows."""
        group: list[int] = []
        room = LOGITS_BYTES // (4 * self._model.vocabulary)
        for i in sorted(chosen, key=lambda i: len(tails[i])):
            if group and (len(group) == self.batch_size or (len(group) + 1) * len(tails[i]) > room):
                yield group
                group = []
            group.append(i)
        if group:
            yield group


class _Causal:
    """A loaded model and its tokenizer."""

    def __init__(self, folder: Path) -> None:
        self.network = load_network(folder, "AutoModelForCausalLM")
        import torch

        self._torch = torch
        self.tokenizer = load_tokenizer(folder / "tokenizer.json")
        # Newer versions of the library call it otherwise, and warn of the old name.
        names = inspect.signature(self.network.forward).parameters
        self._cache = "cache" if "cache" in names else "past_key_values"
        config = self.network.config
        ends = config.eos_token_id
        self.ends: set[int] = set(ends) if isinstance(ends, list) else set() if ends is None else {ends}
        opening = config.bos_token_id if config.bos_token_id is not None else min(self.ends, default=None)
        if opening is None:
            raise ConfigError(f"{folder}: the model names no token that opens a text", hint="set bos_token_id")
        self.opening = int(opening)
        self.positions = int(getattr(config, "max_position_embeddings", 1 << 30))
        self.vocabulary = int(config.vocab_size)
        self._width, self._layers = int(config.hidden_size), int(config.num_hidden_layers)
        embedded = {p.data_ptr(): p.numel() for m in self.network.modules() if isinstance(m, torch.nn.Embedding)
                    for p in m.parameters()}  # fmt: skip
        head = self.network.get_output_embeddings().weight
        whole = {p.data_ptr(): p.numel() for p in self.network.parameters()}
        self._head = head.numel()
        self._body = sum(whole.values()) - sum((embedded | {head.data_ptr(): head.numel()}).values())

    def tokens(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def computing(self, threads: int) -> AbstractContextManager[None]:
        return _Threads(self._torch, threads)

    def read(self, ids: Sequence[int], cache: Any = None) -> tuple[FloatArray, Any]:
        """Return the logits after the last token, ``(1, vocabulary)``, and the keys and values of all."""
        given = {"input_ids": self._torch.tensor([list(ids)]), self._cache: cache}
        out = self.network(**given, use_cache=True, logits_to_keep=1)
        return out.logits[0].numpy(), out.past_key_values

    def continued(self, cache: Any, start: int, sequences: Sequence[Sequence[int]]) -> FloatArray:
        """Return logits ``(n, longest, vocabulary)`` of sequences after a common beginning, which stays as it is.

        Padding stands on the right, where a causal model does not look.
        """
        torch = self._torch
        ids = torch.zeros((len(sequences), max(map(len, sequences))), dtype=torch.long)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = torch.tensor(list(sequence))
        shared = copy.deepcopy(cache)
        shared.batch_repeat_interleave(len(sequences))
        positions = start + torch.arange(ids.shape[1])[None].expand(len(sequences), -1)
        given = {"input_ids": ids, self._cache: shared, "position_ids": positions}
        logits: FloatArray = self.network(**given, use_cache=True).logits.numpy()
        return logits

    def flops(self, before: int, tokens: int, rows: int) -> float:
        seen = tokens * before + tokens * (tokens + 1) / 2
        return float(2.0 * (self._body * tokens + self._head * rows) + 4.0 * self._layers * self._width * seen)


class _Threads:
    """So many threads for torch, without gradients, as long as the block lasts."""

    def __init__(self, torch: Any, threads: int) -> None:
        self._torch, self._threads = torch, threads

    def __enter__(self) -> None:
        self._before = self._torch.get_num_threads()
        self._torch.set_num_threads(self._threads)
        self._mode = self._torch.inference_mode()
        self._mode.__enter__()

    def __exit__(self, *error: object) -> None:
        self._mode.__exit__(*error)
        self._torch.set_num_threads(self._before)


def _log_chances(logits: FloatArray, tokens: Sequence[int], *, each: bool = False) -> FloatArray:
    """Return log-probabilities of ``tokens``, float64: all after one row of logits, or each after its own."""
    wide = logits.astype(np.float64)
    highest = wide.max(axis=1, keepdims=True)
    normalisers = highest[:, 0] + np.log(np.exp(wide - highest).sum(axis=1))
    rows = np.arange(len(tokens)) if each else np.zeros(len(tokens), dtype=np.int64)
    return np.asarray(wide[rows, list(tokens)] - normalisers[rows], dtype=np.float64)


__all__ = ["Transformers"]
