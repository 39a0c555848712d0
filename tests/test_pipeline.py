from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from frugalrec import registry
from frugalrec.cost import Cost, Ledger
from frugalrec.data.dataset import Dataset, Query, Ranking, Reason
from frugalrec.encoders._cached import Cached, Inspects
from frugalrec.encoders.bag_of_words import BagOfWords
from frugalrec.encoders.bm25 import Bm25
from frugalrec.encoders.onnx import Onnx
from frugalrec.errors import ConfigError, DataError, NotFittedError
from frugalrec.learned import Learned, Ready
from frugalrec.pipeline import Metered, Pipeline, Remembering
from frugalrec.plan import Plan, Spec
from frugalrec.recommenders._base import Scores, mask_scores, top_k
from frugalrec.recommenders.ease import Ease
from frugalrec.recommenders.popularity import Popularity
from frugalrec.rerankers.likelihood import Likelihood
from frugalrec.stores.array_cache import ArrayCache
from frugalrec.testing.data import toy_dataset
from frugalrec.testing.llms import UnigramModel

WORDS = Spec("bag-of-words", {"dim": 64})
CONTENT = Spec("content", {"encoder": WORDS})


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return toy_dataset(n_users=30, n_items=24, cold=2)


def queries_of(dataset: Dataset) -> list[Query]:
    known = [dataset.query(user) for user in range(5)]
    return [
        *known,
        replace(known[0], repeats=True),
        replace(known[1], exclude=np.array([3, 7], dtype=np.int32)),
        replace(known[2], candidates=np.arange(0, 24, 2, dtype=np.int32)),
        Query(history=np.array([4], dtype=np.int32)),
    ]


# Building and fitting


def test_building_checks_values_and_says_where() -> None:
    with pytest.raises(ConfigError, match=r"plan 'p': recommender 'ease'.*ridge must be float"):
        Plan("p", Spec("ease", {"ridge": "high"})).build()


def test_fitting_opens_a_span_a_stage(dataset: Dataset) -> None:
    ledger = Ledger()
    Plan("p", CONTENT).build().fit(dataset, ledger)
    encode, fit = ledger.entries
    assert [(e.name, e.plan, e.phase, e.units) for e in (encode, fit)] == [
        ("encode", "p", "once", dataset.n_items),
        ("fit", "p", "refresh", 1),
    ]
    assert encode.cost.flops
    assert fit.cost.flops
    Plan("plain", Spec("popularity")).build().fit(dataset, ledger)
    assert ledger.total(plan="plain", phase="once").flops == 0.0


def test_what_is_ready_is_not_fitted_but_charged_as_spared(dataset: Dataset) -> None:
    plan = Plan("p", Spec("hybrid", {"members": (Spec("ease"), CONTENT)}))
    first = plan.build().fit(dataset)
    took = Cost(seconds=3.0, cpu_seconds=2.0, gpu_seconds=0.0, flops=5e9, tokens_in=7.0, peak_bytes=2.0**40)
    for cost in (took, replace(took, flops=None, fees=None, peak_bytes=None)):
        ledger = Ledger()
        ready = Ready(plan.recommender, Learned.of(first.recommender), cost)
        pipeline = plan.build().fit(dataset, ledger, ready)
        np.testing.assert_array_equal(pipeline.score(queries_of(dataset)), first.score(queries_of(dataset)))
        assert pipeline.model_bytes == first.model_bytes
        assert pipeline.encoders[0] is not first.encoders[0]
        encode, fit = ledger.entries
        assert encode.cost.flops  # texts are encoded as always
        known = cost.flops is not None
        assert fit.cost.flops == (0.0 if known else None)
        assert fit.cost.cpu_seconds < 1.0  # type: ignore[operator]
        assert (fit.whole.flops, fit.whole.fees, fit.whole.peak_bytes) == (cost.flops, cost.fees, cost.peak_bytes)
        assert fit.whole.tokens_in == 7.0
        assert fit.whole.cpu_seconds == pytest.approx(2.0, abs=1.0)
        assert ledger.total(phase="refresh", reused=False).tokens_in == 0.0


