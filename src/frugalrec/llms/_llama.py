"""One model and its context in llama.cpp: tokens in, rows of logits out."""

from __future__ import annotations

import ctypes
import importlib
import json
import logging
import mmap
import os
import struct
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from frugalrec.errors import AssetError, ConfigError, MissingExtraError
from frugalrec.interfaces import Matrix

MAX_SEQUENCES = 64
"""Sequences that share one context. llama.cpp reserves a row of logits for each, so more would cost memory."""

MICRO_BATCH = 128
"""Tokens computed at a time. On a CPU more are no faster, and buffers grow with them (a row of logits a token)."""


class Session:
    """A GGUF model in memory with one context, all of whose cells any sequence may use.

    Not safe to use from two threads at once. Memory: the weights (mapped from the file), ``context`` cells of keys and
    values, and the logits of one `decode`.
    """

    def __init__(self, path: Path, *, context: int, threads: int) -> None:
        self._library = library = load_library()
        library.llama_backend_init()
        # Everything stays on the CPU, where its time is measured and priced.
        model_settings = library.llama_model_default_params()
        model_settings.n_gpu_layers = 0
        model = library.llama_model_load_from_file(os.fsencode(path), model_settings)
        if not model:
            raise AssetError(
                f"expected a GGUF model that llama.cpp can load, {path} is none",
                hint="check the file, or leave 'path' out to use the model by name",
            )
        settings = library.llama_context_default_params()
        settings.n_ctx = settings.n_batch = context
        settings.n_ubatch = min(MICRO_BATCH, context)
        settings.n_seq_max = MAX_SEQUENCES
        settings.n_threads = settings.n_threads_batch = threads
        settings.kv_unified = True
        settings.no_perf = True
        opened = library.llama_init_from_model(model, settings)
        if not opened:
            library.llama_model_free(model)
            raise ConfigError(f"llama.cpp cannot open a context of {context} tokens on {path}", hint="lower 'context'")
        self._context = opened
        self._memory = library.llama_get_memory(opened)
        self._vocabulary = library.llama_model_get_vocab(model)
        self._finalizer = weakref.finalize(self, _release, library, opened, model)
        self.n_vocabulary = int(library.llama_vocab_n_tokens(self._vocabulary))
        # The token embedding is looked up, not multiplied; the output head is, but only where logits are wanted.
        self.n_head_parameters = self.n_vocabulary * int(library.llama_model_n_embd(model))
        tables = 2 if _has_own_head(path) else 1
        self.n_body_parameters = int(library.llama_model_n_params(model)) - tables * self.n_head_parameters

    def tokens(self, text: str, *, start: bool = False) -> list[int]:
        """Return the tokens of ``text``, control tokens spelled in it read as plain text.

        With ``start``, the token that opens a text comes first where the model was trained with one, and in any case
        when ``text`` is empty.
        """
        raw = text.encode("utf-8", "replace")
        room = len(raw) + 8  # a token is at least a byte; opening and closing tokens come on top
        buffer = (ctypes.c_int32 * room)()
        n = self._library.llama_tokenize(self._vocabulary, raw, len(raw), buffer, room, False, False)
        tokens: list[int] = buffer[:n]
        if start and (not tokens or self._library.llama_vocab_get_add_bos(self._vocabulary)):
            tokens.insert(0, self.start)
        return tokens

    @property
    def start(self) -> int:
        """The token that opens a text; for a vocabulary without one, the token that ends the text before."""
        opening = int(self._library.llama_vocab_bos(self._vocabulary))
        return opening if opening >= 0 else int(self._library.llama_vocab_eos(self._vocabulary))

    def ends(self, token: int) -> bool:
        """Return whether ``token`` ends a generation."""
        return bool(self._library.llama_vocab_is_eog(self._vocabulary, token))

    def text(self, tokens: Sequence[int]) -> str:
        """Return what ``tokens`` spell; control tokens and a character cut in the middle spell nothing."""
        pieces = []
        buffer = ctypes.create_string_buffer(512)
        for token in tokens:
            n = self._library.llama_token_to_piece(self._vocabulary, token, buffer, len(buffer), 0, False)
            pieces.append(buffer.raw[: max(n, 0)])
        return b"".join(pieces).decode("utf-8", "ignore")

    def decode(
        self, tokens: Sequence[int], positions: Sequence[int], sequences: Sequence[int], *, last_only: bool = False
    ) -> Matrix:
        """Compute ``tokens``, each at its position of its sequence, and keep their keys and values.

        Returns float32 logits ``(len(tokens), n_vocabulary)``, or one row with ``last_only``: a view, valid until the
        next call.
        """
        n = len(tokens)
        library = self._library
        batch = library.llama_batch_init(n, 0, 1)
        try:
            batch.n_tokens = n
            for i, (token, position, sequence) in enumerate(zip(tokens, positions, sequences, strict=True)):
                batch.token[i] = token
                batch.pos[i] = position
                batch.n_seq_id[i] = 1
                batch.seq_id[i][0] = sequence
                batch.logits[i] = not last_only or i == n - 1
            status = library.llama_decode(self._context, batch)
        finally:
            library.llama_batch_free(batch)
        if status != 0:
            raise RuntimeError(f"llama.cpp could not compute {n} tokens (llama_decode returned {status})")
        rows = 1 if last_only else n
        return np.ctypeslib.as_array(library.llama_get_logits(self._context), shape=(rows, self.n_vocabulary))

    def share(self, source: int, targets: Sequence[int]) -> None:
        """Let each of the sequences ``targets`` begin with all of ``source``, at no computation and no memory."""
        for target in targets:
            self._library.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def forget(self, sequences: Sequence[int]) -> None:
        """Free what ``sequences`` alone hold."""
        for sequence in sequences:
            self._library.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def cut(self, length: int) -> bool:
        """Forget all but the first ``length`` tokens of sequence 0; returns False where the model cannot."""
        for sequence in range(1, MAX_SEQUENCES):
            self._library.llama_memory_seq_rm(self._memory, sequence, -1, -1)
        return bool(self._library.llama_memory_seq_rm(self._memory, 0, length, -1))

    def clear(self) -> None:
        """Forget every sequence."""
        self._library.llama_memory_clear(self._memory, False)

    def held_to(self, grammar: bytes) -> Callable[[Matrix], int]:
        """Return what chooses the best next token that ``grammar`` allows, given logits ``(n_vocabulary,)``."""
        library = self._library
        sampler = library.llama_sampler_init_grammar(self._vocabulary, grammar, b"root")
        if not sampler:
            raise ConfigError("llama.cpp cannot read the grammar that the schema became", hint="simplify the schema")
        rows = np.zeros(self.n_vocabulary, dtype=[("id", np.int32), ("logit", np.float32), ("p", np.float32)])

        def allowed(ids: Any, logits: Matrix) -> Any:
            part = rows[: len(ids)]
            part["id"], part["logit"] = ids, logits
            data = part.ctypes.data_as(ctypes.POINTER(library.llama_token_data))
            array = library.llama_token_data_array(data=data, size=len(part), selected=-1, sorted=False)
            library.llama_sampler_apply(sampler, ctypes.byref(array))
            return part

        def choose(logits: Matrix) -> int:
            best = int(logits.argmax())
            # Most often the best token is allowed, and to ask for one is much cheaper than to ask for all.
            if not np.isfinite(allowed([best], logits[[best]])["logit"][0]):
                found = allowed(np.arange(self.n_vocabulary), logits)
                best = int(found["id"][found["logit"].argmax()])
            if not self.ends(best):
                library.llama_sampler_accept(sampler, best)
            return best

        weakref.finalize(choose, library.llama_sampler_free, sampler)
        return choose


