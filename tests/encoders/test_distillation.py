from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

from frugalrec.cost import Ledger
from frugalrec.encoders._distillation import _ridge, distil
from frugalrec.encoders.static import Static
from frugalrec.errors import ConfigError, DataError
from frugalrec.interfaces import Matrix, Role
from frugalrec.testing.encoders import HashEncoder

WORDS = [f"word{i}" for i in range(40)]
TEXTS = [" ".join(np.random.default_rng(i).choice(WORDS[:30], size=5)) for i in range(120)]


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    vocabulary = {"[UNK]": 0, **{word: i + 1 for i, word in enumerate(WORDS)}}
    made = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


class Contextual:
    """A teacher that is no sum of words: word29 turns the meaning of a text around, on its own it means nothing odd."""

    is_language_model = True

    def encode(self, texts: list[str], *, role: Role = "item") -> Matrix:
        plain = HashEncoder(dim=16).encode(texts)
        loud = HashEncoder(dim=16).encode(["emphasis"])[0]
        turned = [plain[i] + (2.0 * loud if "word29" in text and " " in text else 0.0) for i, text in enumerate(texts)]
        return np.array([v / max(np.linalg.norm(v), 1e-9) for v in turned], dtype=np.float32)

    def fingerprint(self) -> str:
        return "contextual"


def test_a_teacher_that_adds_up_words_is_found_exactly(tokenizer: Path, tmp_path: Path) -> None:
    found = distil(TEXTS, HashEncoder(dim=16), tokenizer, tmp_path / "out")
    assert found.held_out_cosine > 0.98
    assert (found.texts, found.tokens, found.dim) == (120, 40, 16)
    student = Static(path=str(tmp_path / "out"))
    expected = HashEncoder(dim=16).encode(TEXTS)
    assert float((student.encode(TEXTS) * expected).sum(axis=1).mean()) > 0.98


def test_the_catalogue_teaches_what_tokens_alone_do_not(tokenizer: Path, tmp_path: Path) -> None:
    found = distil(TEXTS, Contextual(), tokenizer, tmp_path / "out")
    assert 1 - found.held_out_cosine < 0.6 * (1 - found.token_cosine)
    a, b = Static(path=str(tmp_path / "out")).encode(["word1 word29", "word7 word29"])
    plain, other = HashEncoder(dim=16).encode(["word1 word29", "word7 word29"])
    assert float(a @ b) > float(plain @ other) + 0.1


def test_tokens_that_no_text_has_keep_the_teachers_vectors(tokenizer: Path, tmp_path: Path) -> None:
    distil(TEXTS, HashEncoder(dim=16), tokenizer, tmp_path / "out")
    unseen = Static(path=str(tmp_path / "out")).encode(["word35", "word36"])
    np.testing.assert_allclose(unseen, HashEncoder(dim=16).encode(["word35", "word36"]), atol=2e-3)


def test_the_same_seed_makes_the_same_encoder(tokenizer: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        distil(TEXTS, HashEncoder(dim=16), tokenizer, tmp_path / name, seed=3)
    assert Static(path=str(tmp_path / "a")).fingerprint() == Static(path=str(tmp_path / "b")).fingerprint()
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    assert config["distilled_from"] == HashEncoder(dim=16).fingerprint()


def test_the_solver_agrees_with_the_closed_form() -> None:
    rng = np.random.default_rng(0)
    from scipy import sparse

    dense = rng.random((30, 8)) * (rng.random((30, 8)) < 0.5)
    target = rng.standard_normal((30, 3)).astype(np.float32)
    expected = np.linalg.solve(dense.T @ dense + 0.3 * np.eye(8), dense.T @ target)
    ledger = Ledger()
    with ledger.span("solve"):
        found = _ridge(sparse.csr_array(dense.astype(np.float32)), target, 0.3)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert ledger.total().flops


def test_too_few_texts(tokenizer: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least 50 different texts to learn from, not 2"):
        distil(["a", "b", "a", " "], HashEncoder(), tokenizer, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_of_another_language(tokenizer: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="knows tokens of 0 of 60 texts only"):
        distil([f"другое слово {i}" for i in range(60)], HashEncoder(), tokenizer, tmp_path / "out")
    assert not (tmp_path / "out").exists()
