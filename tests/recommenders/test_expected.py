"""Cost formulas against counted runs: FLOPs exact where they are linear algebra, peak memory within 15%."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from frugalrec.cost import Ledger
from frugalrec.data.dataset import Dataset
from frugalrec.data.interactions import Interactions
from frugalrec.data.shape import DataShape
from frugalrec.encoders.bag_of_words import BagOfWords
from frugalrec.recommenders._approximate import TARGETS
from frugalrec.recommenders.als import Als
from frugalrec.recommenders.chance import Chance
from frugalrec.recommenders.content import Content
from frugalrec.recommenders.ease import Ease
from frugalrec.recommenders.fusion import Fusion
from frugalrec.recommenders.future_ridge import FutureRidge
from frugalrec.recommenders.hybrid import Hybrid
from frugalrec.recommenders.item_knn import ItemKnn
from frugalrec.recommenders.popularity import Popularity
from frugalrec.recommenders.sequential_linear import SequentialLinear
from frugalrec.recommenders.state_knn import StateKnn
from frugalrec.recommenders.text_mapping import TextMapping
from frugalrec.recommenders.user_knn import UserKnn
from frugalrec.registry import build, missing_extra
from frugalrec.testing.data import long_tailed, toy_dataset
from frugalrec.testing.encoders import HashEncoder
from frugalrec.testing.memory import peaks_of_fit

EXACT: list[Any] = [
    Chance(),
    Popularity(),
    Popularity(half_life_days=30.0),
    ItemKnn(),
    UserKnn(),
    StateKnn(),
    Ease(),
    Ease(encoder=HashEncoder()),
    Ease(encoder=HashEncoder(), whitening=0.3),
    Content(HashEncoder()),
    Content(HashEncoder(), whitening=0.0),
    Content(HashEncoder(), storage="two-level", rescored=5),
    Content(HashEncoder(dim=20), storage="two-level", whitening=0.0),
    SequentialLinear(),
    SequentialLinear(half_lives=(1.5, 15.0)),
    SequentialLinear(half_lives=(2.0,), reversed_weight=0.3),
    SequentialLinear(half_lives=(2.0,), gap_half_life=20_000.0),
    SequentialLinear(encoder=HashEncoder(), text_prior=2.0),
    SequentialLinear(half_lives=(1.0, 4.0), encoder=HashEncoder(), text_prior=2.0),
    Hybrid((Ease(), Content(HashEncoder()))),
    *([] if missing_extra("recommender", "als") else [Als(factors=8), Als(factors=8, alpha=3.0)]),
]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Return a dense log: users of different activity who come back to items, irregular times."""
    rng = np.random.default_rng(1)
    base = toy_dataset(n_users=60, n_items=24, cold=2)
    log = base.interactions
    user = np.sort(rng.integers(0, 60, 1500)).astype(np.int32)
    item = rng.integers(0, 22, 1500).astype(np.int32)
    times = np.sort(rng.integers(0, 1_000_000, 1500)).astype(np.float64)
    return base.with_interactions(Interactions.from_events(user, item, log.users, log.items, timestamp=times))


def charged(work: Any, *given: Any) -> float:
    ledger = Ledger()
    with ledger.span("work"):
        work(*given)
    flops = ledger.entries[0].cost.flops
    assert flops is not None
    return flops


@pytest.mark.parametrize("recommender", EXACT, ids=repr)
def test_flops_of_a_fit_are_exact(recommender: Any, dataset: Dataset) -> None:
    expected = recommender.expected(DataShape.of(dataset)).fit
    assert charged(recommender.fit, dataset) == pytest.approx(expected.flops, rel=1e-9)


@pytest.mark.parametrize(
    "recommender",
    [r for r in EXACT if not isinstance(r, ItemKnn | UserKnn | StateKnn) and not getattr(r, "gap_half_life", 0)],
    ids=repr,
)
def test_flops_of_queries_are_exact_in_the_mean(recommender: Any) -> None:
    """In a log where nobody meets an item twice; a repeated item is looked up once and takes less."""
    dataset = toy_dataset(n_users=60, n_items=24, cold=2, length=18)
    queries = [dataset.query(user) for user in range(dataset.n_users) if len(dataset.query(user).history)]
    recommender.fit(dataset)
    expected = recommender.expected(DataShape.of(dataset)).score
    alone = sum(charged(recommender.score, [query]) for query in queries)
    assert alone == pytest.approx(len(queries) * expected.flops, rel=1e-6)