def test_an_encoder_in_two_places_encodes_each_text_once(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[str] = []
    encode = BagOfWords.encode

    def counted(self: BagOfWords, texts: Sequence[str], **options: Any) -> Any:
        encoded.extend(texts)
        return encode(self, texts, **options)

    monkeypatch.setattr(BagOfWords, "encode", counted)
    members = (CONTENT, Spec("ease", {"encoder": WORDS}), Spec("sequential-linear", {"encoder": WORDS}))
    pipeline = Plan("p", Spec("hybrid", {"members": members})).build().fit(dataset)
    assert sorted(encoded) == sorted(set(dataset.catalog.texts()))
    encoders = {id(member.encoder) for member in pipeline.recommender.members}  # type: ignore[attr-defined]
    assert len(encoders) == 1
    other = Spec("content", {"encoder": Spec("bag-of-words", {"dim": 128})})
    encoded.clear()
    Plan("p", Spec("hybrid", {"members": (CONTENT, other)})).build().fit(dataset)
    assert len(encoded) == 2 * len(set(dataset.catalog.texts()))


def test_remembered_vectors_are_those_of_the_encoder() -> None:
    encoder, remembering = BagOfWords(dim=64), Remembering(BagOfWords(dim=64))
    texts = ["red apple", "blue sky", "red apple", ""]
    remembering.remember(texts)
    for asked in (texts, texts[::-1], [], ["never seen", "red apple"]):
        np.testing.assert_array_equal(remembering.encode(asked), encoder.encode(asked))
    np.testing.assert_array_equal(
        remembering.encode(["red apple"], role="query"), encoder.encode(["red apple"], role="query")
    )
    assert remembering.fingerprint() == encoder.fingerprint()


def test_a_store_spares_the_work_but_not_the_account(dataset: Dataset, tmp_path: Path) -> None:
    store = ArrayCache(tmp_path / "arrays.sqlite")
    plan = Plan("p", CONTENT)
    first, second = Ledger(), Ledger()
    plan.build(store).fit(dataset, first)
    again = plan.build(store).fit(dataset, second)
    assert second.total(phase="once", reused=False).flops == 0.0
    assert second.total(phase="once").flops == pytest.approx(first.total(phase="once").flops)
    np.testing.assert_array_equal(
        again.score(queries_of(dataset)), plan.build().fit(dataset).score(queries_of(dataset))
    )
    store.close()


def test_reasons_where_the_recommender_has_any(dataset: Dataset) -> None:
    items = np.arange(3, dtype=np.int32)
    assert Plan("p", Spec("chance")).build().fit(dataset).explain(dataset.query(0), items) == [(), (), ()]
    reasons = Plan("p", Spec("popularity")).build().fit(dataset).explain(dataset.query(0), items)
    assert [r[0].kind for r in reasons] == ["popularity"] * 3


# What a server must hold


def test_model_bytes_are_exact(dataset: Dataset) -> None:
    n = dataset.n_items
    assert Plan("p", Spec("popularity")).build().fit(dataset).model_bytes == (4 + 8) * n
    assert Plan("p", Spec("ease")).build().fit(dataset).model_bytes == 4 * n * n
    assert Plan("p", Spec("ease", {"precision": "float64"})).build().fit(dataset).model_bytes == 8 * n * n
    hybrid = Plan("p", Spec("hybrid", {"members": (Spec("popularity"), Spec("ease"))})).build().fit(dataset)
    # Beside them a flag an item, warm or not, and the scale of each member.
    assert hybrid.model_bytes == (4 + 8) * n + 4 * n * n + n + 2 * 8
    knn = Plan("p", Spec("item-knn")).build().fit(dataset)
    similarity = knn.recommender.similarity_  # type: ignore[attr-defined]
    assert knn.model_bytes == sum(part.nbytes for part in (similarity.data, similarity.indices, similarity.indptr))


def test_model_bytes_count_the_reranker(dataset: Dataset) -> None:
    pipeline = reranking(Popularity()).fit(dataset)
    titles = sum(len(title.encode()) for title in dataset.catalog.texts())
    assert pipeline.model_bytes == (4 + 8 + 8) * dataset.n_items + titles


def test_a_language_model_under_the_cap_still_says_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Onnx, "dim", 384)  # without loading the weights
    plan = Plan("p", Spec("content", {"encoder": Spec("onnx")}))
    for built in (plan.build(), plan.build(ArrayCache(None))):
        remembering = built.recommender.encoder  # type: ignore[attr-defined]
        assert remembering.dim == 384
        cached = remembering.encoder
        metered = cached.encoder if isinstance(cached, Cached) else cached
        assert isinstance(metered, Metered)
        assert isinstance(metered, Inspects)
        with pytest.warns(UserWarning, match="does not know"):
            metered.inspect(["流浪地球", "霸王别姬"])


# Reranking


