from __future__ import annotations

import pytest

from frugalrec.text.language import language, unsupported_share


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Matrix (1999)", "latin"),
        ("Amélie, Žižek, Tiếng Việt", "latin"),
        ("流浪地球", "zh"),
        ("iPhone 14 手机壳", "zh"),
        ("《红楼梦》 (Dream of the Red Chamber, a classic novel)", "latin"),
        ("千と千尋の神隠し", "ja"),
        ("ｶﾀｶﾅ", "ja"),
        ("기생충", "ko"),
        ("Война и мир", "ru"),
        ("Οδύσσεια", "el"),
        ("ألف ليلة وليلة", "ar"),
        ("שלום", "he"),
        ("महाभारत", "hi"),
        ("สวัสดี", "th"),
        ("", ""),
        ("1984", ""),
        ("★ 123 …", ""),
    ],
)
def test_known_answers(text: str, expected: str) -> None:
    assert language(text) == expected


def test_unsupported_share_counts_texts_with_letters() -> None:
    texts = ["Heat", "流浪地球", "1984", "", "Война и мир", "Alien"]
    assert unsupported_share(texts, {"latin"}) == 0.5
    assert unsupported_share(texts, {"latin", "zh", "ru"}) == 0
    assert unsupported_share([], {"latin"}) == 0
    assert unsupported_share(["12", ""], {"latin"}) == 0
