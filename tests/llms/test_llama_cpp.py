"""Against the real SmolLM2-135M; skipped only where llama.cpp's bindings are not installed."""

import string
from dataclasses import replace

import numpy as np
import pytest

from frugalrec.cost import Ledger
from frugalrec.errors import AssetError, BudgetError, ConfigError, DataError
from frugalrec.llms.llama_cpp import LlamaCpp, _log_normalisers
from frugalrec.prices import PriceSheet
from frugalrec.spending import SpendCap, metering

pytest.importorskip("llama_cpp")

PREFIX = "The capital of France is"
NATS_PER_TOKEN = 0.5
"""How far a log-probability may shift with what else is in the batch: kernels round by batch shape."""


@pytest.fixture(scope="module")
def model() -> LlamaCpp:
    return LlamaCpp(threads=1)


@pytest.fixture(scope="module")
def narrow() -> LlamaCpp:
    return LlamaCpp(context=64, threads=1)


def spent(call):
    ledger = Ledger()
    with ledger.span("call"):
        call()
    return ledger.total()


def test_log_normalisers_in_float64():
    logits = np.random.default_rng(0).normal(0, 8, size=(37, 501)).astype(np.float32)
    logits[3] += 1_000  # exp would overflow
    expected = np.logaddexp.reduce(logits.astype(np.float64), axis=1)
    np.testing.assert_allclose(_log_normalisers(logits), expected, rtol=1e-14)


def test_prefers_what_is_true(model):
    paris, banana, rome = model.loglikelihoods(PREFIX, [" Paris", " banana", " Rome"])
    assert paris > rome > banana


def test_probabilities_of_single_tokens_are_probabilities(model):
    letters = [f" {chr(c)}" for c in range(ord("A"), ord("Z") + 1)]
    assert {model.count_tokens(letter) for letter in letters} == {1}
    assert 0 < np.exp(model.loglikelihoods("Answer with one letter:", letters)).sum() < 1


@pytest.mark.parametrize(
    ("prefix", "first", "second"),
    [
        (PREFIX, " Paris", ", and the capital of Italy is Rome."),
        ("Films I like:\n- Alien\n- Blade Runner\n-", " The", " Terminator"),
        ("", "Once upon", " a time"),
    ],
)
def test_chain_rule(model, prefix, first, second):
    (whole,) = model.loglikelihoods(prefix, [first + second])
    (start,) = model.loglikelihoods(prefix, [first])
    (end,) = model.loglikelihoods(prefix + first, [second])
    assert whole == pytest.approx(start + end, abs=NATS_PER_TOKEN * model.count_tokens(first + second))


def test_conditional_log_probabilities_of_tokens_sum_to_the_joint_one(model):
    """The chain rule token by token: each is conditioned on the text so far, in a call of its own."""
    pieces = [" Paris", ",", " and", " the", " capital", " of", " Italy", " is", " Rome"]
    assert [model.count_tokens(piece) for piece in pieces] == [1] * len(pieces)
    (joint,) = model.loglikelihoods(PREFIX, ["".join(pieces)])
    alone = [model.loglikelihoods(PREFIX + "".join(pieces[:i]), [piece])[0] for i, piece in enumerate(pieces)]
    # Rounding by batch shape is a few hundredths of a nat a token, to either side.
    assert joint == pytest.approx(sum(alone), abs=0.15 * len(pieces))


def test_a_shared_prefix_changes_nothing(model):
    continuations = [" Paris, of course", " Rome", " a large city in the north of the country", " London or Berlin"]
    together = model.loglikelihoods(PREFIX, continuations)
    apart = np.array([model.loglikelihoods(PREFIX, [c])[0] for c in continuations])
    lengths = np.array([model.count_tokens(c) for c in continuations])
    assert (np.abs(together - apart) <= NATS_PER_TOKEN * lengths).all()


def test_batches_smaller_than_the_call_change_nothing(model, narrow):
    """66 continuations need two batches in 64 sequences, and several in 64 cells."""
    continuations = [f" item {letter}" for letter in string.ascii_letters[:22] * 3]
    wide, several = (m.loglikelihoods(PREFIX, continuations) for m in (model, narrow))
    lengths = np.array([model.count_tokens(c) for c in continuations])
    assert (np.abs(wide - several) <= NATS_PER_TOKEN * lengths).all()


