"""A transformer that reads a history once and every candidate beside it, in one pass; and what of it is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from frugalrec.data.interactions import FloatArray
from frugalrec.errors import ConfigError
from frugalrec.pretrained import load_network, load_tokenizer
from frugalrec.torch_training import BACKWARD, Tensor, require_torch

Method = Literal["full", "lora"]
Tokens = Sequence[int]
Request = tuple[Tokens, Sequence[Tokens]]
"""The tokens of a history, and those of each candidate."""

SCALE = 10.0
"""What a cosine is multiplied by before anything was learned: log-odds between items of cosine 1 and 0."""


class PackedTransformer:
    """A BERT-like model over requests packed as ``[CLS] history [SEP] candidate [SEP] candidate [SEP] …``.

    The history sees itself, a candidate sees the history and itself, and its positions go on where the history ends:
    each gets the states it would get alone beside that history, yet the history is computed once (as in PreTTR,
    MacAvaney et al. 2020, whose history does not see candidates either). A candidate's score is `SCALE` times the
    cosine of the mean states of history and candidate, plus ``head`` times its mean state; the head starts at 0.
    """

    def __init__(self, folder: Path) -> None:
        torch = require_torch()
        self.model = load_network(folder)
        self.tokenizer = load_tokenizer(folder / "tokenizer.json")
        self.model.requires_grad_(False)
        config = self.model.config
        self.dim, self.n_layers = int(config.hidden_size), int(config.num_hidden_layers)
        self.positions = int(getattr(config, "max_position_embeddings", 512))
        lists = [m for m in self.model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == self.n_layers]
        if not lists:
            raise ConfigError(f"{folder}: {type(self.model).__name__} has no list of its {self.n_layers} layers")
        self.layers = lists[0]
        self.body = sum(p.numel() for p in self.layers.parameters())
        marks = self.tokenizer.encode("").ids
        self.opening, self.closing = list(marks[:1]), list(marks[1:])
        self.head = torch.nn.Parameter(torch.zeros(self.dim))
        self._above = 0

    def tokens(self, text: str, words: int) -> list[int]:
        """Return the tokens of the first ``words`` words of ``text``, and the token that closes a text."""
        ids: list[int] = self.tokenizer.encode(" ".join(text.split()[:words]), add_special_tokens=False).ids
        return ids + self.closing

    def trained(self, method: Method, layers: int, rank: int, seed: int) -> dict[str, Tensor]:
        """Return what is to be trained, by name: the head, and the ``layers`` last layers (0: all) or their adapters.

        ``lora`` (Hu et al. 2021, eq. 3) leaves a weight W as it is and adds B A, of ``rank``, with B = 0 at first.
        """
        torch = require_torch()
        self._above = min(layers, self.n_layers) or self.n_layers
        chosen = list(self.layers)[self.n_layers - self._above :]
        parameters = {"head": self.head}
        if method == "full":
            for depth, layer in enumerate(chosen):
                parameters |= {f"{depth}.{name}": p.requires_grad_() for name, p in layer.named_parameters()}
            return parameters
        generator = torch.Generator().manual_seed(seed)
        for depth, layer in enumerate(chosen):
            for name, linear in [x for x in layer.named_modules() if isinstance(x[1], torch.nn.Linear)]:
                down = torch.randn(rank, linear.in_features, generator=generator) / math.sqrt(linear.in_features)
                a, b = torch.nn.Parameter(down), torch.nn.Parameter(torch.zeros(linear.out_features, rank))
                parameters[f"{depth}.{name}.a"], parameters[f"{depth}.{name}.b"] = a, b
                linear.register_forward_hook(lambda _, x, y, a=a, b=b: y + (x[0] @ a.T) @ b.T)
        if len(parameters) == 1:
            raise ConfigError(f"{type(self.model).__name__} has no linear layers to adapt", hint='set method = "full"')
        return parameters

    def scores(self, requests: Sequence[Request]) -> Tensor:
        """Return float32 ``(n, most candidates)``; where a request has fewer, what is beyond means nothing."""
        torch = require_torch()
        packed = [self.packed(*request) for request in requests]
        longest = max(len(ids) for ids, _, _ in packed)
        ids, places, owners = (np.zeros((len(packed), longest), dtype=np.int64) for _ in range(3))
        owners[:] = -1
        for row, (tokens, positions, owner) in enumerate(packed):
            ids[row, : len(tokens)], places[row, : len(tokens)], owners[row, : len(tokens)] = tokens, positions, owner
        seen = (owners[:, None, :] == 0) | ((owners[:, :, None] == owners[:, None, :]) & (owners[:, None, :] >= 0))
        states = self.model(
            input_ids=torch.from_numpy(ids),
            attention_mask=torch.from_numpy(seen[:, None]),
            position_ids=torch.from_numpy(places),
        ).last_hidden_state
        width = int(owners.max()) + 1
        segments = torch.from_numpy(np.where(owners >= 0, owners + width * np.arange(len(packed))[:, None], -1)).ravel()
        inside = segments >= 0
        flat, segments = states.reshape(-1, self.dim)[inside], segments[inside]
        sums = flat.new_zeros(len(packed) * width, self.dim).index_add(0, segments, flat)
        counts = torch.bincount(segments, minlength=len(sums)).clamp(min=1)[:, None]
        means = (sums / counts).view(len(packed), width, self.dim)
        alike = torch.nn.functional.cosine_similarity(means[:, :1], means[:, 1:], dim=-1)
        return SCALE * alike + means[:, 1:] @ self.head

    def packed(self, history: Tokens, candidates: Sequence[Tokens]) -> tuple[list[int], list[int], list[int]]:
        """Return tokens, positions, and what each belongs to: 0 the history, i the i-th candidate from 1."""
        longest = max(map(len, candidates), default=0)
        ids = [*self.opening, *history][: max(1, self.positions - longest)]
        places, owners, start = list(range(len(ids))), [0] * len(ids), len(ids)
        for number, tokens in enumerate(candidates, start=1):
            ids += tokens
            places += range(start, start + len(tokens))
            owners += [number] * len(tokens)
        return ids, places, owners

    def flops(self, requests: Sequence[Request], *, training: bool = False) -> float:
        """Return 2 a parameter and token, and 4 length² × dim a layer for attention, padding not counted.

        Going back through a trained layer takes twice that again; with frozen weights below adapters it takes no less
        here, since what they save is small beside what it takes to state it.
        """
        lengths = [len(self.opening) + len(h) + sum(map(len, c)) for h, c in requests]
        forward = 2.0 * self.body * sum(lengths) + 4.0 * self.n_layers * self.dim * sum(n * n for n in lengths)
        return float(forward * (1.0 + (BACKWARD - 1.0) * self._above / self.n_layers * training))


def read_scores(network: PackedTransformer, requests: Sequence[Request], batch: int) -> list[FloatArray]:
    """Return float64 scores of each request's candidates, without learning from them."""
    torch = require_torch()
    found: list[FloatArray] = []
    with torch.inference_mode():
        for start in range(0, len(requests), batch):
            block = requests[start : start + batch]
            scores = network.scores(block).numpy().astype(np.float64)
            found += [row[: len(candidates)] for row, (_, candidates) in zip(scores, block, strict=True)]
    return found


__all__ = ["SCALE", "Method", "PackedTransformer", "Request", "read_scores"]