def test_predicted_scores_are_counted_and_so_is_a_fit_without_new_items(dataset: Dataset) -> None:
    model = TextMapping(Ease(), HashEncoder(), warm_loss=0.1)
    warm = toy_dataset(n_users=60, n_items=24, length=18)
    expected = model.expected(DataShape.of(warm))
    assert charged(model.fit, warm) == pytest.approx(expected.fit.flops, rel=1e-9)
    data = toy_dataset(n_users=60, n_items=24, cold=2, length=18)
    model.fit(data)
    assert model.trade_.size
    queries = [data.query(user) for user in range(data.n_users)]
    alone = sum(charged(model.score, [query]) for query in queries)
    assert alone == pytest.approx(60 * model.expected(DataShape.of(data)).score.flops, rel=1e-6)


def test_cuts_are_counted() -> None:
    """Exact where nobody meets an item twice and the sums are dense."""
    data = toy_dataset(n_users=60, n_items=24, length=18)
    model = FutureRidge()
    expected = model.expected(DataShape.of(data))
    assert charged(model.fit, data) == pytest.approx(expected.fit.flops, rel=1e-9)
    queries = [data.query(user) for user in range(data.n_users)]
    assert sum(charged(model.score, [q]) for q in queries) == pytest.approx(60 * expected.score.flops, rel=1e-6)


def test_learned_weights_are_within_what_is_admitted(dataset: Dataset) -> None:
    within_what_is_admitted(Fusion((Ease(), Content(HashEncoder()), Popularity())), dataset)


def test_a_rehearsed_launch_is_within_what_is_admitted() -> None:
    within_what_is_admitted(
        TextMapping(Ease(), HashEncoder()), toy_dataset(n_users=400, n_items=300, cold=30, length=30)
    )


def within_what_is_admitted(model: Any, dataset: Dataset) -> None:
    expected = model.expected(DataShape.of(dataset)).fit
    taken = charged(model.fit, dataset)
    assert expected.flops is not None
    assert expected.flops / expected.spread <= taken <= expected.flops * expected.spread


@pytest.mark.parametrize("name", ["sasrec", "gru4rec"])
@pytest.mark.parametrize("settings", [{}, {"loss": "sampled-softmax", "n_negatives": 7}, {"layers": 3}], ids=str)
def test_products_of_a_network_are_counted(name: str, settings: dict[str, Any]) -> None:
    """Exact where histories are equally long and fit into one window, and training does not stop early."""
    if missing_extra("recommender", name):
        pytest.skip("torch is not installed")
    data = toy_dataset(n_users=70, n_items=24, length=12)
    model = build("recommender", name, {"dimension": 8, "epochs": 3, "patience": 0, "length": 20, **settings})
    expected = model.expected(DataShape.of(data))
    assert expected.fit.spread == 1.0
    assert charged(model.fit, data) == pytest.approx(expected.fit.flops, rel=1e-9)
    queries = [data.query(user) for user in range(data.n_users)]
    assert charged(model.score, queries) == pytest.approx(70 * expected.in_batch.flops, rel=1e-9)
    assert charged(model.score, queries[:1]) == pytest.approx(expected.score.flops, rel=1e-9)


@pytest.mark.parametrize("settings", [{"patience": 0}, {"patience": 2}, {"patience": 2, "refit": "restart"}], ids=str)
def test_training_is_within_what_is_admitted(settings: dict[str, Any], dataset: Dataset) -> None:
    if missing_extra("recommender", "sasrec"):
        pytest.skip("torch is not installed")
    model = build("recommender", "sasrec", {"dimension": 8, "epochs": 8, "length": 10, **settings})
    expected = model.expected(DataShape.of(dataset)).fit
    taken = charged(model.fit, dataset)
    assert expected.flops / expected.spread <= taken <= expected.flops * expected.spread