def grammar_of(schema: Mapping[str, Any]) -> bytes:
    """Return the GBNF grammar of a JSON schema; raises `ConfigError` for one that cannot be turned into a grammar."""
    load_library()
    made = importlib.import_module("llama_cpp.llama_grammar")
    try:
        return str(made.json_schema_to_gbnf(json.dumps(schema))).encode()
    except Exception as error:
        raise ConfigError(
            f"llama.cpp cannot hold a text to this schema: {error}", hint="simplify the schema"
        ) from error


def load_library() -> Any:
    """Import llama.cpp's bindings; raises `MissingExtraError`."""
    # OpenMP threads that spin while they wait made two threads far slower than one wherever a core was busy. Both are
    # read when OpenMP is loaded, so they must be there first.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    try:
        library = importlib.import_module("llama_cpp")
    except ImportError as error:
        raise MissingExtraError.of("llama_cpp", "llm") from error
    # Left alone, llama.cpp tells thousands of lines about a model on stderr. A level someone has set stays.
    logger = logging.getLogger("llama-cpp-python")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.ERROR)
    return library


def _release(library: Any, context: Any, model: Any) -> None:
    library.llama_free(context)
    library.llama_model_free(model)


def _has_own_head(path: Path) -> bool:
    """Return whether the file holds an output head of its own, not tied to the token embedding.

    GGUF stores each tensor's name after its length.
    """
    name = b"output.weight"
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(struct.pack("<Q", len(name)) + name) >= 0
