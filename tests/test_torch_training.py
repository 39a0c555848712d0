import json
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'torch'")

from frugalrec import progress  # noqa: E402
from frugalrec.cost import Ledger  # noqa: E402
from frugalrec.data.catalog import Catalog  # noqa: E402
from frugalrec.data.dataset import Dataset, Query  # noqa: E402
from frugalrec.data.splits.leave_last_out import LeaveLastOut  # noqa: E402
from frugalrec.errors import ConfigError, DataError  # noqa: E402
from frugalrec.pipeline import build  # noqa: E402
from frugalrec.plan import Plan  # noqa: E402
from frugalrec.recommenders._neural import ndcg_at_10  # noqa: E402
from frugalrec.recommenders._windows import Windows  # noqa: E402
from frugalrec.recommenders.gru4rec import Gru4rec  # noqa: E402
from frugalrec.recommenders.sasrec import Sasrec  # noqa: E402
from frugalrec.recommenders.two_tower import TwoTower  # noqa: E402
from frugalrec.testing.data import toy_dataset  # noqa: E402
from frugalrec.testing.encoders import HashEncoder  # noqa: E402
from frugalrec.torch_training import EMBEDDING_DEVIATION, Training  # noqa: E402
from frugalrec.tuning import Search, tune  # noqa: E402

MODELS = pytest.mark.parametrize("model", [Sasrec, Gru4rec])


@pytest.fixture(scope="module")
def data():
    return toy_dataset(n_users=60, n_items=20, cold=2)


def successors(model):
    """How many of the items of the ring come first after the item before them."""
    queries = [Query(np.array([i], dtype=np.int32)) for i in range(17)]
    return sum(int(r.items[0]) == i + 1 for i, r in enumerate(model.recommend(queries, 1)))


@MODELS
@pytest.mark.parametrize("loss", ["cross-entropy", "sampled-softmax"])
def test_the_ring_is_learned(model, loss, data):
    few = {"dimension": 16, "epochs": 60, "dropout": 0.0, "learning_rate": 0.01, "batch_size": 32, "patience": 0}
    fitted = model(**few, loss=loss, n_negatives=12).fit(data)
    # Chance finds 1 of 17; a quarter of the steps are jumps, and few sampled negatives take longer to learn from.
    assert successors(fitted) >= 12
    assert fitted.losses_[-1] < 0.6 * fitted.losses_[0]


@MODELS
@pytest.mark.parametrize("loss", ["cross-entropy", "sampled-softmax"])
@pytest.mark.parametrize("layers", [1, 2])
def test_flops_are_those_that_torch_counts(model, loss, layers, data):
    from torch.utils.flop_counter import FlopCounterMode

    ledger = Ledger()
    recommender = model(dimension=8, layers=layers, epochs=2, length=7, loss=loss, n_negatives=9, batch_size=16)
    with ledger.span("fit"), FlopCounterMode(display=False) as counter:
        recommender.fit(data)
    assert ledger.entries[0].cost.flops == counter.get_total_flops()


@pytest.mark.parametrize("model", [Sasrec, Gru4rec, TwoTower])
def test_a_killed_run_goes_on_to_the_same_result(model, data, tmp_path):
    class KilledError(Exception):
        pass

    def kill(stage, done, total):
        if done == 3:
            raise KilledError

    few = {"dimension": 8, "epochs": 6, "batch_size": 16, "patience": 4}
    whole = model(**few).fit(data)
    with pytest.raises(KilledError), progress.listening(kill):
        model(**few, checkpoint=str(tmp_path)).fit(data)
    done = []
    with progress.listening(lambda stage, epoch, total: done.append(epoch)):
        resumed = model(**few, checkpoint=str(tmp_path)).fit(data)
    assert done[0] == 4
    assert resumed.losses_ == whole.losses_
    assert resumed.qualities_ == whole.qualities_
    np.testing.assert_array_equal(resumed.parameters_, whole.parameters_)