def reranking(recommender: Scores, depth: int = 6) -> Pipeline:
    """Return a pipeline whose language model needs no weights; no plan could name it."""
    spec = Spec("likelihood", {"model": Spec("llama-cpp"), "depth": depth})
    plan = Plan("reranked", Spec("popularity"), reranker=spec)
    return Pipeline(plan, recommender, Likelihood(UnigramModel(), depth=depth, blend=1.0), ())


@pytest.mark.parametrize("k", [1, 3, 6, 10, 24])
def test_scores_rank_items_as_recommend_lists_them(dataset: Dataset, k: int) -> None:
    pipeline = reranking(Ease(ridge=10.0)).fit(dataset)
    queries = queries_of(dataset)
    scores = pipeline.score(queries)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    best, _ = top_k(mask_scores(scores, queries), k)
    for query, row, ranking in zip(queries, best, pipeline.recommend(queries, k), strict=True):
        assert row[row >= 0].tolist() == ranking.items.tolist(), query
        assert len(ranking) == len(ranking.scores)
    retrieved = pipeline.recommender.recommend(queries, k)
    assert any(
        a.items.tolist() != b.items.tolist() for a, b in zip(retrieved, pipeline.recommend(queries, k), strict=True)
    )


@pytest.mark.parametrize("scale", [1e-9, 1e9, -1e9])
def test_the_order_of_the_reranker_survives_any_scale_of_scores(dataset: Dataset, scale: float) -> None:
    popularity = Popularity(counts="raw")
    pipeline = reranking(popularity).fit(dataset)
    popularity.scores_ = popularity.scores_ * np.float32(scale)
    queries = queries_of(dataset)
    best, _ = top_k(mask_scores(pipeline.score(queries), queries), 10)
    assert [row[row >= 0].tolist() for row in best] == [r.items.tolist() for r in pipeline.recommend(queries, 10)]


def test_without_a_reranker_scores_are_the_recommender_s(dataset: Dataset) -> None:
    pipeline = Plan("p", Spec("ease")).build().fit(dataset)
    queries = queries_of(dataset)
    np.testing.assert_array_equal(pipeline.score(queries), pipeline.recommender.score(queries))


@dataclass
class Reasoned:
    """A reranker that keeps the order and gives a reason an item."""

    depth: int = 5

    def fit(self, dataset: Dataset) -> Reasoned:
        return self

    def rerank(self, queries: Sequence[Query], rankings: Sequence[Ranking]) -> list[Ranking]:
        return [replace(r, reasons=tuple((Reason("item", 1.0, int(i)),) for i in r.items)) for r in rankings]


def test_reasons_are_cut_with_the_list(dataset: Dataset) -> None:
    pipeline = Pipeline(Plan("p", Spec("popularity")), Popularity(), Reasoned(), ()).fit(dataset)
    (ranking,) = pipeline.recommend([dataset.query(0)], 3)
    assert ranking.reasons is not None
    assert [r.item for (r,) in ranking.reasons] == ranking.items.tolist()
    assert len(ranking.reasons) == 3


# Saved models


def specs_of(name: str) -> Iterator[tuple[str, Spec]]:
    """Yield the recommender ``name`` with small collaborators, without and with an encoder where it has a choice."""
    given: dict[str | None, Any] = {"encoder": WORDS, "recommender": Spec("item-knn")}
    several = (Spec("item-knn"), CONTENT)
    fields = registry.settings_of(registry.load("recommender", name))
    kinds = {key: registry.kind_of(str(field.type)) for key, field in fields.items()}
    needed = {key: given[kind] for key, kind in kinds.items() if kind and fields[key].default is dataclasses.MISSING}
    needed |= {key: several for key in needed if "tuple" in str(fields[key].type)}
    yield name, Spec(name, needed)
    optional = {key: given[kind] for key, kind in kinds.items() if kind and key not in needed}
    if optional:
        yield f"{name} with text", Spec(name, needed | optional)
    if "storage" in fields:
        levels = Spec(name, needed | {"storage": "two-level", "rescored": 5})
        yield f"{name} in two levels", levels
        yield f"hybrid with {name} in two levels", Spec("hybrid", {"members": (Spec("item-knn"), levels)})


EVERY_RECOMMENDER = dict(case for name in registry.names("recommender") for case in specs_of(name))


