"""A transformer that reads history and candidates together, fine-tuned on one's own events."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from frugalrec import assets, progress
from frugalrec.cost import Cost, Ledger, charge, charge_reused
from frugalrec.data.dataset import Dataset, Query, Ranking
from frugalrec.data.interactions import FloatArray, IntArray
from frugalrec.data.shape import DataShape
from frugalrec.errors import ConfigError, NotFittedError
from frugalrec.interfaces import Recommender
from frugalrec.rerankers._expected import FOUND, UNKNOWN_FOUND, expected_practice
from frugalrec.rerankers._order import reordered, standard
from frugalrec.rerankers._packed import Method, PackedTransformer, Request, read_scores
from frugalrec.rerankers._pairs import Pairs
from frugalrec.rerankers._practice import Practice, Rows, conditional_logit, practise
from frugalrec.spending import Rate, computing
from frugalrec.torch_training import (
    Course,
    Flat,
    Tensor,
    Training,
    flattened,
    identity_of,
    one_machine,
    require_torch,
    train,
    unflattened,
)
from frugalrec.work import Expected, Stages, Work

EXTRA = ("torch", "transformers")

VALIDATED = 0.2
"""Share of the users who practise that nothing is trained on: they decide when to stop and how much to believe."""

DOUBT = 1.0
"""Ridge on the two weights of the blend, in lists: without evidence both are 0."""

NOT_A_MATTER_OF_RESULT = ("epochs", "patience", "cpu_seconds", "checkpoint", "retriever", "batch_size", "pairs")


@dataclass
class CrossEncoder:
    """Reads the texts of the last items and of each candidate together, and learned on your data which one is next.

    Choose it to see the most that a small language model can add to a retrieved list, and as the teacher of
    `Distilled`. `fit` holds out the ``tail`` last events of users, asks ``retriever`` (the recommender whose lists it
    will be given; in a plan ``{ plan = "its name" }``) for ``depth`` candidates before each, and trains on the lists
    that hold the answer: the other candidates are the negatives, as hard as those to come. The loss is the softmax over
    the list (Cao et al. 2007, ListNet, one answer), beside the retrieval score, so that the model learns what that
    does not know. A fifth of the users trains nothing: they decide which epoch is kept, and what weight retrieval and
    model get (``weights_``, by likelihood). A model that adds nothing to their lists gets weight 0 and is not run.

    ``model`` names an asset, ``path`` is a folder of your own (``config.json``, ``model.safetensors``,
    ``tokenizer.json``), BERT-like. ``method`` trains the ``layers`` last layers whole (``full``; 0: all of them), or
    adapters of ``rank`` in them (``lora``, Hu et al. 2021): less to keep and less to overfit, hardly less to compute.
    ``epochs`` 0 asks the model as it came. The history is read once for all candidates, newest item first.

    What is said of a candidate depends on the last ``history_length`` items alone, whoever asks. The newest ``pairs``
    of such histories and candidates are kept in memory and not read again until the next `fit`: the same numbers up to
    rounding (of texts that fit the model's context), charged as reused, their tokens as ``tokens_cached``. It pays with
    ``history_length`` 1, where pairs come back; how often depends on the traffic, so `expected`, and the trial of a
    plan, count every pair as read.

    Training stops after ``epochs``, after ``patience`` without a better one, or with the epoch in which ``cpu_seconds``
    are spent; ``checkpoint`` names a folder from which a killed run goes on. The same seed gives the same weights.
    Time: O(parameters × tokens) a request, three times that to train on one. Memory: the weights, and O(length²) a
    request. FLOPs and tokens are charged as computed. When the model fails, the old order stands, marked ``degraded``.

    >>> from frugalrec.recommenders.item_knn import ItemKnn
    >>> from frugalrec.testing.data import toy_dataset
    >>> data = toy_dataset()
    >>> reranker = CrossEncoder(ItemKnn(), epochs=2).fit(data)  # doctest: +SKIP
    >>> bool(reranker.weights_[1] > 0)  # doctest: +SKIP
    True
    """

    is_language_model: ClassVar[bool] = True

    retriever: Recommender
    depth: int = 20
    model: str = "all-minilm-l6-v2"
    path: str = ""
    history_length: int = 5
    words: int = 10
    method: Method = "full"
    layers: int = 0
    rank: int = 8
    requests: int = 2000
    tail: int = 5
    epochs: int = 3
    patience: int = 1
    batch_size: int = 8
    learning_rate: float = 5e-5
    cpu_seconds: float = 0.0
    seed: int = 0
    checkpoint: str = ""
    pairs: int = 0
    tokens_: IntArray = field(init=False, repr=False, compare=False)
    offsets_: Rows = field(init=False, repr=False, compare=False)
    parameters_: Flat = field(init=False, repr=False, compare=False)
    weights_: FloatArray = field(init=False, repr=False, compare=False)
    losses_: tuple[float, ...] = field(init=False, repr=False, compare=False)
    qualities_: tuple[float, ...] = field(init=False, repr=False, compare=False)
    _network: PackedTransformer | None = field(default=None, init=False, repr=False, compare=False)
    _rate: Rate = field(default_factory=Rate, init=False, repr=False, compare=False)
    _known: Pairs = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._known = Pairs(self.pairs)
        for name, least in (
            *((name, 1) for name in ("depth", "history_length", "words", "rank", "requests", "tail")),
            *((name, 0) for name in ("layers", "epochs", "pairs")),
        ):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if self.method not in ("full", "lora"):
            raise ConfigError(f"method must be 'full' or 'lora', not '{self.method}'")
        self._training()

    def fit(self, dataset: Dataset) -> Self:
        """Practise on held-out events; raises `MissingExtraError` without the extra, `AssetError` without the model."""
        self._known = Pairs(self.pairs)
        self._network = network = PackedTransformer(self._folder())
        read = [network.tokens(text, self.words) for text in _texts(dataset)]
        self.tokens_ = np.fromiter((i for ids in read for i in ids), dtype=np.int32)
        self.offsets_ = np.concatenate([[0], np.cumsum([len(ids) for ids in read])]).astype(np.int64)
        charge(flops=0.0)
        lists = practise(
            dataset, self.retriever, self.depth, requests=self.requests, tail=self.tail, seed=self.seed
        )  # fmt: skip
        learnt, held = lists.take(np.flatnonzero(lists.places >= 0)).parted(VALIDATED, self.seed)
        parameters = network.trained(self.method, self.layers, self.rank, self.seed)
        self.weights_, self.losses_, self.qualities_ = np.array([1.0, 0.0]), (), ()
        with one_machine():
            if len(learnt) and len(held) and self.epochs:
                course = self._train(network, parameters, learnt, held, dataset)
                self.losses_, self.qualities_ = tuple(course.losses), tuple(course.qualities)
            self.parameters_ = flattened(parameters)
            if len(held):
                self.weights_ = self._blend(network, held)
        return self

    def expected(self, shape: DataShape) -> Stages:
        """Return what `fit` and a request take, at four characters a token; a fit has the retriever's in it.

        FLOPs are unknown before the model is loaded, and so is memory.
        """
        practised = expected_practice(shape, self.retriever, self.depth, requests=self.requests, tail=self.tail)
        texts = shape.texts or ("",)
        title = 1.0 + min(1.5 * self.words, sum(map(len, texts)) / len(texts) / 4.0)

        def reading(history: float, candidates: float) -> Expected:
            length = 1.0 + title * (min(float(self.history_length), history) + candidates)
            return Expected((Work("encode", length, length),), None, length, 0.0, None, None, 2.0)

        # Going back through the model takes twice as long as through it, and reads nothing. Users held out are read
        # after each epoch, and once more to weigh what was learnt.
        lists, one = FOUND * practised.lists, reading(practised.history, practised.length)
        held = lists * VALIDATED * (self.epochs + 1.0)
        trained = lists * (1.0 - VALIDATED) * self.epochs
        read = one.times(held + 3.0 * trained)
        read = replace(read, tokens_in=one.times(held + trained).tokens_in, spread=UNKNOWN_FOUND)
        return Stages(practised.took + read, reading(shape.mean_history, self.depth))

    def rerank(self, queries: Sequence[Query], rankings: Sequence[Ranking]) -> list[Ranking]:
        """Return each ranking with its first ``depth`` items reordered; raises `NotFittedError` before ``fit``."""
        if not hasattr(self, "weights_"):
            raise NotFittedError("the reranker 'cross-encoder' was used before fit", hint="call fit(dataset) first")
        found = list(rankings)
        asked = [
            i
            for i, (query, ranking) in enumerate(zip(queries, rankings, strict=True))
            if self.weights_[1] > 0 and len(query.history) and min(len(ranking), self.depth) > 1
        ]
        for start in range(0, len(asked), self.batch_size):
            rows = asked[start : start + self.batch_size]
            requests = [self._request(queries[i], rankings[i]) for i in rows]
            try:
                values = self._told([(queries[i], rankings[i]) for i in rows], requests)
            except Exception:
                # Whatever a model raises, a request that has candidates gets them.
                logging.getLogger(__name__).warning("the cross-encoder failed; the old order stands", exc_info=True)
                for i in rows:
                    found[i] = replace(rankings[i], degraded=True)
                continue
            for i, said in zip(rows, values, strict=True):
                before = standard(rankings[i].scores[: self.depth])
                found[i] = reordered(rankings[i], self.weights_[0] * before + self.weights_[1] * said)
        return found

    @property
    def weights_bytes(self) -> int:
        """Size of the weights, which whoever runs the model must hold in memory."""
        return (self._folder() / "model.safetensors").stat().st_size

    def _told(self, asked: Sequence[tuple[Query, Ranking]], requests: Sequence[Request]) -> list[FloatArray]:
        """Return what the model says of each candidate, read now or kept from earlier."""
        if not self.pairs:
            return self._read(requests)
        histories = [tuple(query.history[-self.history_length :].tolist()) for query, _ in asked]
        items = [ranking.items[: self.depth].tolist() for _, ranking in asked]
        found = [self._known.get(*each) for each in zip(histories, items, strict=True)]
        missing = [[i for i, value in enumerate(values) if value is None] for values in found]
        rows = [row for row, gaps in enumerate(missing) if gaps]
        new: list[FloatArray] = []
        if rows:
            # The span is a child of the ambient one, which therefore gets every charge as well.
            with Ledger().span("read") as span:
                new = self._read([(requests[r][0], [requests[r][1][i] for i in missing[r]]) for r in rows])
            assert span.entry is not None
            price = span.entry.cost / sum(map(len, new))
            for row, said in zip(rows, new, strict=True):
                self._known.put(histories[row], [items[row][i] for i in missing[row]], said, price)
        spared, told = Cost.zero(), []
        for row, (values, gaps) in enumerate(zip(found, missing, strict=True)):
            for value in filter(None, values):
                spared += value[1]
            fresh = iter(new[rows.index(row)] if gaps else ())
            told.append(np.array([next(fresh) if value is None else value[0] for value in values]))
        charge_reused(spared)
        charge(flops=0.0, tokens_cached=spared.tokens_in or 0.0)
        return told

    def _read(self, requests: Sequence[Request]) -> list[FloatArray]:
        network = self._loaded()
        tokens = _tokens(requests)
        with computing("the cross-encoder", tokens, self._rate), one_machine():
            found = read_scores(network, requests, self.batch_size)
        charge(tokens_in=tokens, flops=network.flops(requests))
        return found

    def _request(self, query: Query, ranking: Ranking) -> Request:
        recent = query.history[-self.history_length :][::-1]
        history = [i for code in recent.tolist() for i in self._title(code)]
        return history, [self._title(code) for code in ranking.items[: self.depth].tolist()]

    def _title(self, code: int) -> list[int]:
        found: list[int] = self.tokens_[self.offsets_[code] : self.offsets_[code + 1]].tolist()
        return found

    def _train(
        self, network: PackedTransformer, parameters: dict[str, Tensor], learnt: Practice, held: Practice, data: Dataset
    ) -> Course:
        torch = require_torch()
        shown, offsets = self._lists(learnt)
        steps = -(-len(shown) // self.batch_size)

        def loss_of(mine: Rows, everyones: Rows, rng: np.random.Generator) -> tuple[Tensor, int]:
            batch = [shown[i] for i in mine]
            loss = _loss(network, batch, [offsets[i] for i in mine], learnt.places[mine])
            charge(tokens_in=_tokens(batch), flops=network.flops(batch, training=True))
            progress.report("fine-tune (lists)", min(loss_of.seen, steps), steps)  # type: ignore[attr-defined]
            loss_of.seen += 1  # type: ignore[attr-defined]
            return loss, len(mine)

        loss_of.seen = 0  # type: ignore[attr-defined]
        settings = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}
        kept = {k: v for k, v in settings.items() if k not in NOT_A_MATTER_OF_RESULT}
        identity = identity_of("cross-encoder", kept, repr(self.retriever), data.fingerprint())
        with torch.enable_grad():
            return train(
                parameters,
                lambda epoch: len(shown),
                loss_of,
                self._training(),
                validate=self._validation(network, held),
                identity=identity,
            )

    def _validation(self, network: PackedTransformer, held: Practice) -> Callable[[], float]:
        shown, offsets = self._lists(held)

        def likelihood() -> float:
            read = read_scores(network, shown, self.batch_size)
            charge(tokens_in=_tokens(shown), flops=network.flops(shown))
            logits = [said + offset for said, offset in zip(read, offsets, strict=True)]
            chances = [row[place] - np.logaddexp.reduce(row) for row, place in zip(logits, held.places, strict=True)]
            return float(np.mean(chances))

        return likelihood

    def _lists(self, lists: Practice) -> tuple[list[Request], list[FloatArray]]:
        """Return what is read of each list, and what retrieval alone says of it, in log-odds."""
        shown = [self._request(*each) for each in zip(lists.queries, lists.rankings, strict=True)]
        before = [standard(ranking.scores) for ranking in lists.rankings]
        (weight,) = conditional_logit([z[:, None] for z in before], lists.places, ridge=DOUBT)
        return shown, [weight * z for z in before]

    def _blend(self, network: PackedTransformer, held: Practice) -> FloatArray:
        """Return what retrieval and model weigh; (1, 0) where the model does not help the users held out."""
        shown, _ = self._lists(held)
        read = read_scores(network, shown, self.batch_size)
        charge(tokens_in=_tokens(shown), flops=network.flops(shown))
        pairs = [np.stack([standard(r.scores), s], axis=1) for r, s in zip(held.rankings, read, strict=True)]
        weights = conditional_logit(pairs, held.places, ridge=DOUBT)
        return np.array([max(weights[0], 0.0), weights[1]]) if weights[1] > 0 else np.array([1.0, 0.0])

    def _loaded(self) -> PackedTransformer:
        if self._network is None:
            torch = require_torch()
            network = PackedTransformer(self._folder())
            parameters = network.trained(self.method, self.layers, self.rank, self.seed)
            kept = unflattened(self.parameters_, {name: tuple(p.shape) for name, p in parameters.items()})
            with torch.no_grad():
                for name, parameter in parameters.items():
                    parameter.copy_(kept[name])
            self._network = network
        return self._network

    def _folder(self) -> Path:
        return Path(self.path).expanduser() if self.path else assets.fetch(self.model).files["config.json"].parent

    def _training(self) -> Training:
        names = ("batch_size", "learning_rate", "cpu_seconds", "patience", "seed", "checkpoint")
        return Training(
            epochs=max(1, self.epochs), stage="fine-tune", **{name: getattr(self, name) for name in names}
        )  # fmt: skip


def _texts(dataset: Dataset) -> list[str]:
    """Return what is read of each item: its text, or its title or id where it has none."""
    return [text if text.strip() else dataset.catalog.title(i) for i, text in enumerate(dataset.catalog.texts())]


def _tokens(requests: Sequence[Request]) -> float:
    """Return how many tokens are read of ``requests``."""
    return float(sum(len(history) + sum(map(len, candidates)) for history, candidates in requests))


def _loss(
    network: PackedTransformer, shown: Sequence[Request], offsets: Sequence[FloatArray], places: Rows
) -> Tensor:  # fmt: skip
    """Return the sum of -log softmax(model + retrieval)[answer] over lists."""
    torch = require_torch()
    scores = network.scores(shown)
    beside = np.full(scores.shape, -np.inf, dtype=np.float32)
    for row, offset in enumerate(offsets):
        beside[row, : len(offset)] = offset
    logits = torch.where(torch.from_numpy(beside) > -np.inf, scores + torch.from_numpy(beside), -torch.inf)
    return torch.nn.functional.cross_entropy(logits, torch.from_numpy(np.asarray(places)), reduction="sum")


__all__ = ["CrossEncoder"]
