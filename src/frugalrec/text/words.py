"""Text → words, in any script."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# Scripts without spaces between words: Han, kana, Thai, Lao, Khmer, Burmese; and hangul, whose words carry particles.
_UNSPACED = (
    "\u2e80-\u2fdf\u3005\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
    "\u1100-\u11ff\uac00-\ud7af\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
)
_RUN = re.compile(f"[{_UNSPACED}]+|[^{_UNSPACED}\\s']+(?:'[^{_UNSPACED}\\s']+)*")
_ASCII_WORD = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)*")
_FIRST_UNSPACED = "\u0e00"


def words(text: str) -> list[str]:
    """Return the words of ``text`` in order, case-folded and in NFKC; letters, marks and digits only.

    A possessive 's is left out. Where a script has no spaces, a run of characters becomes its overlapping pairs (a
    single character stands alone): no dictionary, yet a query meets a text wherever they share a two-character word.

    >>> words("Children's Café, 流浪地球 2")
    ['children', 'café', '流浪', '浪地', '地球', '2']
    """
    if text.isascii():
        return [_stem(word) for word in _ASCII_WORD.findall(text.lower())]
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    found: list[str] = []
    for run in _RUN.findall("".join(map(_letter, folded))):
        if run[0] >= _FIRST_UNSPACED and _is_unspaced(run[0]):
            found.extend([run] if len(run) == 1 else (run[i : i + 2] for i in range(len(run) - 1)))
        else:
            found.append(_stem(run))
    return found


def _stem(word: str) -> str:
    return word[:-2] if word.endswith("'s") else word


_is_unspaced = re.compile(f"[{_UNSPACED}]").match


@lru_cache(maxsize=1 << 14)
def _letter(character: str) -> str:
    if character in "'’ʼ":
        return "'"
    return character if unicodedata.category(character)[0] in "LMN" else " "


__all__ = ["words"]