@pytest.mark.parametrize(
    "settings",
    [
        {"patience": 0},
        {"patience": 0, "ranking_task": 0.0},
        {"patience": 0, "encoder": HashEncoder()},
        {"patience": 0, "reader": "mean"},
        {"patience": 2},
    ],
    ids=str,
)
def test_two_towers_are_within_what_is_admitted(settings: dict[str, Any], dataset: Dataset) -> None:
    if missing_extra("recommender", "two-tower"):
        pytest.skip("torch is not installed")
    model = build("recommender", "two-tower", {"dimension": 8, "epochs": 6, "length": 10, "retrieved": 5, **settings})
    within_what_is_admitted(model, dataset)
    data = toy_dataset(n_users=60, n_items=24, length=8)
    model.fit(data)
    alone = sum(charged(model.score, [data.query(user)]) for user in range(60))
    assert alone == pytest.approx(60 * model.expected(DataShape.of(data)).score.flops, rel=1e-9)


def test_sparse_sums_are_about_right() -> None:
    """Few events on many items: how many cells they fill is estimated, and so a part of the FLOPs."""
    data = toy_dataset(n_users=80, n_items=400, length=12)
    model = SequentialLinear()
    expected = model.expected(DataShape.of(data)).fit
    assert charged(model.fit, data) == pytest.approx(expected.flops, rel=0.02)


@pytest.mark.parametrize(
    "model",
    [
        Ease(solver="sparse"),
        Ease(solver="sparse", encoder=HashEncoder()),
        SequentialLinear(solver="sparse"),
        SequentialLinear(solver="sparse", encoder=HashEncoder(), text_prior=2.0),
    ],
    ids=lambda model: type(model).__name__ + ("-text" if model.encoder else ""),
)
def test_solving_block_by_block_is_counted(model: Any) -> None:
    """Two blocks whose sources are all items; each has been chosen with nearly all others."""
    data = toy_dataset(n_users=1000, n_items=2 * TARGETS, length=30)
    expected = model.expected(DataShape.of(data)).fit
    assert charged(model.fit, data) == pytest.approx(expected.flops, rel=0.02)


def test_what_needs_times_is_unknown_without_them() -> None:
    data = toy_dataset(timestamps=False)
    assert SequentialLinear(gap_half_life=60.0).expected(DataShape.of(data)).fit.flops is None


def test_an_encoder_without_a_dimension_makes_the_cost_unknown(dataset: Dataset) -> None:
    class Mute:
        def encode(self, texts: Any, *, role: str = "item") -> Any:
            return np.zeros((len(texts), 3), dtype=np.float32)

        def fingerprint(self) -> str:
            return "mute"

    assert Ease(encoder=Mute()).expected(DataShape.of(dataset)).fit.work is None


def test_words_are_counted(dataset: Dataset) -> None:
    encoder = BagOfWords()
    distinct = list(dict.fromkeys(dataset.catalog.texts()))
    assert charged(encoder.encode, distinct) == encoder.expected(DataShape.of(dataset)).flops


SMALL, SPARSE = (2000, 2400, 100), (20000, 20000, 10)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (Ease, SMALL),
        (SequentialLinear, SMALL),
        (partial(ItemKnn, shrinkage=10.0), SMALL),
        (StateKnn, SMALL),
        *(
            pytest.param(model, shape, marks=pytest.mark.slow)
            for model, shape in (
                (partial(Ease, precision="float64"), SMALL),
                (partial(SequentialLinear, half_lives=(1.5, 15.0)), SMALL),
                (ItemKnn, SMALL),
                (partial(ItemKnn, neighbours=1000), SMALL),
                (ItemKnn, (60000, 30000, 20)),
                (StateKnn, (5000, 500, 60)),
                (Ease, SPARSE),
                (SequentialLinear, SPARSE),
                (partial(SequentialLinear, encoder=BagOfWords()), SPARSE),
                (partial(SequentialLinear, encoder=BagOfWords()), (10000, 8000, 10)),
                (partial(Content, encoder=BagOfWords()), (10000, 12000, 10)),
                (Popularity, (100000, 30000, 20)),
            )
        ),
    ],
)
def test_peak_memory_is_within_15_percent(model: Callable[[], Any], shape: tuple[int, int, int]) -> None:
    expected, measured = peaks_of_fit(model, partial(long_tailed, *shape))
    if measured is None:
        pytest.skip("the system does not tell peak memory")
    assert expected == pytest.approx(measured, rel=0.15)
