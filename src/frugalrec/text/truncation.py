"""The beginning of a text that a model has room for."""

from __future__ import annotations

from collections.abc import Callable


def truncated(text: str, max_tokens: int, count: Callable[[str], int]) -> str:
    """Return the longest beginning of ``text`` that ``count`` finds at most ``max_tokens`` in, cut after a word.

    ``count`` is any counter of tokens that never counts fewer for a longer beginning; it is called O(log length) times.
    A text without spaces is cut between characters. Where not even one character fits, the result is empty.

    >>> truncated("one two three", 2, lambda text: len(text.split()))
    'one two'
    """
    if count(text) <= max_tokens:
        return text
    fits, too_long = 0, len(text)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if count(text[:middle]) <= max_tokens:
            fits = middle
        else:
            too_long = middle
    kept = text[:fits]
    if fits < len(text) and not text[fits].isspace() and " " in kept.strip():
        kept = kept[: kept.rstrip().rfind(" ")] if not kept[-1].isspace() else kept
    return kept.rstrip()


def estimated_tokens(text: str) -> int:
    """Return about how many tokens ``text`` is for most tokenizers, rather too many: one for three bytes of UTF-8.

    For models whose tokenizer is out of reach, behind an endpoint. English has about four characters a token, Chinese
    about one character, of three bytes.

    >>> estimated_tokens("流浪地球"), estimated_tokens("wandering earth")
    (4, 5)
    """
    return -(-len(text.encode("utf-8", "replace")) // 3)


__all__ = ["estimated_tokens", "truncated"]
