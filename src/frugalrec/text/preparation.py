"""How much of a text a model gets to see: what was written, what a reader sees, or its words alone."""

from __future__ import annotations

from typing import Literal

from frugalrec.errors import ConfigError
from frugalrec.text.clean import clean
from frugalrec.text.stop_words import StopWords, stop_words
from frugalrec.text.words import Segmentation, words

Preparation = Literal["raw", "clean", "words"]
"""``raw``: as written, but for what no tokenizer takes. ``clean``: without HTML, on one line, in NFC. ``words``: case,
punctuation and stop words gone as well."""


def prepared(
    text: str,
    how: Preparation,
    *,
    segmentation: Segmentation = "pairs",
    stops: StopWords = "short",
) -> str:
    """Return ``text`` as a model that wants it ``how`` reads it; may be empty.

    Models that read sentences want ``clean`` text; ``words`` is what is left of it for those that count words. A text
    of nothing but stop words keeps them. ``segmentation`` and ``stops`` matter to ``words`` alone. Raises `ConfigError`
    for another ``how``.

    >>> prepared("<b>The</b> Matrix, 1999", "clean"), prepared("<b>The</b> Matrix, 1999", "words")
    ('The Matrix, 1999', 'matrix 1999')
    """
    if how == "clean":
        return clean(text)
    if how == "words":
        return " ".join(telling(text, segmentation=segmentation, stops=stops))
    if how != "raw":
        raise ConfigError(f"text must be prepared as 'raw', 'clean' or 'words', not {how!r}")
    if not text.isascii():  # a lone surrogate is no character, and tokenizers refuse it
        text = text.encode("utf-8", "replace").decode("utf-8")
    return text.replace("\x00", " ") if text.strip() else ""


def telling(text: str, *, segmentation: Segmentation = "pairs", stops: StopWords = "short") -> list[str]:
    """Return the words of ``text``, cleaned, that say what it is about: all but stop words, or all if those are all.

    >>> telling("The story of <i>The</i> Who"), telling("The The")
    (['story'], ['the', 'the'])
    """
    found = words(clean(text), segmentation)
    left_out = stop_words(stops)
    return [word for word in found if word not in left_out] or found


__all__ = ["Preparation", "prepared", "telling"]
