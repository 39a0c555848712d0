"""A transformer of the transformers library, run by torch: any layer of any BERT-like or GPT-like model."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from frugalrec import assets, cost
from frugalrec.data.shape import DataShape
from frugalrec.encoders._files import digest_of, files_in
from frugalrec.encoders._rows import unit_rows
from frugalrec.errors import ConfigError
from frugalrec.interfaces import Matrix, Role
from frugalrec.pretrained import load_network
from frugalrec.text.preparation import Preparation, prepared
from frugalrec.work import Expected, Work

EXTRA = ("torch", "transformers")

_CONFIG = "config.json"
_lock = threading.Lock()


@dataclass
class Transformers:
    """Hidden states of a transformer, pooled: sentence encoders, and language models that were never meant to be one.

    Choose it for models that exist as safetensors only, to compare layers and poolings, or as the teacher of
    ``frugalrec distill``; for serving, export to ONNX is several times smaller to install. ``path`` is a folder with
    ``config.json``, ``model.safetensors`` and ``tokenizer.json``; without one the asset ``model`` is taken. ``layer``
    -1 is the last, 0 the embeddings below the first, others count as Python does. ``pooling``: the ``mean`` of all
    tokens (BERT-like sentence encoders), the first token's state (``cls``), or the ``last`` token's, which in a
    GPT-like model is the only one that has read everything. ``query_prefix`` and ``item_prefix`` are put before texts.
    Only safetensors are read, and no code that comes with a model is run.

    Time is O(parameters × tokens + layers × length² × width) a text, memory the weights in float32. Charges
    ``tokens_in`` (padding not counted) and ``flops``: 2 a parameter beside the embeddings and token up to ``layer``,
    and 4 length² × width a layer for attention.

    >>> vectors = Transformers().encode(["a small kitten", "young cat", "bonds"])  # doctest: +SKIP
    >>> bool(vectors[0] @ vectors[1] > vectors[0] @ vectors[2])  # doctest: +SKIP
    True
    """

    is_language_model: ClassVar[bool] = True

    model: str = "all-minilm-l6-v2"
    path: str = ""
    layer: int = -1
    pooling: Literal["mean", "cls", "last"] = "mean"
    max_tokens: int = 128
    batch_size: int = 32
    query_prefix: str = ""
    item_prefix: str = ""
    text: Preparation = "clean"
    threads: int = 0
    _folder: Path | None = field(default=None, init=False, repr=False, compare=False)
    _network: _Network | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, least in (("max_tokens", 3), ("batch_size", 1), ("threads", 0)):
            if getattr(self, name) < least:
                said = f"transformers.{name.replace('_', '-')}"
                raise ConfigError(f"{said} must be at least {least}, not {getattr(self, name)}")
        if self.pooling not in ("mean", "cls", "last"):
            raise ConfigError(f"transformers.pooling must be 'mean', 'cls' or 'last', not {self.pooling!r}")
        prepared("", self.text)

    def encode(self, texts: Sequence[str], *, role: Role = "item") -> Matrix:
        """Return float32 ``(n, dim)``, rows of unit norm; zero rows for texts without content or known tokens.

        Raises `MissingExtraError` without the extra, `AssetError` when the model cannot be had or read, `ConfigError`
        when it has no such layer or its tokenizer is another model's.
        """
        network = self._loaded()
        prefix = self.query_prefix if role == "query" else self.item_prefix
        given = [prepared(text, self.text) for text in texts]
        bare = network.known(network.tokens(prefix, self.max_tokens))
        read = {i: network.tokens(prefix + text, self.max_tokens) for i, text in enumerate(given) if text}
        tokens = {i: ids for i, ids in read.items() if network.known(ids) > bare}
        vectors = np.zeros((len(texts), network.dim), dtype=np.float32)
        order = sorted(tokens, key=lambda i: len(tokens[i]))
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            batch = [tokens[i] for i in rows]
            vectors[rows] = unit_rows(network.pooled(batch, self.layer, self.pooling, self.threads or cost.threads()))
            lengths = [len(ids) for ids in batch]
            cost.charge(tokens_in=float(sum(lengths)), flops=network.flops(lengths, self.layer))
        return vectors

    @property
    def dim(self) -> int:
        """Dimension of the vectors; there is none, as of a missing attribute, until the model's files are here."""
        if not self._is_here():
            raise AttributeError("transformers.dim is known once the model's files are here")
        return self._loaded().dim

    def expected(self, shape: DataShape) -> Expected:
        """Return what encoding each different item text once takes: tokens and FLOPs are counted, not guessed.

        Nothing is fetched for it: without the model's files all is unknown. Time is that of products of matrices, which
        torch comes near to on long texts alone.
        """
        if not self._is_here():
            return Expected()
        network = self._loaded()
        texts, scale = shape.sampled_texts()
        bare = network.known(network.tokens(self.item_prefix, self.max_tokens))
        given = [text for text in (prepared(text, self.text) for text in texts) if text]
        read = [network.tokens(self.item_prefix + text, self.max_tokens) for text in given]
        lengths = sorted(len(ids) for ids in read if network.known(ids) > bare)
        flops, dim = scale * network.flops(lengths, self.layer), float(network.dim)
        widest = float(max(lengths, default=0))
        weights = 4.0 * sum(p.numel() for p in network.model.parameters())
        states = 4.0 * self.batch_size * widest * dim * (network.n_layers + 1 + 8)
        held = 4.0 * shape.distinct_texts * dim
        return Expected(
            (Work("gemm-f32", flops, dim),), flops, scale * float(sum(lengths)), 0.0, weights + states + held, held, 2.0
        )

    def fingerprint(self) -> str:
        """Return a hash of the files and of the settings that change vectors."""
        folder = self._found()
        digests = [digest_of(file) for file in sorted(folder.iterdir()) if file.suffix in (".json", ".safetensors")]
        prefixes = (self.query_prefix, self.item_prefix)
        settings = (self.layer, self.pooling, self.max_tokens, *prefixes, self.text)
        return f"transformers-{hashlib.sha256(repr((digests, settings)).encode()).hexdigest()[:32]}"

    def _is_here(self) -> bool:
        cached = (status.asset.name for status in assets.status() if status.variant is not None)
        return bool(self.path) or self._folder is not None or self.model in cached

    def _found(self) -> Path:
        if self._folder is None:
            if self.path:
                self._folder = files_in(self.path, (_CONFIG, "tokenizer.json"))[0].parent
            else:
                files = assets.fetch(self.model).files
                if _CONFIG not in files:
                    raise ConfigError(f"transformers.model '{self.model}' is none: it has {sorted(files)}")
                self._folder = files[_CONFIG].parent
        return self._folder

    def _loaded(self) -> _Network:
        if self._network is None:
            self._network = _Network(self._found())
        network = self._network
        if not -network.n_layers - 1 <= self.layer <= network.n_layers:
            raise ConfigError(f"transformers.layer {self.layer}: {network.folder} has {network.n_layers} layers")
        return network


