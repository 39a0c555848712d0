from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("transformers", reason="needs the extra 'torch'")
torch = pytest.importorskip("torch", reason="needs the extra 'torch'")

from frugalrec import progress  # noqa: E402
from frugalrec.cost import Ledger  # noqa: E402
from frugalrec.data.dataset import Query, Ranking  # noqa: E402
from frugalrec.errors import AssetError, ConfigError  # noqa: E402
from frugalrec.pipeline import build  # noqa: E402
from frugalrec.plan import Plan, Spec  # noqa: E402
from frugalrec.recommenders.popularity import Popularity  # noqa: E402
from frugalrec.rerankers._packed import PackedTransformer, read_scores  # noqa: E402
from frugalrec.rerankers.cross_encoder import CrossEncoder  # noqa: E402

QUICK = {"depth": 18, "requests": 60, "tail": 3, "epochs": 8, "patience": 0, "learning_rate": 5e-3}


def encoder(tiny, **settings):
    return CrossEncoder(Popularity(), path=str(tiny), **{**QUICK, **settings})


@pytest.fixture(scope="module")
def fitted(tiny, colours):
    return encoder(tiny).fit(colours)


def lists_of(data):
    """For each user, everything they have not met, best known items first."""
    queries = [data.query(user) for user in range(12)]
    return queries, Popularity().fit(data).recommend(queries, 18)


def own_colour_first(found, queries):
    """How often an item of the colour that a user keeps to stands first."""
    return np.mean([r.items[0] % 3 == q.history[0] % 3 for r, q in zip(found, queries, strict=True)])


def test_learns_which_titles_go_on_with_a_history(fitted, colours):
    queries, before = lists_of(colours)
    assert own_colour_first(before, queries) < 0.6
    assert own_colour_first(fitted.rerank(queries, before), queries) > 0.9
    assert fitted.losses_[-1] < fitted.losses_[0]
    assert fitted.weights_[1] > 0


def test_adapters_learn_it_too(tiny, colours):
    queries, before = lists_of(colours)
    lora = encoder(tiny, method="lora", rank=4, learning_rate=2e-2).fit(colours)
    assert own_colour_first(lora.rerank(queries, before), queries) > 0.9
    # 6 linear layers each in 2 layers: width 16 to 16 four times, to 32 and back.
    assert len(lora.parameters_) == 16 + 2 * 4 * (4 * 32 + 2 * 48)


def test_the_last_layers_alone(tiny, colours):
    network = PackedTransformer(tiny)
    before = {name: p.clone() for name, p in network.model.named_parameters() if "pooler" not in name}
    found = dict(encoder(tiny, layers=1, epochs=1).fit(colours)._network.model.named_parameters())
    changed = {name for name, old in before.items() if not torch.equal(found[name], old)}
    assert "encoder.layer.1.attention.self.query.weight" in changed
    assert all(".layer.1." in name for name in changed)


def test_packed_together_is_like_each_alone(tiny):
    network = PackedTransformer(tiny)
    with torch.no_grad():
        network.head.copy_(torch.linspace(-1, 1, 16))
    history = network.tokens("red apple red plum", 9)
    candidates = [network.tokens(text, 9) for text in ("blue fig", "green", "red lime red melon")]
    (together,) = read_scores(network, [(history, candidates)], 1)
    alone = [read_scores(network, [(history, [c])], 1)[0][0] for c in candidates]
    np.testing.assert_allclose(together, alone, atol=1e-4)
    batched = read_scores(network, [(history, candidates), (history * 2, candidates[:1])], 2)
    np.testing.assert_allclose(batched[0], together, atol=1e-4)
    assert len(batched[1]) == 1


def test_a_score_is_cosine_and_head_of_the_states(tiny):
    network = PackedTransformer(tiny)
    history, candidate = network.tokens("red apple", 9), network.tokens("red fig", 9)
    ids = [*network.opening, *history, *candidate]
    n = len(ids) - len(candidate)
    sees = torch.ones(len(ids), len(ids), dtype=torch.bool)
    sees[:n, n:] = False
    states = network.model(input_ids=torch.tensor([ids]), attention_mask=sees[None, None]).last_hidden_state[0]
    first, second = states[:n].mean(dim=0), states[n:].mean(dim=0)
    ((found,),) = read_scores(network, [(history, [candidate])], 1)
    assert found == pytest.approx(10 * float(torch.cosine_similarity(first, second, dim=0)), abs=1e-4)


def test_tokens_and_flops_by_hand(fitted, colours):
    query, ranking = Query(history=np.array([0], dtype=np.int32)), Ranking(np.array([3, 4]), np.array([1.0, 0.5]))
    ledger = Ledger()
    with ledger.span("rerank"):
        fitted.rerank([query], [ranking])
    assert ledger.total().tokens_in == 9  # two words and a closing token three times
    body = sum(p.numel() for p in fitted._network.layers.parameters())
    assert ledger.total().flops == 2 * body * 10 + 4 * 2 * 16 * 10**2


def test_the_same_seed_gives_the_same_weights(tiny, colours, fitted):
    np.testing.assert_array_equal(encoder(tiny).fit(colours).parameters_, fitted.parameters_)
    assert not np.array_equal(encoder(tiny, seed=1).fit(colours).parameters_, fitted.parameters_)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_killed_training_goes_on(tiny, colours, tmp_path, method):
    settings = {"method": method, "epochs": 3, "checkpoint": str(tmp_path)}
    seen = []

    def killer(stage, done, total):
        seen.append(stage)
        if stage == "fine-tune" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), progress.listening(killer):
        encoder(tiny, **settings).fit(colours)
    resumed = encoder(tiny, **settings).fit(colours)
    whole = encoder(tiny, **{**settings, "checkpoint": ""}).fit(colours)
    np.testing.assert_array_equal(resumed.parameters_, whole.parameters_)
    assert {"fine-tune", "fine-tune (lists)"} <= set(seen)


