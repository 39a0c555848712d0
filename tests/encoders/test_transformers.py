from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers", reason="needs the extra 'torch'")
torch = pytest.importorskip("torch", reason="needs the extra 'torch'")

import transformers  # noqa: E402

from frugalrec.cost import Ledger  # noqa: E402
from frugalrec.encoders.onnx import Onnx  # noqa: E402
from frugalrec.encoders.transformers import Transformers  # noqa: E402
from frugalrec.errors import AssetError, ConfigError  # noqa: E402
from frugalrec.testing.models import tiny_bert, tiny_gpt  # noqa: E402

TEXTS = ["the quick brown fox", "a fox", "heat", "the slow red dog and a fox"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("bert"), TEXTS)


@pytest.fixture(scope="module")
def gpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_gpt(tmp_path_factory.mktemp("gpt"), TEXTS)


def states(folder: Path, text: str) -> list[np.ndarray]:
    """The library's own hidden states of one text, layer by layer."""
    encoder = Transformers(path=str(folder))
    ids = encoder._loaded().tokens(text, 128)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        found = model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
    return [layer[0].numpy() for layer in found]


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("kind", ["bert", "gpt"])
@pytest.mark.parametrize("layer", [-1, 0, 1, -2])
@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_pools_the_states_of_any_layer(kind: str, layer: int, pooling: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(kind)
    found = Transformers(path=str(folder), layer=layer, pooling=pooling, batch_size=3).encode(TEXTS)
    pool = {"mean": lambda s: s.mean(axis=0), "cls": lambda s: s[0], "last": lambda s: s[-1]}[pooling]
    for text, vector in zip(TEXTS, found, strict=True):
        np.testing.assert_allclose(vector, unit(pool(states(folder, text)[layer])), atol=1e-5)


def test_a_causal_models_last_token_has_read_everything(gpt: Path) -> None:
    first = Transformers(path=str(gpt), pooling="cls").encode(TEXTS)
    last = Transformers(path=str(gpt), pooling="last").encode(TEXTS)
    np.testing.assert_allclose(first[0], first[1], atol=1e-5)  # the first token sees itself alone
    assert np.abs(last[0] - last[3]).max() > 1e-3


def test_charges_tokens_and_flops_by_hand(bert: Path) -> None:
    encoder = Transformers(path=str(bert))
    lengths = [len(text.split()) + 2 for text in TEXTS]
    spent = []
    for layer in (-1, 1):
        ledger = Ledger()
        with ledger.span("encode"):
            Transformers(path=str(bert), layer=layer).encode(TEXTS)
        spent.append(ledger.total())
    assert spent[0].tokens_in == sum(lengths)
    attention = 2 * 4 * 16 * sum(n * n for n in lengths)
    assert spent[0].flops == 2 * encoder._loaded().body * sum(lengths) + attention
    assert spent[1].flops == spent[0].flops / 2


def test_text_beyond_max_tokens_is_cut_off_and_still_closed(bert: Path) -> None:
    short = Transformers(path=str(bert), max_tokens=4)
    assert len(short._loaded().tokens(TEXTS[3], 4)) == 4
    np.testing.assert_allclose(short.encode(["the quick fox"]), short.encode(["the quick dog"]), atol=1e-6)
    assert short._loaded().tokens(TEXTS[3], 4)[-1] == short._loaded().tokens("a", 4)[-1]


def test_unknown_words_have_no_direction(bert: Path) -> None:
    vectors = Transformers(path=str(bert), query_prefix="the ").encode(["zebra", "🎬", "fox"], role="query")
    assert not vectors[:2].any()
    assert vectors[2].any()


def test_a_layer_that_is_not_there(bert: Path) -> None:
    with pytest.raises(ConfigError, match=r"layer 3: .* has 2 layers"):
        Transformers(path=str(bert), layer=3).encode(["fox"])


def test_folders_that_will_not_do(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"there is no config\.json"):
        Transformers(path=str(tmp_path / "nowhere")).encode(["fox"])
    folder = tiny_bert(tmp_path, TEXTS)
    (folder / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(AssetError, match="not a model that transformers can load"):
        Transformers(path=str(folder)).encode(["fox"])


def test_a_tokenizer_of_another_model(bert: Path, tmp_path: Path) -> None:
    small = tiny_bert(tmp_path, ["fox"])
    (small / "tokenizer.json").write_bytes((bert / "tokenizer.json").read_bytes())
    with pytest.raises(ConfigError, match="do not belong together"):
        Transformers(path=str(small)).encode(["fox"])


def test_pickled_weights_are_never_read(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path, TEXTS)
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(AssetError, match="not a model that transformers can load"):
        Transformers(path=str(folder)).encode(["fox"])


@pytest.mark.slow
@pytest.mark.network
def test_the_packaged_model_agrees_with_its_int8_export() -> None:
    texts = ["a small kitten", "young cat", "government bonds", "Toy Story (1995). Animation|Children's|Comedy"]
    full, small = Transformers().encode(texts), Onnx().encode(texts)
    assert float((full * small).sum(axis=1).min()) > 0.97


@pytest.mark.parametrize("settings", [{"max_tokens": 2}, {"batch_size": 0}, {"threads": -1}, {"pooling": "max"}])
def test_settings_are_checked(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="transformers"):
        Transformers(**settings)
