from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers", reason="needs the extra 'torch'")
torch = pytest.importorskip("torch", reason="needs the extra 'torch'")

import transformers  # noqa: E402

from frugalrec.cost import Ledger  # noqa: E402
from frugalrec.errors import AssetError, ConfigError, DataError  # noqa: E402
from frugalrec.llms.transformers import Transformers  # noqa: E402
from frugalrec.testing.models import tiny_bert, tiny_causal  # noqa: E402

TEXTS = ["the quick brown fox and the slow red dog", "a fox a dog a fox a dog"]
PREFIX = "the quick brown fox and"
CONTINUATIONS = ["dog", "the slow red dog", "a fox", "", "fox the dog the quick"]


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_causal(tmp_path_factory.mktemp(request.param), TEXTS, family=request.param)


@pytest.fixture
def model(folder: Path) -> Transformers:
    return Transformers(path=str(folder))


def by_hand(folder: Path, model: Transformers, prefix: str, continuation: str) -> float:
    """log P(continuation | prefix), read by the library in one piece."""
    head = [2, *model._model.tokens(prefix)]
    tail = model._model.tokens(continuation)
    network = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.inference_mode():
        logits = network(input_ids=torch.tensor([head + tail])).logits[0].double().log_softmax(dim=-1)
    return float(sum(logits[len(head) - 1 + i, token] for i, token in enumerate(tail)))


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_a_shared_prefix_changes_nothing(folder: Path, batch_size: int) -> None:
    model = Transformers(path=str(folder), batch_size=batch_size)
    found = model.loglikelihoods(PREFIX, CONTINUATIONS)
    expected = [by_hand(folder, model, PREFIX, continuation) for continuation in CONTINUATIONS]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    unshared = [model.loglikelihoods(PREFIX, [continuation])[0] for continuation in CONTINUATIONS]
    np.testing.assert_allclose(found, unshared, atol=1e-4)


def test_chain_rule(model: Transformers) -> None:
    (both,) = model.loglikelihoods(PREFIX, ["the slow dog"])
    parts = (PREFIX, "the"), (f"{PREFIX} the", "slow"), (f"{PREFIX} the slow", "dog")
    assert both == pytest.approx(sum(model.loglikelihoods(prefix, [word])[0] for prefix, word in parts), abs=1e-4)


def test_next_words_are_a_distribution(model: Transformers) -> None:
    words = list(model._model.tokenizer.get_vocab())
    chances = np.exp(model.loglikelihoods(PREFIX, [w for w in words if len(model._model.tokens(w)) == 1]))
    assert chances.sum() == pytest.approx(1.0, abs=1e-4)


def test_tokens_and_flops_by_hand(model: Transformers) -> None:
    ledger = Ledger()
    with ledger.span("call"):
        model.loglikelihoods(PREFIX, CONTINUATIONS)
    spent, inside = ledger.total(), model._model
    head, read = 6, [3, 1, 4]  # the opening token counts; the last token of a continuation is never computed
    assert spent.tokens_in == head + sum(read)
    assert spent.tokens_cached == 3 * head
    looks = head * (head + 1) / 2 + sum(n * head + n * (n + 1) / 2 for n in read)
    weights = 2.0 * (inside._body * (head + sum(read)) + inside._head * (1 + sum(read)))
    assert spent.flops == weights + 4.0 * 2 * 32 * looks


def test_parameters_are_counted_once(folder: Path, model: Transformers) -> None:
    network = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tables = {id(m.weight): m.weight for m in network.modules() if isinstance(m, torch.nn.Embedding)}
    tables[id(network.get_output_embeddings().weight)] = network.get_output_embeddings().weight
    whole = sum(p.numel() for p in network.parameters())
    assert model._model._body == whole - sum(t.numel() for t in tables.values())


def test_writes_what_the_library_writes(folder: Path, model: Transformers) -> None:
    network = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    head = torch.tensor([[2, *model._model.tokens(PREFIX)]])
    ids = network.generate(head, attention_mask=torch.ones_like(head), max_new_tokens=6, do_sample=False)[0].tolist()
    written = [i for i in ids[head.shape[1] :] if i not in model._model.ends]
    ledger = Ledger()
    with ledger.span("call"):
        (text,) = model.generate([PREFIX], max_tokens=6)
    assert text == model._model.tokenizer.decode(written)
    assert ledger.total().tokens_in == 6
    assert ledger.total().tokens_out == len(written)


def test_a_long_prefix_loses_its_beginning(folder: Path) -> None:
    short, long = (Transformers(path=str(folder), context=n) for n in (4, 128))
    found = short.loglikelihoods("the quick brown fox", ["a dog"])
    # The opening token, two words and all but the last word of the continuation fill the context of four.
    np.testing.assert_allclose(found, long.loglikelihoods("brown fox", ["a dog"]), atol=1e-4)
    with pytest.raises(DataError, match="does not fit"):
        short.loglikelihoods("the", ["a dog a fox a dog"])
    with pytest.raises(ConfigError, match="below the context"):
        short.generate(["the"], max_tokens=4)


def test_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"config\.json"):
        Transformers(path=str(tmp_path)).count_tokens("a")
    with pytest.raises(ConfigError, match="batch_size"):
        Transformers(path="x", batch_size=0)
    (tmp_path / "bert").mkdir()
    other = tiny_bert(tmp_path / "bert", TEXTS)
    (other / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(AssetError, match="not a causal model"):
        Transformers(path=str(other)).count_tokens("a")


def test_fingerprint_goes_by_content(folder: Path, tmp_path: Path) -> None:
    other = tiny_causal(tmp_path, TEXTS, seed=1)
    assert Transformers(path=str(folder)).fingerprint() != Transformers(path=str(other)).fingerprint()
