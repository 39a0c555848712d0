"""Words too common to say what a text is about."""

from __future__ import annotations

from functools import cache
from typing import Literal

from frugalrec.errors import ConfigError, MissingExtraError

StopWords = Literal["short", "iso", "none"]
"""Which words to leave out: some 150 English ones, stopwordsiso's 2,000 English and Chinese ones, or none."""

_ISO_LANGUAGES = ("en", "zh")

_TEXT = """
    a about above after again against all also am an and any are aren't as at be because been before being below
    between both but by can can't cannot could couldn't did didn't do does doesn't doing don't down during each few
    for from further had hadn't has hasn't have haven't having he her here hers herself him himself his how i if in
    into is isn't it its itself just me more most my myself no nor not of off on once only or other our ours ourselves
    out over own same she should shouldn't so some such than that the their theirs them themselves then there these
    they this those through to too under until up very was wasn't we were weren't what when where which while who
    whom why will with won't would wouldn't you your yours yourself yourselves
"""
STOP_WORDS = frozenset(_TEXT.split())
"""The short list."""


@cache
def stop_words(which: StopWords) -> frozenset[str]:
    """Return the words of a list, as `frugalrec.text.words.words` would spell them.

    Raises `MissingExtraError` for ``iso`` when stopwordsiso is not installed, `ConfigError` for an unknown list.

    >>> "the" in stop_words("short"), len(stop_words("none"))
    (True, 0)
    """
    if which == "none":
        return frozenset()
    if which == "short":
        return STOP_WORDS
    if which != "iso":
        raise ConfigError(f"stop words must be 'short', 'iso' or 'none', not {which!r}")
    try:
        import stopwordsiso
    except ImportError as error:
        raise MissingExtraError.of("stopwordsiso", "chinese") from error
    return frozenset(word.casefold() for word in stopwordsiso.stopwords(_ISO_LANGUAGES))


__all__ = ["STOP_WORDS", "StopWords", "stop_words"]
