"""Text → words, in any script."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Literal

from frugalrec.errors import ConfigError, MissingExtraError

Segmentation = Literal["pairs", "dictionary"]
"""How Chinese becomes words: every two neighbouring characters, or the words of a dictionary (jieba's)."""

# Scripts without spaces between words: Han, kana, Thai, Lao, Khmer, Burmese; and hangul, whose words carry particles.
_UNSPACED = (
    "\u2e80-\u2fdf\u3005\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
    "\u1100-\u11ff\uac00-\ud7af\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
)
_RUN = re.compile(f"[{_UNSPACED}]+|[^{_UNSPACED}\\s']+(?:'[^{_UNSPACED}\\s']+)*")
_ASCII_WORD = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)*")
_FIRST_UNSPACED = "\u0e00"


def words(text: str, segmentation: Segmentation = "pairs") -> list[str]:
    """Return the words of ``text`` in order, case-folded and in NFKC; letters, marks and digits only.

    A possessive 's is left out. Where a script has no spaces, a run of characters becomes its overlapping pairs (a
    single character stands alone): no dictionary, yet a query meets a text wherever they share a two-character word.
    With ``dictionary``, Chinese runs are cut by rjieba instead; other unspaced scripts keep their pairs.

    Raises `MissingExtraError` when a dictionary is asked for and rjieba is not installed, `ConfigError` for another
    ``segmentation``.

    >>> words("Children's Café, 流浪地球 2")
    ['children', 'café', '流浪', '浪地', '地球', '2']
    """
    if text.isascii():
        return [_stem(word) for word in _ASCII_WORD.findall(text.lower())]
    cut = _cutter(segmentation)
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    found: list[str] = []
    for run in _RUN.findall("".join(map(_letter, folded))):
        if run[0] >= _FIRST_UNSPACED and _is_unspaced(run[0]):
            found.extend(cut(run))
        else:
            found.append(_stem(run))
    return found


def _pairs(run: str) -> list[str]:
    return [run] if len(run) == 1 else [run[i : i + 2] for i in range(len(run) - 1)]


@cache
def _cutter(segmentation: Segmentation) -> Callable[[str], list[str]]:
    if segmentation == "pairs":
        return _pairs
    if segmentation != "dictionary":
        raise ConfigError(f"segmentation must be 'pairs' or 'dictionary', not {segmentation!r}")
    try:
        import rjieba
    except ImportError as error:
        raise MissingExtraError.of("rjieba", "chinese") from error
    return lambda run: list(rjieba.cut(run)) if _is_han(run) else _pairs(run)


def _stem(word: str) -> str:
    return word[:-2] if word.endswith("'s") else word


_is_unspaced = re.compile(f"[{_UNSPACED}]").match
_is_han = re.compile("[\u2e80-\u2fdf\u3005\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]+").fullmatch


@lru_cache(maxsize=1 << 14)
def _letter(character: str) -> str:
    if character in "'’ʼ":
        return "'"
    return character if unicodedata.category(character)[0] in "LMN" else " "


__all__ = ["Segmentation", "words"]