def test_tokens_are_charged_as_computed(model):
    continuations = [" Paris", " the city of light", "", " Rome, or not"]
    lengths = [model.count_tokens(c) for c in continuations]
    head = len(model._fitted(PREFIX, 0))
    cost = spent(lambda: model.loglikelihoods(PREFIX, continuations))
    after_head = sum(n - 1 for n in lengths if n)  # a last token predicts nothing that was asked
    assert cost.tokens_in == head + after_head
    assert cost.tokens_cached == 2 * head
    assert cost.tokens_out == 0
    session = model._session
    assert cost.flops == 2 * (session.n_body_parameters * cost.tokens_in + session.n_head_parameters * (1 + after_head))


@pytest.fixture(scope="module")
def holding() -> LlamaCpp:
    return LlamaCpp(threads=1, reuse=True)


def test_what_consecutive_prefixes_share_is_computed_once(model, holding):
    films = "Films I like:\n- Alien\n- Blade Runner\n"
    prefixes = [films + "Next:", films + "Next:", films + "Another:", "Films I hate:", films + "Next:"]
    answers = [" The Terminator", " Casablanca, of course"]
    before: list[int] = []
    held = []
    for prefix in prefixes:
        head = model._fitted(prefix, 0)
        shared = next((i for i, (a, b) in enumerate(zip(head, before, strict=False)) if a != b), len(head))
        kept = min(shared, len(before), len(head) - 1)
        found: list[np.ndarray] = []
        cost = spent(lambda p=prefix, f=found: f.append(holding.loglikelihoods(p, answers)))
        tails = sum(model.count_tokens(answer) - 1 for answer in answers)
        assert cost.tokens_in == len(head) - kept + tails
        assert cost.tokens_cached == kept + len(head)
        session = holding._session
        rows = 1 + tails
        assert cost.flops == 2 * (session.n_body_parameters * cost.tokens_in + session.n_head_parameters * rows)
        lengths = np.array([model.count_tokens(answer) for answer in answers])
        assert (np.abs(found[0] - model.loglikelihoods(prefix, answers)) <= NATS_PER_TOKEN * lengths).all()
        before = head
        held.append(kept)
    assert held[0] == 0
    assert held[1] == len(model._fitted(prefixes[1], 0)) - 1  # the last must be computed: it predicts what is asked
    assert 0 < held[3] < held[2] < held[1]


def test_writing_ends_what_is_held(model, holding):
    holding.loglikelihoods(PREFIX, [" Paris"])
    assert holding.generate([PREFIX], max_tokens=3) == model.generate([PREFIX], max_tokens=3)
    head = len(model._fitted(PREFIX, 0))
    assert spent(lambda: holding.loglikelihoods(PREFIX, [" Paris"])).tokens_in == head


def test_a_model_that_holds_prompts_is_another_one_to_a_cache(model, holding):
    assert holding.fingerprint() != model.fingerprint()


def test_parameters_are_those_of_smollm2(model):
    """30 layers of width 576 with 9 query and 3 key-value heads of 64 and a feed-forward of 1536; the head is tied."""
    width, layers, keys, inner, vocabulary = 576, 30, 192, 1536, 49152
    layer = 2 * width * width + 2 * width * keys + 3 * width * inner + 2 * width
    assert model._session.n_body_parameters == layers * layer + width
    assert model._session.n_head_parameters == vocabulary * width


def test_nothing_asked_costs_nothing(model):
    cost = spent(lambda: model.loglikelihoods(PREFIX, ["", ""]))
    assert (cost.tokens_in, cost.flops) == (0, None)


def test_a_long_prefix_loses_its_left(narrow):
    long = "one two three four " * 40 + PREFIX
    found = narrow.loglikelihoods(long, [" Paris", " banana"])
    assert found[0] > found[1]
    assert spent(lambda: narrow.loglikelihoods(long, [" Paris"])).tokens_in == 64
    head = narrow._fitted(long, 0)
    assert len(head) == 64
    if head[0] == narrow._session.start:
        assert head[1:] == narrow._session.tokens(long)[-63:]
    else:
        assert head == narrow._session.tokens(long)[-64:]


