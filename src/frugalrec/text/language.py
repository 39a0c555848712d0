"""Which language a text is probably in, told from its script alone: cheap, and enough to warn about a wrong model."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

_SCRIPTS = {
    "zh": "\u2e80-\u2fdf\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af",
    "ja": "\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f",
    "ko": "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af",
    "ru": "\u0400-\u052f",
    "el": "\u0370-\u03ff\u1f00-\u1fff",
    "he": "\u0590-\u05ff",
    "ar": "\u0600-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefc",
    "hi": "\u0900-\u097f",
    "th": "\u0e00-\u0e7f",
    "latin": "A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff\uff21-\uff3a\uff41-\uff5a",
}
_FINDERS = {name: re.compile(f"[{characters}]") for name, characters in _SCRIPTS.items()}
# One ideograph says about as much as a short word: "iPhone 手机壳" is Chinese.
_WEIGHTS = {"zh": 3.0, "ja": 2.0, "ko": 2.0}


def language(text: str) -> str:
    """Return the language that the script of ``text`` stands for, or "" when it has no letters of a known script.

    A script shared by many languages goes by one name: ``latin`` for all written in Latin letters, ``ru`` for Cyrillic,
    ``ar`` for Arabic letters, ``hi`` for Devanagari. Kana among ideographs makes Japanese; ideographs alone, Chinese.

    >>> language("The Matrix"), language("流浪地球"), language("千と千尋の神隠し")
    ('latin', 'zh', 'ja')
    """
    if text.isascii():
        return "latin" if _FINDERS["latin"].search(text) else ""
    counts = {name: len(finder.findall(text)) * _WEIGHTS.get(name, 1.0) for name, finder in _FINDERS.items()}
    if counts["ja"]:
        counts["ja"] += counts.pop("zh")
    best = max(counts, key=counts.__getitem__)
    return best if counts[best] else ""


def unsupported_share(texts: Sequence[str], languages: Collection[str]) -> float:
    """Return the share of ``texts`` in none of ``languages``, as `language` names them, among those with letters.

    >>> unsupported_share(["The Matrix", "流浪地球", "1984"], {"latin"})
    0.5
    """
    found = [name for name in map(language, texts) if name]
    return sum(name not in languages for name in found) / len(found) if found else 0.0


__all__ = ["language", "unsupported_share"]