class _Network:
    def __init__(self, folder: Path) -> None:
        self.model = load_network(folder)
        import torch

        from frugalrec.encoders._files import meaningless_tokens, open_tokenizer

        self.folder, self._torch = folder, torch
        self.tokenizer = open_tokenizer(folder / "tokenizer.json")
        self.meaningless = meaningless_tokens(self.tokenizer)
        config = self.model.config
        self.dim = int(config.hidden_size)
        self.n_layers = int(config.num_hidden_layers)
        table = self.model.get_input_embeddings()
        if self.tokenizer.get_vocab_size() > table.num_embeddings:
            raise ConfigError(
                f"{folder}: the tokenizer has {self.tokenizer.get_vocab_size():,} tokens and the model embeddings for "
                f"{table.num_embeddings:,}: they do not belong together",
                hint="take both from the same model",
            )
        embeddings = sum(m.weight.numel() for m in self.model.modules() if isinstance(m, torch.nn.Embedding))
        self.body: int = sum(p.numel() for p in self.model.parameters()) - embeddings
        self.positions = int(getattr(config, "max_position_embeddings", 0))

    def tokens(self, text: str, limit: int) -> list[int]:
        encoding = self.tokenizer.encode(text)
        room = min(limit, self.positions or limit)
        if len(encoding.ids) > room:
            # Cut so that the tokens which close a text stay.
            self_closing = 0
            while self_closing < len(encoding.ids) and encoding.special_tokens_mask[-1 - self_closing]:
                self_closing += 1
            ids: list[int] = encoding.ids[: room - self_closing] + encoding.ids[len(encoding.ids) - self_closing :]
            return ids
        return list(encoding.ids)

    def known(self, ids: Sequence[int]) -> int:
        return sum(id_ not in self.meaningless for id_ in ids)

    def pooled(self, batch: Sequence[Sequence[int]], layer: int, pooling: str, threads: int) -> Matrix:
        """Return float32 ``(n, dim)``. Padding stands on the right, where a causal model does not look."""
        torch = self._torch
        longest = max(map(len, batch))
        ids = torch.zeros((len(batch), longest), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, sequence in enumerate(batch):
            ids[row, : len(sequence)] = torch.tensor(sequence)
            mask[row, : len(sequence)] = 1
        with _lock, torch.inference_mode():
            before = torch.get_num_threads()
            torch.set_num_threads(threads)
            try:
                states = self.model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states[layer]
            except (RuntimeError, IndexError, ValueError) as error:
                raise ConfigError(
                    f"{self.folder} failed on {len(batch)} texts of up to {longest} tokens: {error}",
                    hint="check that the tokenizer is the model's own, or lower transformers.max-tokens",
                ) from error
            finally:
                torch.set_num_threads(before)
            if pooling == "cls":
                found = states[:, 0]
            elif pooling == "last":
                found = states[torch.arange(len(batch)), mask.sum(dim=1) - 1]
            else:
                found = (states * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
            return np.array(found.numpy(), dtype=np.float32)

    def flops(self, lengths: Sequence[int], layer: int) -> float:
        deep = layer if layer >= 0 else self.n_layers + 1 + layer
        share = deep / max(1, self.n_layers)
        squares = sum(length**2 for length in lengths)
        return float(share) * (2.0 * self.body * sum(lengths) + 4.0 * self.n_layers * self.dim * squares)


__all__ = ["Transformers"]
