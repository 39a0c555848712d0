from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tokenizers

from frugalrec.assets import FetchedAsset
from frugalrec.cost import Ledger
from frugalrec.encoders.onnx import Onnx
from frugalrec.errors import AssetError, ConfigError

pytestmark = pytest.mark.usefixtures("minilm")

TEXT_WAYS = ("clean", "raw", "words")
TEXTS = [
    "Toy Story (1995). Animation|Children's|Comedy",
    "Heat",
    "A long description of a film in which many things happen, one after another, until at last it ends.",
    "",
    "流浪地球",
    "Amélie",
]


def encoder(**settings: object) -> Onnx:
    return Onnx(threads=1, **settings)


@pytest.fixture
def folder(minilm: FetchedAsset, tmp_path: Path) -> Path:
    for name in ("model.onnx", "tokenizer.json"):
        shutil.copy(minilm.files[name], tmp_path / name)
    return tmp_path


def test_equals_the_model_run_plainly(minilm: FetchedAsset) -> None:
    tokenizer = tokenizers.Tokenizer.from_file(str(minilm.files["tokenizer.json"]))
    tokenizer.no_padding()
    session = onnxruntime.InferenceSession(str(minilm.files["model.onnx"]), providers=["CPUExecutionProvider"])
    encoded = encoder(batch_size=2).encode(TEXTS)
    for text, vector in zip(TEXTS, encoded, strict=True):
        if not text:
            assert not vector.any()
            continue
        ids = np.array([tokenizer.encode(text).ids])
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        mean = session.run(None, feed)[0][0].mean(axis=0)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)


def test_knows_what_words_mean() -> None:
    kitten, cat, bonds = encoder().encode(["a small kitten", "young cat", "government bonds"])
    assert kitten @ cat > 0.6 > 0.2 > kitten @ bonds


def test_html_is_not_read() -> None:
    a, b = encoder().encode(["<p>Salt &amp; Pepper</p><br/>", "Salt & Pepper"])
    np.testing.assert_array_equal(a, b)


def test_charges_tokens_and_flops_as_counted_by_hand(minilm: FetchedAsset) -> None:
    tokenizer = tokenizers.Tokenizer.from_file(str(minilm.files["tokenizer.json"]))
    tokenizer.no_padding()
    lengths = [len(tokenizer.encode(text).ids) for text in TEXTS if text]
    ledger = Ledger()
    with ledger.span("encode"):
        encoder(batch_size=3).encode(TEXTS)
    spent = ledger.total()
    assert spent.tokens_in == sum(lengths)
    a_token = 6 * 2 * (4 * 384 * 384 + 2 * 384 * 1536)
    assert spent.flops == a_token * sum(lengths) + 6 * 2 * sum(2 * n * n * 384 for n in lengths)


def test_text_beyond_max_tokens_is_cut_off() -> None:
    start = "one two three four five six"
    short = encoder(max_tokens=8)
    ledger = Ledger()
    with ledger.span("encode"):
        a, b = short.encode([start, start + " seven eight nine"])
    np.testing.assert_allclose(a, b, atol=1e-6)
    assert ledger.total().tokens_in == 16


def test_prefixes_follow_the_role() -> None:
    prefixed = encoder(query_prefix="query: ", item_prefix="passage: ")
    plain = encoder().encode(["query: Heat", "passage: Heat"])
    np.testing.assert_allclose(prefixed.encode(["Heat"], role="query")[0], plain[0], atol=1e-6)
    np.testing.assert_allclose(prefixed.encode(["Heat"], role="item")[0], plain[1], atol=1e-6)
    assert not prefixed.encode([" "], role="query").any()


def test_cls_pooling_differs_and_has_unit_norm() -> None:
    first = encoder(pooling="cls").encode(TEXTS[:2])
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-5)
    assert np.abs(first - encoder().encode(TEXTS[:2])).max() > 0.01


def test_a_folder_of_ones_own(folder: Path) -> None:
    own = encoder(path=str(folder))
    np.testing.assert_array_equal(own.encode(TEXTS[:3]), encoder().encode(TEXTS[:3]))
    assert own.fingerprint() == encoder().fingerprint()  # the same files, wherever they are
    (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text() + "\n")
    assert encoder(path=str(folder)).fingerprint() != encoder().fingerprint()


def test_encoders_with_the_same_files_share_them() -> None:
    a, b = encoder(), encoder(batch_size=5)
    a.encode(["x"])
    b.encode(["x"])
    assert a._network is b._network


def test_threads_may_encode_at_once() -> None:
    shared = encoder(batch_size=2)
    expected = encoder().encode(TEXTS)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: shared.encode(TEXTS), range(8)):
            np.testing.assert_allclose(found, expected, atol=1e-5)


def test_warns_once_about_texts_it_cannot_read(folder: Path) -> None:
    mixed = ["Heat", "Toy Story", "流浪地球"]
    reader = encoder()
    with pytest.warns(UserWarning, match="33% of the texts are in a language that 'all-minilm"):
        reader.encode(mixed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reader.encode(mixed)
        reader.inspect(mixed)
        encoder().encode(["Heat"] * 9 + ["流浪地球"])
        encoder(path=str(folder)).encode(mixed)  # nobody knows what another model can read


def test_whoever_hands_texts_over_in_parts_has_them_inspected_whole() -> None:
    reader = encoder()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reader.inspect(["Heat"] * 9 + ["流浪地球"])
        reader.encode(["流浪地球"])


def _no_model(folder: Path) -> None:
    (folder / "model.onnx").unlink()


def _bad_model(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"nonsense")


def _bad_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_no_model, "there is no model.onnx"),
        (_bad_model, "not a model that can be run"),
        (_bad_tokenizer, "not a tokenizer"),
    ],
)
def test_a_folder_that_will_not_do(folder: Path, damage: Callable[[Path], None], says: str) -> None:
    damage(folder)
    with pytest.raises(AssetError, match=says):
        encoder(path=str(folder)).encode(["x"])


def test_more_tokens_than_the_model_has_positions_for() -> None:
    with pytest.raises(ConfigError, match=r"failed on 1 texts of up to \d+ tokens"):
        encoder(max_tokens=1024).encode(["word " * 1000])


@pytest.mark.parametrize("settings", [{"max_tokens": 2}, {"batch_size": 0}, {"threads": -1}, {"pooling": "max"}])
def test_settings_are_checked(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings)).replace("_", "-")):
        Onnx(**settings)


def test_text_of_which_it_knows_no_token_gets_a_zero_row() -> None:
    emoji, mixed, plain = encoder(query_prefix="query: ").encode(["🎬🍿", "🎬 Heat", "Heat"], role="query")
    assert not emoji.any()
    assert mixed.any()
    assert plain.any()


def test_preparation_is_a_setting() -> None:
    clean, raw, bare = (encoder(text=how).encode(["<p>The Salt &amp; Pepper!</p>"])[0] for how in TEXT_WAYS)
    assert np.abs(clean - raw).max() > 0.01
    np.testing.assert_allclose(bare, encoder().encode(["salt pepper"])[0], atol=1e-6)


def test_a_model_of_another_kind() -> None:
    with pytest.raises(ConfigError, match="no ONNX encoder"):
        Onnx(model="tokenlearn-static-64").encode(["x"])


def test_a_tokenizer_of_another_model(folder: Path) -> None:
    vocabulary = {"[UNK]": 0, "x": 10**6}
    other = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    other.save(str(folder / "tokenizer.json"))
    with pytest.raises(ConfigError, match=r"failed on 1 texts.*\n.*tokenizer is the model's own"):
        encoder(path=str(folder)).encode(["x"])