def test_a_continuation_must_fit(narrow):
    with pytest.raises(DataError, match="does not fit into a context of 64"):
        narrow.loglikelihoods(PREFIX, [" word" * 70])


def test_control_tokens_in_text_are_plain_text(model):
    assert model.count_tokens("<|im_end|>") > 1
    assert not {model._session.start} & set(model._session.tokens("<|im_start|>system"))


def test_generates_greedily(model):
    (text,) = model.generate([PREFIX], max_tokens=3)
    assert "Paris" in text
    assert model.generate([PREFIX, "One, two,"], max_tokens=3)[0] == text


def test_generation_stops(model):
    (free,) = model.generate(["One, two, three,"], max_tokens=12)
    assert "," in free
    assert model.generate(["One, two, three,"], max_tokens=12, stop=(",",)) == [free.split(",")[0]]
    assert model.generate([PREFIX], max_tokens=0) == [""]


def test_generated_tokens_are_charged(model):
    cost = spent(lambda: model.generate([PREFIX], max_tokens=5))
    assert cost.tokens_in == len(model._fitted(PREFIX, 0))
    assert cost.tokens_out == 5
    computed = cost.tokens_in + 4  # the last token written is not read
    session = model._session
    assert cost.flops == 2 * (session.n_body_parameters * computed + session.n_head_parameters * 5)


SCHEMA = {
    "type": "object",
    "properties": {"genre": {"enum": ["Comedy", "Drama", "Horror"]}, "year": {"type": "integer"}},
    "required": ["genre", "year"],
    "additionalProperties": False,
}


def test_json_is_held_to_its_schema(model):
    prompts = ["A horror film of 1979 as JSON:", "Nothing here asks for JSON at all."]
    found = []
    cost = spent(lambda: found.extend(model.generate_json(prompts, SCHEMA, max_tokens=60)))
    assert len(found) == 2
    for value in found:
        assert set(value) == {"genre", "year"}
        assert value["genre"] in SCHEMA["properties"]["genre"]["enum"]
        assert isinstance(value["year"], int)
    assert found[0]["year"] == 1979
    assert cost.tokens_out > 10


def test_a_choice_is_one_of_the_list(model):
    (chosen,) = model.generate_json(["The capital of France is"], {"enum": ["Rome", "Paris", "Oslo"]}, max_tokens=8)
    assert chosen in ("Rome", "Paris", "Oslo")


def test_json_that_does_not_end_in_time_is_an_error(model):
    with pytest.raises(DataError, match="expected a JSON value"):
        model.generate_json(["A film as JSON:"], SCHEMA, max_tokens=3)


def test_computing_is_held_to_the_cap():
    dear = replace(PriceSheet.load(), machine_hour=1e9)
    own = LlamaCpp(threads=1)
    own.count_tokens("a")
    with metering(dear, SpendCap(1e-6)) as cap:
        own.generate([PREFIX], max_tokens=2)  # no rate is known before the first
        assert cap.spent > 1e-6
        with pytest.raises(BudgetError, match="smollm2"):
            own.loglikelihoods(PREFIX, [" Paris"])


def test_other_alphabets_come_back_whole(model):
    text = "Амели — 天使爱美丽 🎬"
    assert model._session.text(model._session.tokens(text)) == text


def test_fingerprint_follows_settings(model, narrow):
    assert model.fingerprint() == LlamaCpp().fingerprint() != narrow.fingerprint()


def test_settings_are_checked():
    with pytest.raises(ConfigError, match="context must be at least 2 tokens, not 1"):
        LlamaCpp(context=1)
    with pytest.raises(ConfigError, match="threads must be at least 0, not -1"):
        LlamaCpp(threads=-1)


def test_generation_must_fit(narrow):
    with pytest.raises(ConfigError, match="max_tokens must be below the context of 64"):
        narrow.generate(["a"], max_tokens=64)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(AssetError, match=r"none\.gguf does not exist"):
        LlamaCpp(path=str(tmp_path / "none.gguf")).count_tokens("a")


def test_a_file_of_another_kind_is_refused(tmp_path):
    file = tmp_path / "notes.gguf"
    file.write_bytes(b"not a model")
    with pytest.raises(AssetError, match="expected a GGUF model"):
        LlamaCpp(path=str(file)).count_tokens("a")