@pytest.mark.parametrize("spec", EVERY_RECOMMENDER.values(), ids=EVERY_RECOMMENDER)
def test_a_saved_model_answers_like_the_fitted_one(spec: Spec, dataset: Dataset, tmp_path: Path) -> None:
    plan = Plan("p", spec)
    if plan.missing_extras():
        pytest.skip(f"needs the extras {plan.missing_extras()}")
    fitted = plan.build().fit(dataset)
    fitted.save(tmp_path / "model")
    loaded = Plan.from_dict(tomllib.loads(tomli_w.dumps(plan.to_dict()))).build().load(tmp_path / "model")
    queries = [*queries_of(dataset), replace(dataset.query(0), text="valley 3")]
    np.testing.assert_array_equal(loaded.score(queries), fitted.score(queries))
    for one, other in zip(loaded.recommend(queries, 5), fitted.recommend(queries, 5), strict=True):
        np.testing.assert_array_equal(one.items, other.items)
    items = np.arange(5, dtype=np.int32)
    assert loaded.explain(queries[0], items) == fitted.explain(queries[0], items)
    assert loaded.model_bytes == fitted.model_bytes
    assert [file.name for file in (tmp_path / "model").iterdir()] == ["model.npz"]


def test_a_saved_reranker_answers_like_the_fitted_one(dataset: Dataset, tmp_path: Path) -> None:
    fitted = reranking(Ease(ridge=10.0)).fit(dataset)
    fitted.save(tmp_path)
    loaded = reranking(Ease(ridge=10.0)).load(tmp_path)
    queries = queries_of(dataset)
    np.testing.assert_array_equal(loaded.score(queries), fitted.score(queries))
    assert loaded.reranker.titles_ == fitted.reranker.titles_  # type: ignore[union-attr]


def test_saving_again_replaces(dataset: Dataset, tmp_path: Path) -> None:
    plan = Plan("p", Spec("popularity"))
    plan.build().fit(dataset).save(tmp_path)
    fewer = dataset.with_interactions(dataset.interactions.take(np.arange(40)))
    plan.build().fit(fewer).save(tmp_path)
    np.testing.assert_array_equal(
        plan.build().load(tmp_path).score([Query()]), plan.build().fit(fewer).score([Query()])
    )


def test_without_a_saved_model(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match="no saved model"):
        Plan("p", Spec("ease")).build().load(tmp_path)


def test_a_model_of_another_plan_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    Plan("p", Spec("ease", {"history_half_life": 2.0})).build().fit(dataset).save(tmp_path)
    for spec in (Spec("ease", {"history_half_life": 5.0}), Spec("ease"), Spec("popularity")):
        with pytest.raises(DataError, match="is not of the plan 'q'") as caught:
            Plan("q", spec).build().load(tmp_path)
        assert caught.value.hint == "fit it again: frugalrec run"
    assert Plan("renamed", Spec("ease", {"history_half_life": 2.0})).build().load(tmp_path).model_bytes


@settings(deadline=None, max_examples=60)
@given(share=st.floats(0, 1, exclude_max=True), flip=st.booleans())
def test_a_damaged_model_is_refused_or_harmless(
    share: float, flip: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("model")
    data = toy_dataset(n_users=8, n_items=6)
    plan = Plan("p", Spec("item-knn"))
    fitted = plan.build().fit(data)
    fitted.save(folder)
    whole = (folder / "model.npz").read_bytes()
    at = int(share * len(whole))
    rest = bytes([whole[at] ^ 0xFF]) + whole[at + 1 :] if flip else b""
    (folder / "model.npz").write_bytes(whole[:at] + rest)
    try:
        loaded = plan.build().load(folder)
    except DataError:
        return
    # A byte of a file's date or the like: nothing that was learned.
    assert flip
    np.testing.assert_array_equal(loaded.score([data.query(0)]), fitted.score([data.query(0)]))


@pytest.mark.parametrize("content", [b"", b"not a model", b"PK\x03\x04", b"\x93NUMPY"])
def test_a_file_that_is_no_model_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.npz").write_bytes(content)
    with pytest.raises(DataError, match="the saved model is damaged"):
        Plan("p", Spec("ease")).build().load(tmp_path)


def test_a_model_without_its_state_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "model.npz", weights=np.zeros(3))
    with pytest.raises(DataError, match="the saved model is damaged"):
        Plan("p", Spec("ease")).build().load(tmp_path)


def test_pickles_are_not_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "model.npz", state=np.array([{"plan": "x"}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="the saved model is damaged"):
        Plan("p", Spec("ease")).build().load(tmp_path)


def test_a_failed_save_leaves_the_old_model(dataset: Dataset, tmp_path: Path) -> None:
    plan = Plan("p", Spec("popularity"))
    plan.build().fit(dataset).save(tmp_path)
    before = (tmp_path / "model.npz").read_bytes()
    broken = plan.build().fit(dataset)
    broken.recommender.weights_ = {1, 2}  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="weights_: learned state of type set cannot be kept"):
        broken.save(tmp_path)
    assert (tmp_path / "model.npz").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


