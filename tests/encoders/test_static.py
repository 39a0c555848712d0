from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

from frugalrec import assets
from frugalrec.cost import Ledger
from frugalrec.encoders._safetensors import read_safetensors, write_safetensors
from frugalrec.encoders.static import FILES, Static
from frugalrec.errors import AssetError, ConfigError

VOCABULARY = {"[UNK]": 0, "red": 1, "green": 2, "apple": 3, "[CLS]": 4}
VECTORS = np.array([[9, 9], [1, 0], [0, 1], [2, 2], [7, -7]], dtype=np.float32)


def tokenizer_of(vocabulary: dict[str, int]) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["[CLS]"])
    return tokenizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model small enough to compute by hand."""
    tokenizer_of(VOCABULARY).save(str(tmp_path / "tokenizer.json"))
    write_safetensors(tmp_path / "model.safetensors", {"embeddings": VECTORS})
    (tmp_path / "config.json").write_text('{"normalize": true}')
    return tmp_path


def unit(*values: float) -> np.ndarray:
    return np.array(values) / np.linalg.norm(values)


def test_a_text_is_the_direction_of_its_tokens_sum(folder: Path) -> None:
    found = Static(path=str(folder)).encode(["red", "red apple", "red red green", "<b>red</b> apple"])
    for row, expected in zip(found, [unit(1, 0), unit(3, 2), unit(2, 1), unit(3, 2)], strict=True):
        np.testing.assert_allclose(row, expected, atol=1e-6)


def test_tokens_it_does_not_know_say_nothing(folder: Path) -> None:
    plain, mixed, unknown, emoji = Static(path=str(folder)).encode(["red", "red blue", "blue", "😀 🎬"])
    np.testing.assert_array_equal(plain, mixed)
    assert not unknown.any()
    assert not emoji.any()


def test_a_quantised_table_with_weights_and_a_mapping(folder: Path) -> None:
    write_safetensors(
        folder / "model.safetensors",
        {
            "embeddings": np.array([[0, 10], [10, 0]], dtype=np.int8),
            "weights": np.array([1, 1, 2, 3, 1], dtype=np.float32),
            "mapping": np.array([0, 1, 0, 1, 0], dtype=np.int64),
        },
    )
    found = Static(path=str(folder)).encode(["red green", "apple green"])
    np.testing.assert_allclose(found, [unit(1, 2), unit(3, 2)], atol=1e-6)


def test_text_beyond_max_tokens_is_cut_off(folder: Path) -> None:
    a, b = Static(path=str(folder), max_tokens=2).encode(["red apple", "red apple green green"])
    np.testing.assert_array_equal(a, b)


def test_charges_by_hand(folder: Path) -> None:
    ledger = Ledger()
    with ledger.span("encode"):
        Static(path=str(folder)).encode(["red apple", "red blue", ""])
    assert ledger.total().tokens_in == 3
    assert ledger.total().flops == 2 * (2 * 3 + 3 * 3)


def test_preparation_is_a_setting(folder: Path) -> None:
    raw, clean = (Static(path=str(folder), text=how) for how in ("raw", "clean"))
    assert not raw.encode(["<b>red</b>"]).any()
    assert clean.encode(["<b>red</b>"]).any()
    assert raw.fingerprint() != clean.fingerprint()


@pytest.mark.slow
def test_equals_model2vec_on_the_packaged_model() -> None:
    model2vec = pytest.importorskip("model2vec", reason="compares with model2vec where it is installed")
    texts = ["A small kitten", "government bonds", "流浪地球", "Amélie; a café in Montmartre"]
    theirs = model2vec.StaticModel.from_pretrained(assets.fetch("tokenlearn-static-64").folder).encode(texts)
    np.testing.assert_allclose(Static().encode(texts), theirs, atol=1e-6)


def test_knows_what_words_mean() -> None:
    cat, kitten, bonds = Static().encode(["a young cat", "a small kitten", "government bonds"])
    assert cat @ kitten > 0.3 > cat @ bonds


def _other_tokenizer(folder: Path) -> None:
    tokenizer_of({"[UNK]": 0, "red": 1}).save(str(folder / "tokenizer.json"))


def _outside(folder: Path) -> None:
    arrays = {"embeddings": VECTORS, "mapping": np.array([0, 1, 2, 3, 5])}
    write_safetensors(folder / "model.safetensors", arrays)


@pytest.mark.parametrize(
    ("damage", "error", "says"),
    [
        (lambda folder: (folder / "config.json").unlink(), AssetError, "there is no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), AssetError, "not valid JSON"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), AssetError, "not a tokenizer"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"no"), AssetError, "not a readable safetensors"),
        (_other_tokenizer, ConfigError, "do not belong together"),
        (_outside, ConfigError, "points outside"),
        (
            lambda folder: write_safetensors(folder / "model.safetensors", {"weight": VECTORS}),
            ConfigError,
            "no static encoder",
        ),
    ],
)
def test_a_folder_that_will_not_do(folder: Path, damage, error: type[Exception], says: str) -> None:
    damage(folder)
    with pytest.raises(error, match=says):
        Static(path=str(folder)).encode(["red"])


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"there is no model\.safetensors"):
        Static(path=str(tmp_path / "nowhere")).encode(["red"])


def test_a_model_of_another_kind() -> None:
    with pytest.raises(ConfigError, match="no static encoder"):
        Static(model="all-minilm-l6-v2-int8").encode(["red"])


def test_files_wherever_they_are_are_the_same_model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    copied = tmp_path_factory.mktemp("copy")
    for name in FILES:
        shutil.copy(folder / name, copied / name)
    assert Static(path=str(copied)).fingerprint() == Static(path=str(folder)).fingerprint()
    (copied / "config.json").write_text(json.dumps({"normalize": True, "note": 1}))
    assert Static(path=str(copied)).fingerprint() != Static(path=str(folder)).fingerprint()
    assert read_safetensors(copied / "model.safetensors")["embeddings"].shape == (5, 2)


@pytest.mark.parametrize("settings", [{"max_tokens": 0}, {"text": "neat"}])
def test_settings_are_checked(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Static(**settings)