def test_a_process_that_was_killed_goes_on_to_the_same_result(data, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    program = textwrap.dedent(
        """
        import json, sys
        from frugalrec.recommenders.sasrec import Sasrec
        from frugalrec.testing.data import toy_dataset
        Sasrec(**json.loads(sys.argv[1])).fit(toy_dataset(n_users=60, n_items=20, cold=2))
        """
    )
    few = {"dimension": 8, "epochs": 40, "batch_size": 4, "patience": 0, "refit": "none"}
    held = few | {"checkpoint": str(tmp_path / "checkpoint"), "log_dir": str(tmp_path / "log")}
    killed = subprocess.Popen([sys.executable, "-c", program, json.dumps(held)])
    while killed.poll() is None and not list(tmp_path.glob("checkpoint/*/state.json")):
        time.sleep(0.001)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    time.sleep(1.1)  # TensorBoard reads files in the order of their names, which hold whole seconds
    done = []
    with progress.listening(lambda stage, epoch, total: done.append(epoch)):
        resumed = Sasrec(**held).fit(data)
    assert 2 <= done[0] <= few["epochs"]
    whole = Sasrec(**few).fit(data)
    assert (resumed.losses_, resumed.qualities_) == (whole.losses_, whole.qualities_)
    np.testing.assert_array_equal(resumed.parameters_, whole.parameters_)
    events = accumulator.EventAccumulator(held["log_dir"]).Reload().Scalars("loss")
    assert [e.step for e in events] == list(range(1, few["epochs"] + 1))
    np.testing.assert_allclose([e.value for e in events], whole.losses_, rtol=1e-6)


def test_a_checkpoint_serves_its_own_settings_alone(data, tmp_path):
    Sasrec(dimension=8, epochs=1, checkpoint=str(tmp_path), refit="none").fit(data)
    Sasrec(dimension=4, epochs=1, checkpoint=str(tmp_path), refit="none").fit(data)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_checkpoint_is_named(data, tmp_path):
    Sasrec(dimension=8, epochs=1, checkpoint=str(tmp_path), refit="none").fit(data)
    (weights,) = tmp_path.glob("*/*.safetensors")
    weights.write_bytes(b"half")
    with pytest.raises(DataError, match="damaged"):
        Sasrec(dimension=8, epochs=2, checkpoint=str(tmp_path)).fit(data)


def test_early_stopping_keeps_the_best_epoch(data):
    few = {"dimension": 8, "batch_size": 16, "learning_rate": 0.02}
    few["refit"] = "none"
    fitted = Sasrec(**few, epochs=200, patience=2).fit(data)
    assert len(fitted.losses_) < 200
    assert fitted.best_epoch_ == 1 + int(np.argmax(fitted.qualities_)) == len(fitted.losses_) - 2
    again = Sasrec(**few, epochs=fitted.best_epoch_, patience=2).fit(data)
    np.testing.assert_array_equal(again.parameters_, fitted.parameters_)


def test_validation_events_are_not_trained_on(data):
    log = data.interactions
    changed = log.item.copy()
    last = log.offsets[1:] - 1
    changed[last] = (changed[last] + 1) % 18
    other = data.with_interactions(type(log)(log.user, changed, log.users, log.items, log.value, log.timestamp))
    one, two = (Sasrec(dimension=8, epochs=1, refit="none").fit(d) for d in (data, other))
    np.testing.assert_array_equal(one.parameters_, two.parameters_)


@pytest.mark.parametrize("refit", ["continue", "restart"])
def test_a_refit_learns_the_events_held_out(refit, data):
    few = {"dimension": 8, "batch_size": 16, "learning_rate": 0.01, "epochs": 7}
    without, fitted = (Sasrec(**few, refit=how).fit(data) for how in ("none", refit))
    assert without.refit_losses_ == ()
    assert (fitted.losses_, fitted.best_epoch_) == (without.losses_, without.best_epoch_)
    kept = fitted.best_epoch_
    assert len(fitted.refit_losses_) == (-(-kept // 5) if refit == "continue" else kept)
    if refit == "restart":
        # The first step of an epoch is the same as in training from the start with nothing held out.
        start = Sasrec(**few | {"epochs": 1}, patience=0).fit(data)
        assert fitted.refit_losses_[0] == start.losses_[0]
    else:
        assert fitted.refit_losses_[0] < without.losses_[kept - 1] * 1.1
    assert not np.array_equal(fitted.parameters_, without.parameters_)


def test_the_rate_falls_to_nothing():
    training = Training(epochs=4, batch_size=1, learning_rate=2.0, cool_from=0.5)
    assert [training.rate(done) for done in (0.0, 0.5, 0.75, 1.0)] == [2.0, 2.0, 1.0, 0.0]
    assert Training(epochs=4, batch_size=1, learning_rate=2.0).rate(1.0) == 2.0


def test_a_killed_refit_goes_on_to_the_same_result(data, tmp_path):
    class KilledError(Exception):
        pass

    def kill(stage, done, total):
        if stage.startswith("refit") and done == 1:
            raise KilledError

    few = {"dimension": 8, "epochs": 6, "batch_size": 16, "refit": "restart"}
    whole = Sasrec(**few).fit(data)
    with pytest.raises(KilledError), progress.listening(kill):
        Sasrec(**few, checkpoint=str(tmp_path)).fit(data)
    done = []
    with progress.listening(lambda stage, epoch, total: done.append((stage, epoch))):
        resumed = Sasrec(**few, checkpoint=str(tmp_path)).fit(data)
    assert done[0] == ("refit Sasrec", 2)
    np.testing.assert_array_equal(resumed.parameters_, whole.parameters_)


def test_what_a_killed_run_spent_is_told(data, tmp_path):
    ledger = Ledger()
    few = {"dimension": 8, "batch_size": 16, "patience": 0}
    for epochs, checkpoint in ((2, True), (5, True), (5, False), (5, True)):
        with ledger.span("fit"):
            Sasrec(**few, epochs=epochs, checkpoint=str(tmp_path) if checkpoint else "").fit(data)
    first, second, whole, read = ledger.entries
    assert second.reused.flops == first.cost.flops > 0
    assert second.whole.flops == whole.cost.flops
    assert (read.cost.flops, read.whole.flops) == (0.0, whole.cost.flops)


def test_cpu_seconds_end_training(data):
    assert len(Sasrec(dimension=8, epochs=50, patience=0, cpu_seconds=1e-9).fit(data).losses_) == 1


def test_tensorboard_gets_the_losses(data, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    fitted = Sasrec(dimension=8, epochs=3, log_dir=str(tmp_path)).fit(data)
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    np.testing.assert_allclose([e.value for e in events.Scalars("loss")], fitted.losses_, rtol=1e-6)


def test_windows_hold_every_event_once():
    log = toy_dataset(n_users=4, n_items=12, length=7).interactions
    log = log.take(log.user != 2)
    windows = Windows(log, 3)
    cuts = set()
    for seed in range(10):
        n = windows.cut(np.random.default_rng(seed))
        tokens, targets = windows.batch(np.arange(n))
        before = np.concatenate([[12], log.item[:-1]])
        before[log.offsets[:-1][[0, 1, 3]]] = 12  # the start stands before a history's first item
        asked = targets >= 0
        order = np.argsort(windows.places(np.arange(n))[asked])
        assert targets[asked][order].tolist() == log.item.tolist()
        assert tokens[asked][order].tolist() == before.tolist()
        assert asked.sum(axis=1).max() == 3
        cuts.add(tuple(windows.firsts.tolist()))
    assert len(cuts) > 1


def test_a_history_that_fits_into_a_window_is_not_cut():
    log = toy_dataset(n_users=4, n_items=12, length=7).interactions
    assert Windows(log, 7).cut(np.random.default_rng(0)) == 4


def test_ndcg_by_hand():
    scores = np.array([[3.0, 2.0, 1.0], [5.0, 5.0, 9.0]], dtype=np.float32)
    queries = [Query(np.array([0], dtype=np.int32)), Query()]
    # First: item 0 is left out, item 1 is best. Second: item 2 is best, items 0 and 1 share rank 2.5.
    found = ndcg_at_10(lambda block: scores, queries, np.array([1, 0], dtype=np.int32))
    assert found == pytest.approx((1.0 + 1.0 / np.log2(3.5)) / 2)


def test_states_do_not_see_what_comes_later(data):
    for model in (Sasrec(dimension=8, epochs=1, heads=2), Gru4rec(dimension=8, epochs=1)):
        from frugalrec.torch_training import unflattened

        parameters = unflattened(model.fit(data).parameters_, model.shapes(20))
        one, two = torch.tensor([[20, 3, 4, 5]]), torch.tensor([[20, 3, 4, 9]])
        a, b = (model.states(parameters, tokens, training=False) for tokens in (one, two))
        torch.testing.assert_close(a[:, :3], b[:, :3])
        assert not torch.allclose(a[:, 3], b[:, 3])


@MODELS
def test_embeddings_start_from_texts(model, data):
    texts = list(data.catalog.texts())
    texts[4] = ""
    told = Dataset(data.interactions, Catalog(data.catalog.items, {"title": texts}, text=("title",)))
    one, other = model(dimension=8), model(dimension=8, encoder=HashEncoder())
    for each in (one, other):
        each.n_items_ = told.n_items
    fresh, started = (each.starting_values(told)["item_embedding"] for each in (one, other))
    # The item without text and the start keep what they had; the others are as large, and alike where texts are.
    np.testing.assert_array_equal(started[[4, 20]], fresh[[4, 20]])
    rest = np.delete(np.arange(20), 4)
    assert started[rest].std() == pytest.approx(EMBEDDING_DEVIATION, rel=1e-3)
    unit = started[:20] / np.linalg.norm(started[:20], axis=1, keepdims=True)
    alike = np.equal.outer(rest // 5, rest // 5) & ~np.eye(len(rest), dtype=bool)
    cosines = (unit @ unit.T)[np.ix_(rest, rest)]
    assert cosines[alike].mean() > cosines[~alike].mean() + 0.3
    plain, with_text = (model(dimension=8, epochs=1, encoder=e).fit(told) for e in (None, HashEncoder()))
    assert plain.losses_ != with_text.losses_


@pytest.mark.parametrize("name", ["sasrec", "gru4rec", "two-tower"])
def test_a_plan_is_saved_and_loaded(name, data, tmp_path):
    words = {"component": "bag-of-words", "dim": 16}
    settings = {"component": name, "dimension": 8, "epochs": 1, "encoder": words}
    plan = Plan.from_dict({"name": "own", "recommender": settings})
    fitted = build(plan).fit(data)
    fitted.save(tmp_path)
    queries = [data.query(user) for user in range(4)]
    np.testing.assert_array_equal(build(plan).load(tmp_path).score(queries), fitted.score(queries))


def test_a_search_gives_each_candidate_a_part_of_its_time(data):
    # Nothing but the time limit ends these trainings.
    endless = {"component": "gru4rec", "batch-size": 16, "epochs": 10**6, "patience": 0, "dropout": 0.0}
    plan = Plan.from_dict({"name": "own", "recommender": {**endless, "dimension": 8}})
    found = tune(plan, LeaveLastOut().split(data), "ndcg@10", Search(seconds=6.0), Ledger())
    assert len(found.tried) > 1
    assert "cpu-seconds" not in found.plan.recommender.settings


@pytest.mark.parametrize("wrong", [{"heads": 3}, {"epochs": 0}, {"dropout": 1.0}, {"length": 0}, {"patience": -1}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ConfigError):
        Sasrec(**wrong)


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without distributed training")
def test_two_processes_take_the_steps_of_one(data, tmp_path):
    program = textwrap.dedent(
        """
        import json, sys
        import torch.distributed as group
        from frugalrec.recommenders.gru4rec import Gru4rec
        from frugalrec.recommenders.sasrec import Sasrec
        from frugalrec.recommenders.two_tower import TwoTower
        from frugalrec.testing.data import toy_dataset
        from frugalrec.testing.encoders import HashEncoder
        rank, meeting = int(sys.argv[1]), sys.argv[2]
        group.init_process_group("gloo", init_method="file://" + meeting, rank=rank, world_size=2)
        data = toy_dataset(n_users=60, n_items=20, cold=2)
        few = {"dimension": 8, "epochs": 5, "dropout": 0.0, "batch_size": 16}
        models = [Sasrec(**few), Sasrec(**few, loss="sampled-softmax"), Gru4rec(**few)]
        models += [TwoTower(**few, encoder=HashEncoder())]
        told = [[*m.fit(data).losses_, *m.refit_losses_, m.parameters_.tolist()] for m in models]
        group.destroy_process_group()
        print(json.dumps(told))
        """
    )
    command = [sys.executable, "-c", program]
    workers = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "meeting")], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    told = [json.loads(worker.communicate(timeout=120)[0]) for worker in workers]
    few = {"dimension": 8, "epochs": 5, "dropout": 0.0, "batch_size": 16}
    models = [Sasrec(**few), Sasrec(**few, loss="sampled-softmax"), Gru4rec(**few)]
    models += [TwoTower(**few, encoder=HashEncoder())]
    assert told[0] == told[1]
    for (*losses, _), model in zip(told[0], models, strict=True):
        alone = model.fit(data)
        # Sums of float32 round differently in halves: 1e-7 was seen.
        np.testing.assert_allclose(losses, [*alone.losses_, *alone.refit_losses_], rtol=1e-6)
