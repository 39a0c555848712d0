import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'torch'")

from frugalrec.cost import Ledger  # noqa: E402
from frugalrec.data.dataset import Query  # noqa: E402
from frugalrec.errors import ConfigError, DataError  # noqa: E402
from frugalrec.recommenders._text import item_vectors  # noqa: E402
from frugalrec.recommenders.two_tower import TwoTower  # noqa: E402
from frugalrec.testing.data import toy_dataset, toy_ratings  # noqa: E402
from frugalrec.testing.encoders import HashEncoder  # noqa: E402
from frugalrec.torch_training import fresh_parameters  # noqa: E402

FEW = {"dimension": 16, "epochs": 40, "dropout": 0.0, "learning_rate": 0.01, "batch_size": 32, "patience": 0}


@pytest.fixture(scope="module")
def data():
    return toy_dataset(n_users=60, n_items=20, cold=2)


@pytest.fixture(scope="module")
def fitted(data):
    return TwoTower(**FEW, encoder=HashEncoder()).fit(data)


def query(*history):
    return Query(np.array(history, dtype=np.int32))


@pytest.mark.parametrize("ranking_weight", [0.0, 1.0])
def test_the_ring_is_learned(ranking_weight, fitted):
    fitted.ranking_weight = ranking_weight
    best = [int(r.items[0]) for r in fitted.recommend([query(i) for i in range(17)], 1)]
    assert sum(item == i + 1 for i, item in enumerate(best)) >= 13  # chance finds 1


def test_a_mean_knows_no_order(data):
    fitted = TwoTower(**{**FEW, "epochs": 2}, reader="mean").fit(data)
    one, other = fitted.score([query(3, 8, 5), query(5, 3, 8)])
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("reader", ["gru", "mean"])
@pytest.mark.parametrize("encoder", [None, HashEncoder()], ids=["ids", "text"])
def test_flops_are_those_that_torch_counts(reader, encoder, data):
    from torch.utils.flop_counter import FlopCounterMode

    ledger = Ledger()
    model = TwoTower(dimension=8, epochs=2, length=7, batch_size=16, reader=reader, encoder=encoder)
    with ledger.span("text"):
        if encoder is not None:
            item_vectors(data.catalog, encoder, model.whitening)  # not torch's work
    with ledger.span("fit"), FlopCounterMode(display=False) as fit:
        model.fit(data)
    with ledger.span("score"), FlopCounterMode(display=False) as score:
        model.score([data.query(user) for user in range(3)])
    text, *both = (entry.cost.flops for entry in ledger.entries)
    assert both == [fit.get_total_flops() + (text or 0.0), score.get_total_flops()]


def test_ratings_cost_what_torch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    ledger = Ledger()
    with ledger.span("fit"), FlopCounterMode(display=False) as counter:
        TwoTower(dimension=8, epochs=1, batch_size=16, ranking="ratings").fit(toy_ratings())
    assert ledger.entries[0].cost.flops == counter.get_total_flops()


def test_the_loss_is_a_corrected_softmax_over_the_batch(data):
    """Held against the definition: every event of the batch is a column, less its own and other draws of its item."""
    model = TwoTower(dimension=4, ranking_task=0.0, dropout=0.0, length=5)
    log = data.interactions
    model.n_items_, model.seen_ = data.n_items, log.popularity > 0
    model.starting_values(data)
    values = fresh_parameters(model.shapes(data.n_items), np.random.default_rng(1))
    values["item_embedding"] *= 50  # so that scores differ
    parameters = {name: torch.tensor(value) for name, value in values.items()}
    begin, loss_of = model.examples(log, parameters)
    assert begin(0) > 9
    rows, batch = np.arange(3), np.arange(9)
    loss, n = loss_of(rows, batch, np.random.default_rng(0))

    from frugalrec.recommenders._windows import Windows

    windows = Windows(log, 5)
    windows.cut(np.random.default_rng([0, 0, 2]))
    tokens, targets = windows.batch(rows)
    columns = windows.batch(batch)[1]
    columns = columns[columns >= 0]
    embeddings = parameters["item_embedding"]
    users = model._users(parameters, embeddings[torch.from_numpy(tokens)], training=False).numpy()[targets >= 0]
    share = log.popularity / len(log)
    total = 0.0
    for user, item in zip(users, targets[targets >= 0], strict=True):
        logits = columns_of = embeddings.numpy()[columns] @ user - np.log(share[columns])
        own = embeddings.numpy()[item] @ user - np.log(share[item])
        logits = np.append(columns_of[columns != item], own)
        total += np.log(np.exp(logits - logits.max()).sum()) + logits.max() - own
    assert n == (targets >= 0).sum()
    assert float(loss) == pytest.approx(total, rel=1e-4)


def test_ranking_orders_what_was_retrieved_and_nothing_else(data):
    model = TwoTower(**{**FEW, "epochs": 5}, retrieved=6).fit(data)
    queries = [data.query(user) for user in range(20)]
    ordered = model.recommend(queries, data.n_items)
    model.ranking_weight = 0.0
    plain = model.recommend(queries, data.n_items)
    moved = 0
    for one, other in zip(ordered, plain, strict=True):
        assert set(one.items[:6].tolist()) == set(other.items[:6].tolist())
        assert one.items[6:].tolist() == other.items[6:].tolist()
        moved += one.items.tolist() != other.items.tolist()
    assert moved > 0


def test_cold_items_come_by_their_text(fitted):
    # Items 18 and 19 have no events; their texts name the valley of items 15 to 17.
    near, far = fitted.score([query(14, 15, 16), query(2, 3, 4)])[:, 18:]
    assert (near > far).all()
    assert fitted.scores_cold_items


def test_without_text_cold_items_get_the_floor(data):
    model = TwoTower(**{**FEW, "epochs": 1}).fit(data)
    scores = model.score([data.query(0)])[0]
    assert (scores[18:] == scores.min()).all()
    assert not model.scores_cold_items


def test_the_head_learns_ratings():
    data = toy_ratings(n_users=60, share=0.7)
    log = data.interactions
    model = TwoTower(**{**FEW, "batch_size": 8, "epochs": 30}, ranking="ratings", ranking_task=2.0, retrieved=20).fit(
        data
    )
    queries = [Query(log.item[log.events_of(user)], repeats=True) for user in range(50)]
    both = model.score(queries)
    model.ranking_weight = 0.0
    said = (both - model.score(queries)).mean(axis=0)[:19]
    # Histories here do not show tastes, so what there is to learn is how well each item is liked.
    liked = np.bincount(log.item, weights=log.value, minlength=20)[:19] / log.popularity[:19]
    assert np.corrcoef(said, liked)[0, 1] > 0.7


def test_ratings_that_are_missing_are_named(data):
    with pytest.raises(DataError, match="ratings"):
        TwoTower(ranking="ratings", epochs=1).fit(data)


@pytest.mark.parametrize("wrong", [{"id_dropout": 1.0}, {"ranked": 0}, {"retrieved": 0}, {"ranking_task": -1.0}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ConfigError):
        TwoTower(**wrong)
