"""A model of the sentence-transformers library, by folder or by its name on the hub."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from frugalrec import cost
from frugalrec.encoders._files import digest_of
from frugalrec.encoders._rows import unit_rows
from frugalrec.errors import AssetError, ConfigError, MissingExtraError
from frugalrec.interfaces import Matrix, Role
from frugalrec.text.preparation import Preparation, prepared

EXTRA = ("sentence-transformers", "sentence_transformers")

_lock = threading.Lock()


@dataclass
class SentenceTransformers:
    """Sentence vectors as sentence-transformers computes them, with the model's own pooling and normalisation.

    Choose it for a model that exists only there, to compare with, or as the teacher of ``frugalrec distill``. ``model``
    is a folder, or a name on the hub, which is downloaded unless ``FRUGALREC_OFFLINE`` is set. ``revision`` pins a hub
    model; without one, a model that changes there is not noticed here. Only safetensors are read, and no code that
    comes with a model is run. ``query_prefix`` and ``item_prefix`` are put before texts, ``max_tokens`` 0 keeps the
    model's own limit.

    Time is O(parameters × tokens) a text, memory the weights in float32; the library itself takes 1.5 GB on disk.
    Charges ``tokens_in`` (padding not counted) and ``flops``: 2 a parameter beside the embeddings and token.

    >>> vectors = SentenceTransformers("sentence-transformers/all-MiniLM-L6-v2").encode(["Heat"])  # doctest: +SKIP
    """

    is_language_model: ClassVar[bool] = True

    model: str = "sentence-transformers/all-MiniLM-L6-v2"
    revision: str = ""
    max_tokens: int = 0
    batch_size: int = 32
    query_prefix: str = ""
    item_prefix: str = ""
    text: Preparation = "clean"
    threads: int = 0
    _loaded: Any = field(default=None, init=False, repr=False, compare=False)
    _body: int = field(default=0, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, least in (("max_tokens", 0), ("batch_size", 1), ("threads", 0)):
            if getattr(self, name) < least:
                said = f"sentence-transformers.{name.replace('_', '-')}"
                raise ConfigError(f"{said} must be at least {least}, not {getattr(self, name)}")
        prepared("", self.text)

    def encode(self, texts: Sequence[str], *, role: Role = "item") -> Matrix:
        """Return float32 ``(n, dim)``, rows of unit norm; a text without letters or digits gets a zero row.

        Raises `MissingExtraError` without the extra, `AssetError` when the model cannot be had or read.
        """
        import torch

        model = self._model()
        prefix = self.query_prefix if role == "query" else self.item_prefix
        given = [prepared(text, self.text) for text in texts]
        rows = [i for i, text in enumerate(given) if any(character.isalnum() for character in text)]
        vectors = np.zeros((len(texts), int(model.get_embedding_dimension())), dtype=np.float32)
        if not rows:
            return vectors
        whole = [prefix + given[i] for i in rows]
        with _lock:
            before = torch.get_num_threads()
            torch.set_num_threads(self.threads or cost.threads())
            try:
                found = model.encode(whole, batch_size=self.batch_size, show_progress_bar=False, convert_to_numpy=True)
            except (RuntimeError, IndexError, ValueError) as error:
                raise ConfigError(
                    f"'{self.model}' failed on {len(rows)} texts: {error}", hint="check its tokenizer and max-tokens"
                ) from error
            finally:
                torch.set_num_threads(before)
        vectors[rows] = unit_rows(np.asarray(found, dtype=np.float32))
        limit = int(model.max_seq_length or 10**9)
        tokens = sum(min(limit, len(model.tokenizer.encode(text))) for text in whole)
        cost.charge(tokens_in=float(tokens), flops=2.0 * self._body * tokens)
        return vectors

    def fingerprint(self) -> str:
        """Return a hash of the model's files, or of its name and revision on the hub, and of the settings."""
        folder = Path(self.model).expanduser()
        files = sorted(f for f in folder.rglob("*") if f.suffix in (".json", ".safetensors")) if folder.is_dir() else []
        what: Any = [digest_of(file) for file in files] or (self.model, self.revision)
        settings = (self.max_tokens, self.query_prefix, self.item_prefix, self.text)
        return f"sentence-transformers-{hashlib.sha256(repr((what, settings)).encode()).hexdigest()[:32]}"

    def _model(self) -> Any:
        if self._loaded is not None:
            return self._loaded
        try:
            import sentence_transformers
            import torch
        except ImportError as error:
            raise MissingExtraError.of("sentence-transformers", "sentence-transformers") from error
        folder = Path(self.model).expanduser()
        local = folder.is_dir()
        try:
            model = sentence_transformers.SentenceTransformer(
                str(folder) if local else self.model,
                device="cpu",
                revision=self.revision or None,
                local_files_only=local or os.environ.get("FRUGALREC_OFFLINE", "") not in ("", "0"),
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True, "dtype": torch.float32},
            )
        except Exception as error:  # the library's and the hub's errors have no common base
            raise AssetError(
                f"'{self.model}' cannot be loaded by sentence-transformers: {type(error).__name__}: {error}",
                hint="give the folder of a saved model, or fetch it where there is a network",
            ) from error
        if self.max_tokens:
            model.max_seq_length = self.max_tokens
        embeddings = sum(m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Embedding))
        self._body = sum(p.numel() for p in model.parameters()) - embeddings
        self._loaded = model
        return model


__all__ = ["SentenceTransformers"]
