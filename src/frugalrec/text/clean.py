"""Catalogue text as people wrote it → plain text on one line."""

from __future__ import annotations

import html
import re
import unicodedata

_ROUNDS = 2  # shop descriptions are often escaped twice

# Only real HTML elements are tags: "I <3 you" and "List<String>" are text.
_INLINE = "b|big|del|em|font|i|ins|mark|s|small|span|strike|strong|sub|sup|tt|u"
_BLOCK = (
    "a|abbr|address|article|aside|blockquote|body|br|button|caption|center|cite|code|dd|div|dl|dt|embed|figure|footer|"
    "form|h[1-6]|head|header|hr|html|iframe|img|input|label|li|link|main|meta|nav|object|ol|option|p|param|pre|script|"
    "section|select|source|style|table|tbody|td|textarea|tfoot|th|thead|title|tr|ul|video|wbr"
)
# No pattern runs past the next "<", which keeps every one of them linear in the length of the text.
_CODE = re.compile(r"<(script|style)\b[^<>]*>[^<]*</\1\s*>", re.IGNORECASE)
_INLINE_TAG = re.compile(rf"</?(?:{_INLINE})(?:\s[^<>]*)?/?>", re.IGNORECASE)
_BLOCK_TAG = re.compile(rf"</?(?:{_BLOCK})(?:\s[^<>]*)?/?>|<!doctype\s[^<>]*>", re.IGNORECASE)
_COMMENT = re.compile(r"<!--[^<]*?-->")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")

_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))  # soft hyphen, zero-width space and joiner, BOM
_CONTROL = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), " ")
_TABLE: dict[int, str | None] = {**_INVISIBLE, **_CONTROL}


def clean(text: str) -> str:
    """Return ``text`` without HTML, invisible or control characters, in NFC, with single spaces; may be empty.

    >>> clean("<p>Rock &amp; Roll<br>H<sub>2</sub>O</p>  ")
    'Rock & Roll H2O'
    """
    if not text.isascii():  # a lone surrogate is no character, and tokenizers refuse it
        text = text.encode("utf-8", "replace").decode("utf-8")
    for _ in range(_ROUNDS):
        if "<" in text:
            text = _without_tags(text)
        if "&" not in text:
            break
        text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    else:
        text = _without_tags(text)
    return " ".join(unicodedata.normalize("NFC", text.translate(_TABLE)).split())


def _without_tags(text: str) -> str:
    text = _CODE.sub(" ", text)
    text = _INLINE_TAG.sub("", text)
    return _COMMENT.sub(" ", _BLOCK_TAG.sub(" ", text))


__all__ = ["clean"]
