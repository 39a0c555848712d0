from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

for package in ("torch", "transformers", "onnx"):
    pytest.importorskip(package, reason="needs the extra 'export'")

from frugalrec.cli._app import run  # noqa: E402
from frugalrec.cost import Ledger  # noqa: E402
from frugalrec.encoders._export import Exported, export, neighbours_in_common  # noqa: E402
from frugalrec.encoders.onnx import Onnx  # noqa: E402
from frugalrec.encoders.transformers import Transformers  # noqa: E402
from frugalrec.errors import DataError  # noqa: E402
from frugalrec.testing.models import tiny_bert  # noqa: E402

TEXTS = [f"{a} {b} {c}" for a in ("red", "blue", "old") for b in ("fox", "dog", "cat", "owl") for c in "vwxyz"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Transformers:
    return Transformers(path=str(tiny_bert(tmp_path_factory.mktemp("bert"), TEXTS)))


@pytest.fixture(scope="module")
def exported(source: Transformers, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Exported]:
    folder = tmp_path_factory.mktemp("exported")
    return folder, export(source, TEXTS, folder)


def vectors(folder: Path, **settings: int) -> np.ndarray:
    return Onnx(path=str(folder), **settings).encode(TEXTS)


def test_full_precision_is_the_source(source: Transformers, exported: tuple[Path, Exported]) -> None:
    np.testing.assert_allclose(vectors(exported[0] / "fp32"), source.encode(TEXTS), atol=1e-5)
    assert exported[1].neighbours["fp32"] > 0.99


def test_eight_bits_are_near_and_not_the_same(source: Transformers, exported: tuple[Path, Exported]) -> None:
    small, exact = vectors(exported[0] / "int8"), source.encode(TEXTS)
    assert (small * exact).sum(axis=1).min() > 0.999
    assert np.abs(small - exact).max() > 1e-5
    assert exported[1].neighbours["int8"] == neighbours_in_common(exact, small)


def test_a_vector_does_not_depend_on_its_batch(exported: tuple[Path, Exported]) -> None:
    alone, together = (vectors(exported[0] / "int8", batch_size=n) for n in (1, 32))
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_flops_are_known(exported: tuple[Path, Exported]) -> None:
    spent = []
    for kind in ("fp32", "int8"):
        ledger = Ledger()
        with ledger.span("encode"):
            vectors(exported[0] / kind)
        spent.append(ledger.total().flops)
    assert spent[0] is not None
    # Two layers, whose queries, keys and values (16 × 16 each) and second products of the feed-forward part (32 × 16)
    # are made twice, on 60 texts of 5 tokens.
    assert spent[1] == spent[0] + 2.0 * 2 * (3 * 16 * 16 + 32 * 16) * 300


def test_neighbours_by_hand() -> None:
    angles = np.linspace(0, np.pi, 7)
    a = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert neighbours_in_common(a, a, k=2) == 1.0
    moved = a[[0, 2, 1, 3, 4, 5, 6]]  # two neighbours on the arc change places
    assert 0.5 < neighbours_in_common(a, moved, k=2) < 1.0


def test_few_texts_are_refused(source: Transformers, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="50 different"):
        export(source, TEXTS[:10] * 9, tmp_path)


def test_the_command(source: Transformers, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id\n" + "".join(f"u{i % 4},{i}\n" for i in range(60)))
    (tmp_path / "items.csv").write_text("item_id,title\n" + "".join(f"{i},{text}\n" for i, text in enumerate(TEXTS)))
    (tmp_path / "shop.toml").write_text('[data]\ninteractions = "log.csv"\nitems = "items.csv"\ntext = ["title"]\n')
    out = tmp_path / "out"
    asked = ["export-encoder", str(tmp_path / "shop.toml"), "--out", str(out), "--path", source.path, "--json"]
    assert run(asked) == 0
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert found["texts"] == 60
    assert found["texts_a_second"]["int8"] > 0
    assert "of the ten nearest items" in told.err
    assert Onnx(path=str(out / "int8")).encode(["red fox"]).shape == (1, 16)