# Arrays that stay in the model's file


LEVELS = Spec("content", {"encoder": WORDS, "storage": "two-level", "rescored": 5})


def test_bytes_on_disk_are_not_those_in_memory(dataset: Dataset, tmp_path: Path) -> None:
    n, dim = dataset.n_items, 64
    fitted = Plan("p", LEVELS).build().fit(dataset)
    fitted.save(tmp_path)
    for pipeline in (fitted, Plan("p", LEVELS).build().load(tmp_path)):
        # Bits, the mean and the whitening.
        assert pipeline.model_bytes == n * dim // 8 + 4 * dim + 4 * dim * dim
        assert pipeline.disk_bytes == n * dim
    assert Plan("p", CONTENT).build().fit(dataset).disk_bytes == 0


def test_a_model_in_use_may_be_replaced(dataset: Dataset, tmp_path: Path) -> None:
    Plan("p", LEVELS).build().fit(dataset).save(tmp_path)
    serving = Plan("p", LEVELS).build().load(tmp_path)
    before = serving.score(queries_of(dataset))
    other = Plan("p", LEVELS).build().fit(toy_dataset(n_users=9, n_items=11))
    other.save(tmp_path)
    np.testing.assert_array_equal(serving.score(queries_of(dataset)), before)
    serving.save(tmp_path)  # over the file that it is mapped from, or another
    again = Plan("p", LEVELS).build().load(tmp_path)
    again.save(tmp_path)
    np.testing.assert_array_equal(again.score(queries_of(dataset)), before)


def test_rows_on_disk_are_compared_with_their_checksum(dataset: Dataset, tmp_path: Path) -> None:
    fitted = Plan("p", LEVELS).build().fit(dataset)
    fitted.save(tmp_path)
    file = tmp_path / "model.npz"
    whole, rows = file.read_bytes(), fitted.recommender.stored_.tobytes()  # type: ignore[attr-defined]
    at = whole.index(rows) + len(rows) // 2
    for damaged in (whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], whole[:at], whole[:at] + whole[at + 1 :]):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match="the saved model is damaged"):
            Plan("p", LEVELS).build().load(tmp_path)
    file.write_bytes(whole)
    with np.load(file) as arrays:
        np.savez_compressed(file, **dict(arrays))
    with pytest.raises(DataError, match="compressed, and cannot be mapped"):
        Plan("p", LEVELS).build().load(tmp_path)


# Encoders that learn from the catalogue


LEARNED = Spec("content", {"encoder": Spec("bm25", {"dim": 64})})


def test_an_encoder_that_learns_does_so_from_the_catalogue(dataset: Dataset, tmp_path: Path) -> None:
    store = ArrayCache(tmp_path / "arrays.sqlite")
    fitted = Plan("p", LEARNED).build(store).fit(dataset)
    direct = Bm25(64).fit(dataset.catalog.texts())
    assert fitted._encoders[0].fingerprint() == direct.fingerprint()
    np.testing.assert_allclose(
        fitted._encoders[0].encode(dataset.catalog.texts()), direct.encode(dataset.catalog.texts()), atol=1e-6
    )
    store.close()


def test_what_an_encoder_learned_is_saved_with_the_model(dataset: Dataset, tmp_path: Path) -> None:
    asked = [Query(text="story from valley 3")]
    fitted = Plan("p", LEARNED).build().fit(dataset)
    fitted.save(tmp_path)
    loaded = Plan("p", LEARNED).build().load(tmp_path)
    np.testing.assert_array_equal(loaded.score(asked), fitted.score(asked))
    assert loaded.model_bytes == fitted.model_bytes > 4 * (1 << 17)
    with pytest.raises(NotFittedError, match="learned from no catalogue"):
        Plan("p", LEARNED).build()._encoders[0].encode(["story"], role="query")


def test_a_model_saved_by_another_version_is_refused(tmp_path: Path) -> None:
    plan = Plan("p", Spec("popularity"))
    plan.build().fit(toy_dataset()).save(tmp_path)
    with np.load(tmp_path / "model.npz") as saved:
        arrays = dict(saved)
    tree = json.loads(arrays["state"].tobytes())
    del tree["form"]  # as the first versions wrote it
    arrays["state"] = np.frombuffer(json.dumps(tree).encode(), dtype=np.uint8)
    np.savez(tmp_path / "model.npz", **arrays)
    with pytest.raises(DataError, match="saved by another version"):
        plan.build().load(tmp_path)