def test_a_limit_of_time_ends_with_an_epoch(tiny, colours):
    assert len(encoder(tiny, epochs=50, cpu_seconds=1e-3).fit(colours).losses_) == 1


def test_without_epochs_the_model_is_asked_as_it_came(tiny, colours):
    found = encoder(tiny, epochs=0).fit(colours)
    assert found.losses_ == ()
    assert not found._network.head.any()


def test_a_model_that_does_not_help_is_not_run(tiny, colours, fitted):
    queries, before = lists_of(colours)
    useless = encoder(tiny, epochs=0).fit(colours)
    useless.weights_ = np.array([1.0, 0.0])
    ledger = Ledger()
    with ledger.span("rerank"):
        found = useless.rerank(queries, before)
    assert ledger.total().tokens_in == 0
    for old, new in zip(before, found, strict=True):
        np.testing.assert_array_equal(old.items, new.items)


def test_a_failing_model_leaves_the_old_order(tiny, colours, caplog):
    queries, before = lists_of(colours)
    broken = encoder(tiny, epochs=1).fit(colours)
    broken.weights_ = np.array([1.0, 1.0])
    broken._network = None
    broken.parameters_ = broken.parameters_[:-1]
    found = broken.rerank(queries, before)
    assert all(ranking.degraded for ranking in found)
    np.testing.assert_array_equal(found[0].items, before[0].items)
    assert "the old order stands" in caplog.text


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_saved_model_answers_like_the_fitted_one(tiny, colours, tmp_path, method):
    settings = {"retriever": Spec("popularity"), "path": str(tiny), **QUICK, "epochs": 2, "method": method}
    plan = Plan("read", Spec("popularity"), Spec("cross-encoder", settings))
    assert plan.language_model == "per request"
    pipeline = build(plan).fit(colours)
    pipeline.save(tmp_path)
    loaded = build(plan).load(tmp_path)
    queries = [colours.query(user) for user in range(12)]
    for a, b in zip(pipeline.recommend(queries, 5), loaded.recommend(queries, 5), strict=True):
        np.testing.assert_array_equal(a.items, b.items)
        np.testing.assert_allclose(a.scores, b.scores, rtol=1e-6)
    assert pipeline.model_bytes > (tiny / "model.safetensors").stat().st_size


def test_says_what_is_wrong(tiny, tmp_path):
    for settings in ({"depth": 0}, {"epochs": -1}, {"method": "half"}, {"learning_rate": 0.0}):
        with pytest.raises(ConfigError, match=next(iter(settings))):
            encoder(tiny, **settings)
    with pytest.raises(AssetError, match="not a model"):
        PackedTransformer(tmp_path)


def test_expected_tokens(tiny, colours, fitted):
    from frugalrec.data.shape import DataShape

    stages = replace(fitted, words=2).expected(DataShape.of(colours))
    read = np.mean([len(fitted._title(i)) for i in range(24)]) * (5 + 18)
    assert stages.score.tokens_in == pytest.approx(read, rel=0.4)


def spent_on(reranker, queries, rankings):
    ledger = Ledger()
    with ledger.span("rerank"):
        found = reranker.rerank(queries, rankings)
    return found, ledger.total(reused=False), ledger.total()


def test_a_pair_is_read_once_whoever_asks(tiny, colours):
    plain = encoder(tiny, history_length=1, epochs=2).fit(colours)
    keeping = encoder(tiny, history_length=1, epochs=2, pairs=1000).fit(colours)
    np.testing.assert_array_equal(keeping.parameters_, plain.parameters_)
    scores = np.array([3.0, 2.0, 1.0])
    first = Query(history=np.array([5, 0], dtype=np.int32)), Ranking(np.array([3, 4, 6]), scores)
    other = Query(history=np.array([2, 7, 0], dtype=np.int32)), Ranking(np.array([6, 9, 3]), scores)
    for asked, read in ((first, 12), (other, 6), (first, 0)):
        (expected,) = plain.rerank([asked[0]], [asked[1]])
        (found,), spent, _ = spent_on(keeping, [asked[0]], [asked[1]])
        np.testing.assert_array_equal(found.items, expected.items)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
        assert spent.tokens_in == read
    _, now, ever = spent_on(keeping, [other[0]], [other[1]])
    assert (now.tokens_in, now.flops) == (0, 0)
    assert now.tokens_cached == ever.tokens_in > 0
    assert ever.flops > 0


def test_kept_pairs_end_with_a_fit(tiny, colours):
    queries, before = lists_of(colours)
    reranker = encoder(tiny, history_length=1, epochs=1, pairs=1000).fit(colours)
    if reranker.weights_[1] <= 0:
        pytest.fail("the model is not run, so nothing is tested")
    reranker.rerank(queries, before)
    assert spent_on(reranker, queries, before)[1].tokens_in == 0
    reranker.fit(colours)
    assert spent_on(reranker, queries, before)[1].tokens_in > 0


def test_what_failed_is_not_kept(tiny, colours, monkeypatch):
    queries, before = lists_of(colours)
    reranker = encoder(tiny, history_length=1, pairs=1000).fit(colours)
    with monkeypatch.context() as broken:
        broken.setattr(reranker, "_loaded", lambda: 1 / 0)
        assert all(found.degraded for found in reranker.rerank(queries, before))
    assert not any(found.degraded for found in reranker.rerank(queries, before))
