from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

sentence_transformers = pytest.importorskip("sentence_transformers", reason="needs the extra 'sentence-transformers'")

from frugalrec.cost import Ledger  # noqa: E402
from frugalrec.encoders.sentence_transformers import SentenceTransformers  # noqa: E402
from frugalrec.errors import AssetError  # noqa: E402
from frugalrec.testing.models import tiny_sentence_bert  # noqa: E402

TEXTS = ["the quick brown fox", "a fox", "heat"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_sentence_bert(tmp_path_factory.mktemp("sentence"), TEXTS)


def test_gives_the_librarys_vectors(folder: Path) -> None:
    theirs = sentence_transformers.SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    theirs = theirs / np.linalg.norm(theirs, axis=1, keepdims=True)
    np.testing.assert_allclose(SentenceTransformers(str(folder)).encode(TEXTS), theirs, atol=1e-5)


def test_charges_tokens(folder: Path) -> None:
    ledger = Ledger()
    with ledger.span("encode"):
        SentenceTransformers(str(folder)).encode([*TEXTS, "🎬"])
    assert ledger.total().tokens_in == 6 + 4 + 3
    assert ledger.total().flops


def test_prefixes_follow_the_role(folder: Path) -> None:
    prefixed = SentenceTransformers(str(folder), query_prefix="the ")
    plain = SentenceTransformers(str(folder))
    np.testing.assert_allclose(prefixed.encode(["fox"], role="query"), plain.encode(["the fox"]), atol=1e-6)
    assert prefixed.fingerprint() != plain.fingerprint()


def test_a_model_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRUGALREC_OFFLINE", "1")
    with pytest.raises(AssetError, match="cannot be loaded by sentence-transformers"):
        SentenceTransformers("nobody/has-such-a-model").encode(["fox"])
    with pytest.raises(AssetError, match="cannot be loaded by sentence-transformers"):
        SentenceTransformers(str(tmp_path)).encode(["fox"])
